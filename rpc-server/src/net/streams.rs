//! The streams of one connection: counted, and awaited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::Admission;

/// The streams of one connection. A clone counts the same.
#[derive(Clone)]
pub(super) struct Streams(Arc<Inner>);

struct Inner {
    opened_at: Instant,
    open: AtomicUsize,
    /// Nanoseconds from `opened_at` to the last time that `open` fell to zero.
    idle_since: AtomicU64,
    fell_to_zero: Notify,
    admission: Admission,
}

impl Streams {
    pub(super) fn new(admission: Admission) -> Self {
        Self(Arc::new(Inner {
            opened_at: Instant::now(),
            open: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            fell_to_zero: Notify::new(),
            admission,
        }))
    }

    /// Counts one more, until what is returned is dropped.
    pub(super) fn open(&self) -> OpenStream {
        self.0.admission.mark_used();
        self.0.open.fetch_add(1, Ordering::AcqRel);
        OpenStream(Arc::clone(&self.0))
    }

    /// What the connection is doing.
    ///
    /// While a last stream ends on another thread, the answer may for a moment be of the idle time before it. The
    /// worst that follows is an orderly end of the connection, for which no lock on each call is worth paying.
    pub(super) fn activity(&self) -> Activity {
        if self.0.open.load(Ordering::Acquire) > 0 {
            Activity::Busy
        } else if self.0.admission.is_used() {
            let since = Duration::from_nanos(self.0.idle_since.load(Ordering::Acquire));
            Activity::IdleSince(self.0.opened_at + since)
        } else {
            Activity::Unused
        }
    }

    /// Resolves when no stream is open. For one waiter, after the connection is gone, so that none can begin.
    pub(super) async fn ended(&self) {
        while self.0.open.load(Ordering::Acquire) > 0 {
            self.0.fell_to_zero.notified().await;
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// No request has come yet.
    Unused,
    /// At least one stream is open.
    Busy,
    /// No stream was open since then.
    IdleSince(Instant),
}

/// Counts for as long as it lives, so that a panic or a dropped runtime counts as an end too.
pub(super) struct OpenStream(Arc<Inner>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let since = self.0.opened_at.elapsed().as_nanos();
            self.0.idle_since.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Release);
            self.0.fell_to_zero.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::super::limits::Limiter;
    use super::*;

    fn streams() -> Streams {
        Streams::new(Limiter::new(Limits::default()).admit(None).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_begins_when_the_last_stream_ends() {
        let streams = streams();
        assert_eq!(streams.activity(), Activity::Unused);
        let (first, second) = (streams.open(), streams.open());
        drop(first);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(streams.activity(), Activity::Busy);
        drop(second);
        streams.ended().await;
        assert_eq!(streams.activity(), Activity::IdleSince(Instant::now()));
    }

    #[tokio::test]
    async fn a_panic_counts_as_an_end() {
        let streams = streams();
        let open = streams.open();
        tokio::spawn(async move {
            let _open = open;
            panic!("a handler's bug")
        });
        streams.ended().await;
        assert!(matches!(streams.activity(), Activity::IdleSince(_)));
    }
}
