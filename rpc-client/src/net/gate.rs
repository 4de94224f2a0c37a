//! The entrance to one connection: how many calls are on it, and how many may lie in front of it.
//!
//! Two limits, passed one after the other:
//!
//! 1. **Streams**: as many calls as the peer allows at once. Beyond that h2 would hold calls back itself, where a
//!    GOAWAY makes it impossible to say whether they were sent; here they can be taken back.
//! 2. **Queue**: hyper takes any number of requests into an unbounded channel and passes them on when its task runs.
//!    Without a bound, all callers hand over their requests in one go, then the server answers all in one go: the two
//!    take turns and each is idle half of the time (57 k/s instead of 106 k/s with 64 callers). With 16 places the
//!    rest of the callers come one turn later, and their requests travel while the first are being answered. A place
//!    is free again when hyper asks the request's body for its first frame, which is when the request has left the
//!    channel.
//!
//! Both are counted by semaphores, and not by a channel with a task of its own behind it: a channel costs each call
//! one more wake-up and one more allocation.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::{Status, body::Body};

/// The entrance to one connection.
pub(super) struct Gate {
    streams: Semaphore,
    queue: Semaphore,
    /// Permits of `streams`, free or taken.
    streams_granted: AtomicUsize,
    streams_max: usize,
    waiting_max: usize,
    /// Calls on the connection and calls waiting to get there.
    load: AtomicUsize,
}

/// Why a call may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The gate is closed, for ever.
    Closed,
    /// So many wait already.
    Full(usize),
}

impl Gate {
    /// Opens a gate for at most `streams_max` calls, of which `queue_len` may not yet have left.
    pub(super) fn new(streams_max: usize, queue_len: usize, waiting_max: usize) -> Arc<Self> {
        Arc::new(Self {
            streams: Semaphore::new(streams_max),
            queue: Semaphore::new(queue_len),
            streams_granted: AtomicUsize::new(streams_max),
            streams_max,
            waiting_max,
            load: AtomicUsize::new(0),
        })
    }

    /// Waits until there is room, first come first served.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, it leaves the line without a trace.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Entry, Refusal> {
        let load = Load::new(self);
        if self.load() > self.streams_granted.load(Ordering::Relaxed) + self.waiting_max {
            return Err(Refusal::Full(self.waiting_max));
        }
        let closed = |_| Refusal::Closed;
        let stream = self.streams.acquire().await.map_err(closed)?;
        let place = self.queue.acquire().await.map_err(closed)?;
        stream.forget();
        place.forget();
        let call = Arc::new(Call { load, begun: AtomicBool::new(false) });
        Ok(Entry { queued: Some(Queued(call.clone())), call })
    }

    /// Follows the peer's limit. To be called by one task only.
    pub(super) fn follow(&self, streams_peer: usize) {
        let target = streams_peer.min(self.streams_max);
        let granted = self.streams_granted.load(Ordering::Relaxed);
        if target > granted {
            self.streams.add_permits(target - granted);
            self.streams_granted.store(target, Ordering::Relaxed);
        } else if target < granted {
            // Permits in use cannot be taken back now; the next call of this function goes on.
            let forgotten = self.streams.forget_permits(granted - target);
            self.streams_granted.store(granted - forgotten, Ordering::Relaxed);
        }
    }

    /// Lets nobody in any more, and sends away who waits.
    pub(super) fn close(&self) {
        self.streams.close();
        self.queue.close();
    }

    /// Tells whether the gate is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.streams.is_closed()
    }

    /// Counts the calls on the connection and those waiting to get there.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

/// One call that has entered.
pub(super) struct Entry {
    call: Arc<Call>,
    queued: Option<Queued>,
}

impl Entry {
    /// Makes the request body that hyper gets, which gives the place in the queue back as soon as it is used.
    pub(super) fn outgoing(&mut self, body: Body) -> Outgoing {
        Outgoing { body, queued: self.queued.take(), _call: self.call.clone() }
    }

    /// Tells whether hyper has asked the request body for its first frame.
    pub(super) fn begun(&self) -> bool {
        self.call.begun.load(Ordering::Acquire)
    }

