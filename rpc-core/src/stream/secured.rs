//! What is left of a stream when everything but its last secured points is gone.

use std::fmt;

use bytes::Bytes;

use super::digest::Digest;
use super::position::{Position, Serial};
use crate::frame::{PointKind, SyncAck, SyncPoint};

/// The last secured point of one direction, with what both applications left there. `Debug` shows no state.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secured {
    /// Its number.
    pub serial: Serial,
    /// Where it lies.
    pub position: Position,
    /// Of everything before it.
    pub digest: Digest,
    /// What the sending application left with the point.
    pub sender_state: Bytes,
    /// What the receiving application left when it secured the point.
    pub receiver_state: Bytes,
}

impl Secured {
    pub(super) fn new(point: &SyncPoint, receiver_state: Bytes) -> Self {
        let SyncPoint { serial, position, digest, ref state, kind } = *point;
        let sender_state = match kind {
            PointKind::Minor | PointKind::Separating | PointKind::Major => state.clone(),
            // Not an application's.
            PointKind::MajorAnswer => Bytes::new(),
        };
        Self { serial, position, digest, sender_state, receiver_state }
    }

    /// Whether it belongs to the generation that begins at `base`, rather than to an older one.
    pub(super) fn is_from(&self, base: &Self) -> bool {
        let here = self.position == base.position;
        let is_later = here && self.serial > base.serial && self.digest.crc == base.digest.crc;
        self == base || is_later || !here && base.position.within(self.position)
    }

    /// The confirmation of the point.
    pub(super) fn ack(&self) -> SyncAck {
        SyncAck { serial: self.serial, state: self.receiver_state.clone() }
    }

    /// The point as it was placed.
    pub(super) fn point(&self) -> SyncPoint {
        let Self { serial, position, digest, ref sender_state, .. } = *self;
        SyncPoint { serial, position, digest, state: sender_state.clone(), kind: PointKind::Minor }
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, position, sender_state, receiver_state, .. } = self;
        let (sender, receiver) = (sender_state.len(), receiver_state.len());
        write!(f, "Secured({serial} at {position}, <{sender} bytes>, <{receiver} bytes>)")
    }
}

/// From where a call can go on, in both directions. `None`: from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Resumption {
    /// Of the requests: what the client sends.
    pub requests: Option<Secured>,
    /// Of the responses: what the server sends.
    pub responses: Option<Secured>,
}
