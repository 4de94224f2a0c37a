//! When a session that nobody uses ends.

use super::lifecycle::State;
use crate::negotiate::Agreement;
use crate::time::Timestamp;

/// Since when the two times run that keep a session alive: the lease while a connection carries it, the linger once none
/// does.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Lease {
    last_traffic: Timestamp,
    lost_at: Timestamp,
}

impl Lease {
    /// A lease that starts at `now`.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { last_traffic: now, lost_at: now }
    }

    /// Something came from the owner.
    pub(super) fn traffic(&mut self, now: Timestamp) {
        self.last_traffic = self.last_traffic.max(now);
    }

    /// The last connection was lost.
    pub(super) fn lost(&mut self, now: Timestamp) {
        self.lost_at = now;
    }

    /// When the session ends if nothing more happens, by what was agreed on.
    pub(super) fn deadline(&self, state: State, agreement: &Agreement) -> Timestamp {
        match state {
            //= L-3
            //= L-7
            State::Connected | State::Releasing => self.last_traffic + agreement.lease,
            //= L-4
            State::Lingering => self.lost_at + agreement.linger,
            State::Opening | State::Ended(_) => Timestamp::NEVER,
        }
    }
}
