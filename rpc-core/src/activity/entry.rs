//! What is kept of one activity.

use std::sync::Arc;

use super::Worker;
use crate::session::Kept;
use crate::stream::secured::{Resumption, Secured};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Entry {
    /// Path of the method.
    pub(super) method: Arc<str>,
    /// The call that works on it, or did last.
    pub(super) worker: Worker,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// A call works on it. Until its handler runs, `before` is what the store has, if it has anything.
    Running {
        before: Option<Box<Entry>>,
    },
    Interrupted {
        until: Timestamp,
        at: Resumption,
    },
    Done {
        until: Timestamp,
        at: Resumption,
        kept: Kept,
    },
}

impl Phase {
    /// When it is forgotten.
    pub(super) fn until(&self) -> Timestamp {
        match self {
            Self::Running { .. } => Timestamp::NEVER,
            Self::Interrupted { until, .. } | Self::Done { until, .. } => *until,
        }
    }

    /// Bytes of states and of a reply.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Running { before } => {
                return before.as_ref().map_or(0, |before| before.phase.bytes());
            }
            Self::Interrupted { at, .. } => state_bytes(at),
            Self::Done { at, kept: Kept::Whole(reply) | Kept::StatusOnly(reply), .. } => {
                state_bytes(at) + reply.bytes()
            }
        };
        bytes as u64
    }
}

/// Bytes of what the applications left there.
pub(crate) fn state_bytes(at: &Resumption) -> usize {
    let of = |secured: &Secured| secured.sender_state.len() + secured.receiver_state.len();
    at.requests.as_ref().map_or(0, of) + at.responses.as_ref().map_or(0, of)
}
