//! Puts what a flow writes into few DATA frames.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

/// What is shorter is copied to its neighbours; what is not, leaves in the buffer in which it came.
const COPY_BELOW: usize = 4 << 10;
/// Most bytes that are taken from a flow at a time, but for the last piece.
const BATCH_BYTES: usize = 64 << 10;
/// How much of a resumed attempt leaves in short frames.
const CAREFUL_BYTES: usize = 64 << 10;
/// The length of those. An HTTP/2 implementation hands out a DATA frame when it is whole, so a link that dies within
/// every frame carries nothing, however often it comes back.
const CAREFUL_FRAME_BYTES: usize = 4 << 10;

/// DATA frames in the order in which they are to be sent.
///
/// h2 counts frames below 256 bytes that nobody has read yet, and ends a connection over a few thousand of them: control
/// frames therefore travel with the data around them where they can.
#[derive(Default)]
pub(crate) struct Batch {
    frames: VecDeque<Bytes>,
    /// A single short piece, which is not copied while it is alone.
    single: Bytes,
    joined: BytesMut,
    bytes: usize,
    /// What still leaves in short frames.
    careful_bytes: usize,
}

impl Batch {
    /// For an attempt that follows one whose connection was lost.
    //= S-16
    pub(crate) fn careful() -> Self {
        Self { careful_bytes: CAREFUL_BYTES, ..Self::default() }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() >= COPY_BELOW {
            self.close();
            self.frames.push_back(piece);
        } else if self.single.is_empty() && self.joined.is_empty() {
            self.single = piece;
        } else {
            self.joined.extend_from_slice(&std::mem::take(&mut self.single));
            self.joined.extend_from_slice(&piece);
        }
    }

    /// Whether there is enough for now.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// No piece follows that could share a frame with the last ones.
    pub(crate) fn close(&mut self) {
        let last = if self.joined.is_empty() {
            std::mem::take(&mut self.single)
        } else {
            self.joined.split().freeze()
        };
        if !last.is_empty() {
            self.frames.push_back(last);
        }
    }

    /// The next frame. Call [`close`](Self::close) before.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let mut frame = self.frames.pop_front()?;
        if self.careful_bytes > 0 && frame.len() > CAREFUL_FRAME_BYTES {
            self.frames.push_front(frame.split_off(CAREFUL_FRAME_BYTES));
        }
        self.careful_bytes = self.careful_bytes.saturating_sub(frame.len());
        self.bytes -= frame.len();
        Some(frame)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch(<{} bytes>)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(pieces: &[usize]) -> Vec<usize> {
        let mut batch = Batch::default();
        pieces.iter().for_each(|length| batch.push(vec![0; *length].into()));
        batch.close();
        let lengths = std::iter::from_fn(|| batch.pop().map(|frame| frame.len())).collect();
        assert_eq!((batch.bytes, batch.is_empty()), (0, true));
        lengths
    }

    #[test]
    fn short_pieces_share_a_frame_and_long_ones_are_not_copied() {
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[20, 30, 40]), [90]);
        assert_eq!(lengths(&[20, COPY_BELOW, 30, 40, 9_999, 5]), [20, COPY_BELOW, 70, 9_999, 5]);
        let piece = Bytes::from(vec![1; 10]);
        let mut batch = Batch::default();
        batch.push(piece.clone());
        batch.close();
        assert_eq!(batch.pop().map(|frame| frame.as_ptr()), Some(piece.as_ptr()));
    }

    #[test]
    fn a_resumed_attempt_begins_with_short_frames() {
        let mut batch = Batch::careful();
        let piece = CAREFUL_BYTES - CAREFUL_FRAME_BYTES + 1;
        for length in [piece, piece] {
            batch.push(vec![0; length].into());
        }
        batch.close();
        let lengths: Vec<_> = std::iter::from_fn(|| batch.pop().map(|frame| frame.len())).collect();
        let mut expected = vec![CAREFUL_FRAME_BYTES; CAREFUL_BYTES / CAREFUL_FRAME_BYTES - 1];
        expected.extend([1, CAREFUL_FRAME_BYTES, piece - CAREFUL_FRAME_BYTES]);
        assert_eq!((lengths, batch.bytes), (expected, 0));
    }

    #[test]
    fn it_is_full_at_64_kib() {
        let mut batch = Batch::default();
        batch.push(vec![0; BATCH_BYTES - 1].into());
        assert!(!batch.is_full());
        batch.push(vec![0].into());
        assert!(batch.is_full());
    }
}
