//! What both ends of a direction have in common when it goes on at a new base.

use bytes::Bytes;

use super::digest::Digest;
use super::position::{Generation, Serial};
use super::secured::Secured;
use crate::frame::dialog::Base;

/// Whether the peer has heard of the last resynchronization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It has, or there was none.
    Yes,
    /// It may not have. What it says of an older generation means the base: it has nothing of what follows.
    Unknown,
    /// It has answered the own request perhaps, and may speak of a generation that is not known here yet.
    Before,
}

impl Heard {
    /// A request was said, or is no longer.
    pub(super) fn expect(self, is_expected: bool) -> Self {
        match (self, is_expected) {
            (Self::Yes, true) => Self::Before,
            (Self::Before, false) => Self::Yes,
            (Self::Yes | Self::Unknown, false) | (Self::Before | Self::Unknown, true) => self,
        }
    }
}

impl Base {
    /// What is left of the direction: as if a point had been secured right before the base.
    //= S-10
    pub(super) fn secured(&self, sender_state: Bytes, receiver_state: Bytes) -> Secured {
        let serial = Serial(self.serial.0.saturating_sub(1));
        let digest = Digest { crc: 0, blake3: None };
        Secured { serial, position: self.position, digest, sender_state, receiver_state }
    }
}

impl Generation {
    /// The one after this. Stays at the largest number, which no stream reaches.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
