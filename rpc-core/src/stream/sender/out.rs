//! What leaves a sender.

use bytes::Bytes;

use crate::frame::Frame;

/// What a sender wants written next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Whole messages.
    Data(Bytes),
    /// A control frame.
    Frame(Frame),
}
