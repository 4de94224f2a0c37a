//! Two flows, a link and a virtual clock.

mod crash;
mod dialogs;
mod durable;
mod flow;
mod frameless;
mod link;
mod major;
mod pipe;
mod rereading;
mod restored;
mod resumed;
mod resynchronized;
mod seeds;
mod splitter;
mod talk;
mod turns;

use bytes::{BufMut, Bytes, BytesMut};

/// Framed messages of the given lengths, filled with the given bytes.
pub(super) fn messages(messages: &[(usize, u8)]) -> Bytes {
    let mut bytes = BytesMut::new();
    for (length, fill) in messages {
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(*length).unwrap());
        bytes.put_bytes(*fill, *length);
    }
    bytes.freeze()
}

/// A small generator (xorshift*), so that a seed always means the same run.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0 to `bound` - 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
