//! The clock of the sessions.

use std::time::Duration;

use rpc_core::time::Timestamp;
use tokio::time::Instant;

/// tokio's clock, counted from the start of the server. Paused and simulated time thus govern sessions too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_origin(self.origin.elapsed())
    }

    /// The same point on tokio's clock; `None` for a point that never comes.
    pub(crate) fn instant(&self, at: Timestamp) -> Option<Instant> {
        (at != Timestamp::NEVER).then(|| self.origin.checked_add(at.since(Timestamp::ORIGIN))).flatten()
    }

    /// A point on tokio's clock; one before the start of the server is that.
    pub(crate) fn timestamp(&self, at: Instant) -> Timestamp {
        Timestamp::from_origin(at.saturating_duration_since(self.origin))
    }

    /// Time from now until `at`.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }
}
