//! Whole messages, as they are passed around: slices of the buffers they came in.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::position::Position;

/// Bytes that gRPC puts before each message: a flag for compression and the length.
pub const PREFIX_BYTES: usize = 5;

/// One or more whole messages, each with the five bytes before it. `Debug` does not show them.
///
/// Either all of them lie in one buffer, or it is a single message that came in several: what is split is therefore
/// always contiguous.
#[derive(Clone, PartialEq, Eq)]
pub struct Run(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Contiguous { bytes: Bytes, messages: u64 },
    Pieces { parts: Vec<Bytes>, bytes: u64 },
}

impl Run {
    /// `messages` whole messages that lie in one buffer.
    pub(super) fn contiguous(bytes: Bytes, messages: u64) -> Self {
        debug_assert_eq!(boundary(&bytes, messages), Some(bytes.len()));
        Self(Form::Contiguous { bytes, messages })
    }

    /// One message in several buffers.
    pub(super) fn pieces(parts: Vec<Bytes>) -> Self {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        Self(Form::Pieces { parts, bytes })
    }

    /// What is left when everything was taken.
    pub(super) fn nothing() -> Self {
        Self(Form::Contiguous { bytes: Bytes::new(), messages: 0 })
    }

    /// How many messages, at least 1.
    pub fn messages(&self) -> u64 {
        match &self.0 {
            Form::Contiguous { messages, .. } => *messages,
            Form::Pieces { .. } => 1,
        }
    }

    /// How many bytes, framing included.
    pub fn bytes(&self) -> u64 {
        match &self.0 {
            Form::Contiguous { bytes, .. } => bytes.len() as u64,
            Form::Pieces { bytes, .. } => *bytes,
        }
    }

    /// The buffers, in order.
    pub fn parts(&self) -> &[Bytes] {
        match &self.0 {
            Form::Contiguous { bytes, .. } => std::slice::from_ref(bytes),
            Form::Pieces { parts, .. } => parts,
        }
    }

    /// The messages in one buffer. Copies only a message that came in several.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Form::Contiguous { bytes, .. } => bytes,
            Form::Pieces { parts, bytes } => {
                let mut whole = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or_default());
                parts.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        }
    }

    /// Takes off the first messages, of which there are `front.messages` and `front.bytes`; `None`, with nothing taken,
    /// if no message ends there.
    pub(super) fn split_front(&mut self, front: Position) -> Option<Self> {
        let Form::Contiguous { bytes, messages } = &mut self.0 else { return None };
        let at = boundary(bytes, front.messages)?;
        if at as u64 != front.bytes || front.messages >= *messages {
            return None;
        }
        *messages -= front.messages;
        Some(Self::contiguous(bytes.split_to(at), front.messages))
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run(<{} messages, {} bytes>)", self.messages(), self.bytes())
    }
}

/// Length of the message at the beginning of `bytes`, framing included; `None` if its prefix is not whole.
pub(super) fn message_bytes(bytes: &[u8]) -> Option<u64> {
    let mut prefix = bytes.get(1..PREFIX_BYTES)?;
    Some(u64::from(prefix.get_u32()) + PREFIX_BYTES as u64)
}

/// Where the first `messages` messages end; `None` if there are not so many.
pub(super) fn boundary(bytes: &[u8], messages: u64) -> Option<usize> {
    let mut at = 0;
    for _ in 0..messages {
        let rest = bytes.get(at..)?;
        let length = usize::try_from(message_bytes(rest)?).ok()?;
        if rest.len() < length {
            return None;
        }
        at += length;
    }
    Some(at)
}

/// How many of the messages at the beginning of `bytes` stay within `room`, as a position from there.
pub(super) fn fitting(bytes: &[u8], room: Position) -> Position {
    let mut fit = Position::ORIGIN;
    while let Some(length) = usize::try_from(fit.bytes).ok().and_then(|at| message_bytes(bytes.get(at..)?)) {
        let longer = fit.plus(1, length);
        if !longer.within(room) {
            break;
        }
        fit = longer;
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Bytes {
        Bytes::from_static(b"\0\0\0\0\x01a\0\0\0\0\0\x01\0\0\0\x02bc")
    }

    #[test]
    fn a_run_is_split_between_messages_only() {
        let mut run = Run::contiguous(three(), 3);
        assert_eq!(run.split_front(Position { messages: 1, bytes: 7 }), None);
        assert_eq!(run.split_front(Position { messages: 3, bytes: 18 }), None);
        let front = run.split_front(Position { messages: 2, bytes: 11 }).unwrap();
        assert_eq!((front.messages(), front.bytes()), (2, 11));
        assert_eq!((run.messages(), run.bytes()), (1, 7));
        assert_eq!(
            Run::pieces(vec![three().slice(..3), three().slice(3..6)]).into_bytes(),
            three().slice(..6)
        );
    }

    #[test]
    fn what_fits_is_whole() {
        let room = |messages, bytes| fitting(&three(), Position { messages, bytes });
        assert_eq!(room(3, 18), Position { messages: 3, bytes: 18 });
        assert_eq!(room(2, 18), Position { messages: 2, bytes: 11 });
        assert_eq!(room(3, 17), Position { messages: 2, bytes: 11 });
        assert_eq!(room(3, 5), Position::ORIGIN);
    }

    #[test]
    fn debug_shows_no_message() {
        assert_eq!(format!("{:?}", Run::contiguous(three(), 3)), "Run(<3 messages, 18 bytes>)");
    }
}
