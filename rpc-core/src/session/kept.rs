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