    /// Makes the response body that the caller gets, with which the call ends.
    pub(super) fn response(self, incoming: Incoming) -> ResponseBody {
        ResponseBody { incoming, call: Some(self.call) }
    }
}

/// One call on the connection, from its entry until request and response have both ended.
///
/// Both, because a stream is open that long, and the peer counts it as long.
struct Call {
    load: Load,
    begun: AtomicBool,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.load.0.streams.add_permits(1);
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("begun", &self.begun).finish_non_exhaustive()
    }
}

/// One unit of load on a gate.
struct Load(Arc<Gate>);

impl Load {
    fn new(gate: &Arc<Gate>) -> Self {
        gate.load.fetch_add(1, Ordering::Relaxed);
        Self(gate.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One place in the queue.
struct Queued(Arc<Call>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.load.0.queue.add_permits(1);
    }
}

/// A request body that knows when it is used.
pub(super) struct Outgoing {
    body: Body,
    queued: Option<Queued>,
    _call: Arc<Call>,
}

impl Outgoing {
    /// Gives the body back. Only a request that hyper handed back unsent is asked for it.
    pub(super) fn into_body(self) -> Body {
        self.body
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(Queued(call)) = self.queued.as_ref() {
            call.begun.store(true, Ordering::Release);
            self.queued = None;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response. Its call counts as open on the connection until this has ended or is dropped.
///
/// Dropping it before its end cancels the call on the wire, unless the request body is still being sent: HTTP/2
/// directions are independent, and then the stream lives until the request body ends, too.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    call: Option<Arc<Call>>,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.call = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn enter(gate: &Arc<Gate>) -> Option<Result<Entry, Refusal>> {
        gate.enter().now_or_never()
    }

    fn entered(gate: &Arc<Gate>) -> Entry {
        enter(gate).unwrap().ok().unwrap()
    }

    #[tokio::test]
    async fn a_place_in_the_queue_is_free_again_when_the_body_is_used_or_dropped() {
        let gate = Gate::new(100, 2, 100);
        let (mut used, mut dropped) = (entered(&gate), entered(&gate));
        assert!(enter(&gate).is_none(), "the queue is full");
        let mut body = used.outgoing(Body::empty());
        assert!(!used.begun());
        assert!(http_body_util::BodyExt::frame(&mut body).await.is_none());
        assert!(used.begun());
        let _third = entered(&gate);
        assert!(enter(&gate).is_none());
        drop(dropped.outgoing(Body::empty()));
        assert!(!dropped.begun());
        let _fourth = entered(&gate);
        assert_eq!(gate.load(), 4, "and all four are still on the connection");
    }

    #[test]
    fn who_stops_waiting_leaves_no_trace() {
        let gate = Gate::new(1, 1, 100);
        let first = entered(&gate);
        assert!(enter(&gate).is_none());
        assert_eq!(gate.load(), 1);
        drop(first);
        assert_eq!(gate.load(), 0);
        drop(entered(&gate));
    }

    #[test]
    fn the_peers_limit_is_followed_up_and_down_even_while_calls_are_open() {
        let gate = Gate::new(8, 16, 100);
        let mut open: Vec<_> = (0..6).map(|_| entered(&gate)).collect();
        gate.follow(3);
        assert!(enter(&gate).is_none());
        open.truncate(2);
        gate.follow(3);
        open.push(entered(&gate));
        assert!(enter(&gate).is_none(), "three of three");
        gate.follow(usize::MAX);
        open.extend((0..5).map(|_| entered(&gate)));
        assert!(enter(&gate).is_none(), "never more than our own eight");
    }

    #[test]
    fn a_closed_gate_and_a_full_line_send_away() {
        let gate = Gate::new(1, 16, 0);
        let _open = entered(&gate);
        assert!(matches!(enter(&gate), Some(Err(Refusal::Full(0)))));
        gate.close();
        let gate = Gate::new(1, 16, 1);
        gate.close();
        assert!(matches!(enter(&gate), Some(Err(Refusal::Closed))));
    }
}
