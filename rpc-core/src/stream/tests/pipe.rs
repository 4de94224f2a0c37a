//! One way of one connection, in memory.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::Frame;
use crate::stream::flow::Step;
use crate::stream::splitter::CONTROL_KEY;
use crate::time::Timestamp;

/// One way of one connection. Frames are put into bytes as `rpc-proto` does, only that what stands for their content is
/// their number here.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    chunks: VecDeque<(Timestamp, Bytes)>,
    bytes: usize,
    frames: Vec<Frame>,
}

impl Pipe {
    pub(super) fn write(&mut self, at: Timestamp, step: Step) {
        let bytes = match step {
            Step::Data(bytes) => bytes,
            Step::Control(frame) => {
                let mut bytes = BytesMut::new();
                bytes.put_u8(0);
                bytes.put_u32(14);
                bytes.put_slice(&CONTROL_KEY);
                bytes.put_u8(8);
                bytes.put_u64(self.frames.len() as u64);
                self.frames.push(frame);
                bytes.freeze()
            }
            Step::Idle { .. } | Step::Failed(_) => return,
        };
        self.bytes += bytes.len();
        self.chunks.push_back((at, bytes));
    }

    /// Up to `most` bytes of those that have come by now.
    pub(super) fn read(&mut self, now: Timestamp, most: usize) -> Option<Bytes> {
        let (at, chunk) = self.chunks.front_mut().filter(|(at, _)| *at <= now)?;
        let _ = at;
        let bytes = chunk.split_to(most.min(chunk.len()));
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// Frame `number` of those that were written.
    pub(super) fn frame(&self, number: u64) -> Frame {
        self.frames[usize::try_from(number).unwrap()].clone()
    }

    /// What was written and not read.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
