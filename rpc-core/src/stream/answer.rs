//! Which major point an answer answers.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::position::{Generation, Serial};
use crate::frame::SyncPoint;

/// A major point of the other direction. Its answer carries this in place of an application's state: after a
/// resynchronization the answer to a point that nobody waits for any more may come when another one was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) generation: Generation,
    pub(super) serial: Serial,
}

impl Answered {
    /// Four bytes of generation, eight of serial, big-endian.
    pub(super) fn to_state(self) -> Bytes {
        let mut state = BytesMut::with_capacity(12);
        state.put_u32(self.generation.0);
        state.put_u64(self.serial.0);
        state.freeze()
    }

    /// What the answer `point` answers; `None`: nothing that this side could have placed.
    pub(super) fn of(point: &SyncPoint) -> Option<Self> {
        let mut state = (point.state.len() == 12).then_some(&point.state[..])?;
        Some(Self { generation: Generation(state.get_u32()), serial: Serial(state.get_u64()) })
    }
}
