//! When a session that nobody uses ends.

use std::time::Duration;

use super::lifecycle::State;
use crate::time::Timestamp;

/// The two times that keep a session alive: the lease while a connection carries it, the linger once none does.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Lease {
    lease: Duration,
    linger: Duration,
    last_traffic: Timestamp,
    lost_at: Timestamp,
}

impl Lease {
    /// A lease that starts at `now`.
    pub(super) fn new(now: Timestamp, lease: Duration, linger: Duration) -> Self {
        Self { lease, linger, last_traffic: now, lost_at: now }
    }

    /// Something came from the owner.
    pub(super) fn traffic(&mut self, now: Timestamp) {
        self.last_traffic = self.last_traffic.max(now);
    }

    /// The last connection was lost.
    pub(super) fn lost(&mut self, now: Timestamp) {
        self.lost_at = now;
    }

    /// When the session ends if nothing more happens.
    pub(super) fn deadline(&self, state: State) -> Timestamp {
        match state {
            //= L-3
            //= L-7
            State::Connected | State::Releasing => self.last_traffic + self.lease,
            //= L-4
            State::Lingering => self.lost_at + self.linger,
            State::Opening | State::Ended(_) => Timestamp::NEVER,
        }
    }
}
