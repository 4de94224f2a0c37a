//! How long a lost connection is replaced.

use std::time::Duration;

use rpc_core::stream::position::Position;
use rpc_flow::Stream;
use tokio::time::Instant;

use crate::entropy::Chance;
use crate::retry::Waits;

/// How long a stream without a connection is tried to be resumed.
pub(super) struct Patience {
    pub(super) deadline: Option<Instant>,
    pub(super) retry_time: Duration,
    pub(super) waits: Waits,
    /// How far the stream had come after the last attempt.
    progress: (Position, Position),
    /// When the stream last came any further, moved by the times since in which it had a connection.
    since: Instant,
}

impl Patience {
    pub(super) fn new(deadline: Option<Instant>, retry_time: Duration, chance: &Chance) -> Self {
        let progress = (Position::ORIGIN, Position::ORIGIN);
        Self { deadline, retry_time, waits: Waits::new(chance), progress, since: Instant::now() }
    }

    /// When no further attempt is made.
    pub(super) fn until(&self) -> Instant {
        self.deadline.unwrap_or(self.since + self.retry_time)
    }

    /// An attempt that was joined to the stream at that time has ended. If the stream came further in it, patience begins
    /// anew; otherwise the time with a connection does not count: a stream may be silent for long.
    pub(super) fn was_joined(&mut self, at: Instant, stream: &Stream) -> bool {
        let progress = stream.progress();
        // Not only what is secured: where points are far apart, many connections may go by between two of them.
        let progress = (progress.sent_received, progress.received);
        let further = progress != self.progress;
        if further {
            (self.progress, self.since) = (progress, Instant::now());
            self.waits.reset();
        } else {
            self.since += at.elapsed();
        }
        further
    }
}
