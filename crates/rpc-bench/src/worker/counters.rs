//! What handlers did, which the driver compares with what the client says.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::Counts;

/// Counted by all handlers of a server. Relaxed: they are read when no call is under way.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    runs: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counters {
    /// A handler of one message runs, and answers one.
    pub(crate) fn call(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.streamed(1, 1);
    }

    /// A handler of a stream runs.
    pub(crate) fn stream(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream came to its end, with so many messages.
    pub(crate) fn streamed(&self, received: u64, sent: u64) {
        self.received.fetch_add(received, Ordering::Relaxed);
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }

    /// All so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            runs: self.runs.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        }
    }
}
