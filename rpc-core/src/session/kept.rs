//! What is kept of replies.

use bytes::Bytes;

use super::slots::Kept;
use crate::record::Reply;

impl Kept {
    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.reply().bytes()
    }

    /// What is kept of a reply where `bytes_max` bytes of it may be.
    pub fn within(reply: Reply, bytes_max: u32) -> Self {
        if reply.bytes() <= bytes_max as usize {
            Self::Whole(reply)
        } else {
            Self::status_only(reply, bytes_max)
        }
    }

    /// What is kept where the message is not: the status, within `bytes_max` bytes.
    pub fn status_only(reply: Reply, bytes_max: u32) -> Self {
        // The trailer carries the status message, and its size is not ours to choose.
        let trailer = if reply.trailer.len() <= bytes_max as usize { reply.trailer } else { Bytes::new() };
        Self::StatusOnly(Reply { code: reply.code, head: Bytes::new(), message: Bytes::new(), trailer })
    }
}

/// The same, as a slot remembers it: a reply mostly is a message and nothing else.
#[derive(Debug, Clone, Hash)]
pub(super) struct Remembered {
    code: u8,
    is_whole: bool,
    message: Bytes,
    /// Header and trailer, where there is either.
    around: Option<Box<(Bytes, Bytes)>>,
}

impl From<Kept> for Remembered {
    fn from(kept: Kept) -> Self {
        let (is_whole, reply) = match kept {
            Kept::Whole(reply) => (true, reply),
            Kept::StatusOnly(reply) => (false, reply),
        };
        let Reply { code, head, message, trailer } = reply;
        let is_bare = head.is_empty() && trailer.is_empty();
        Self { code, is_whole, message, around: (!is_bare).then(|| Box::new((head, trailer))) }
    }
}

impl Remembered {
    /// What it was made from.
    pub(super) fn kept(&self) -> Kept {
        let (head, trailer) = self.around.as_deref().cloned().unwrap_or_default();
        let reply = Reply { code: self.code, head, message: self.message.clone(), trailer };
        if self.is_whole { Kept::Whole(reply) } else { Kept::StatusOnly(reply) }
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> usize {
        self.message.len() + self.around.as_ref().map_or(0, |around| around.0.len() + around.1.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_was_kept() {
        for (head, message, trailer) in [("", "", ""), ("", "reply", ""), ("h", "reply", ""), ("h", "", "tt")]
        {
            let part = |text: &'static str| Bytes::from_static(text.as_bytes());
            let reply = Reply { code: 5, head: part(head), message: part(message), trailer: part(trailer) };
            for kept in [Kept::Whole(reply.clone()), Kept::StatusOnly(reply)] {
                let remembered = Remembered::from(kept.clone());
                assert_eq!((remembered.bytes(), remembered.kept()), (kept.bytes(), kept));
            }
        }
    }
}
