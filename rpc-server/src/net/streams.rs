//! The streams of one connection: started, counted, awaited.
//!
//! hyper starts one task for each request, and that task ends when the last byte of the response body is handed to
//! HTTP/2, or the stream is reset. So counting these tasks counts open calls, and nothing must be wrapped around the
//! bodies, which would cost an allocation for each call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::Admission;

/// The streams of one connection. A clone is the executor that hyper starts them with.
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

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.admission.mark_used();
        self.0.open.fetch_add(1, Ordering::AcqRel);
        let open = OpenStream(Arc::clone(&self.0));
        // Owned by the connection, which waits for the count. Dropping the connection resets the stream, and hyper's
        // task ends on that.
        // In a box, because a task is moved a dozen times on its way into the runtime and out of it.
        drop(tokio::spawn(StreamTask { future: Box::pin(future), _open: open }));
    }
}

/// Counts for as long as it lives, so that a panic or a dropped runtime counts as an end too.
struct OpenStream(Arc<Inner>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let since = self.0.opened_at.elapsed().as_nanos();
            self.0.idle_since.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Release);
            self.0.fell_to_zero.notify_one();
        }
    }
}

/// A struct and not an `async` block, which would keep the future twice. Fields drop in this order: the handler is gone
/// before the count says so.
struct StreamTask<F> {
    future: Pin<Box<F>>,
    _open: OpenStream,
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.future.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor;
    use tokio::sync::oneshot;

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
        let (end, ended) = oneshot::channel::<()>();
        streams.execute(async { drop(ended.await) });
        streams.execute(async {});
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(streams.activity(), Activity::Busy);
        drop(end);
        streams.ended().await;
        assert_eq!(streams.activity(), Activity::IdleSince(Instant::now()));
    }

    #[tokio::test]
    async fn a_panic_counts_as_an_end() {
        let streams = streams();
        streams.execute(async { panic!("a handler's bug") });
        streams.ended().await;
        assert!(matches!(streams.activity(), Activity::IdleSince(_)));
    }
}
