//! One queue for the deadlines of all sessions.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SessionId;
use crate::time::Timestamp;

/// Sessions in the order of their deadlines, each at most once.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue {
    queue: BTreeSet<(Timestamp, SessionId)>,
    times: BTreeMap<SessionId, Timestamp>,
}

impl ExpiryQueue {
    /// Sets the deadline of a session.
    pub(super) fn set(&mut self, id: SessionId, at: Timestamp) {
        if let Some(before) = self.times.insert(id, at) {
            self.queue.remove(&(before, id));
        }
        self.queue.insert((at, id));
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, id: SessionId) {
        if let Some(at) = self.times.remove(&id) {
            self.queue.remove(&(at, id));
        }
    }

    /// Takes out the session whose deadline came first, if it has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<SessionId> {
        let (at, id) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Timestamp {
        self.queue.first().map_or(Timestamp::NEVER, |(at, _)| *at)
    }
}
