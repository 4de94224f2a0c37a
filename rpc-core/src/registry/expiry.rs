//! One queue for the deadlines of all sessions.

use std::collections::BTreeSet;

use crate::id::SessionId;
use crate::time::Timestamp;

/// Sessions in the order of their deadlines. Whoever has a deadline set remembers it, so that the queue need not.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue(BTreeSet<(Timestamp, SessionId)>);

impl ExpiryQueue {
    /// Sets the deadline of a session that was `before`, on either side [`Timestamp::NEVER`] where there is none.
    pub(super) fn replace(&mut self, id: SessionId, before: Timestamp, at: Timestamp) {
        if before != Timestamp::NEVER {
            self.0.remove(&(before, id));
        }
        if at != Timestamp::NEVER {
            self.0.insert((at, id));
        }
    }

    /// Takes out the session whose deadline came first, if it has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<SessionId> {
        let (at, id) = *self.0.first()?;
        if at > now {
            return None;
        }
        self.0.remove(&(at, id));
        Some(id)
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Timestamp {
        self.0.first().map_or(Timestamp::NEVER, |(at, _)| *at)
    }
}
