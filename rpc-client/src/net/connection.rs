//! One live HTTP/2 connection.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Request, Response};
use http_body::Body as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tonic::body::Body;

use super::{
    bodies::{ResponseBody, Upload},
    error::{NotSent, SendError},
    gate::{Call, Gate, Refusal},
    origin::Origin,
};

/// Tells connections of one set apart; never used twice in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey(pub(super) u64);

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One live connection, for requests that belong to it and to no other.
///
/// A cheap handle. Keeping it keeps nothing alive: the connection ends when the peer, the network or the set of
/// connections says so, and the handle then answers [`NotSent::Closed`].
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    key: ConnectionKey,
    origin: Origin,
    /// Gone as soon as the connection takes no more requests: h2 closes one when its last stream has ended and nobody
    /// can send on it. It is never sent on itself. What is cloned from it has no memory of streams that the peer's limit
    /// holds back, and that keeps callers from waiting for each other's; the gate does what it would be for.
    sender: Mutex<Option<SendRequest<Bytes>>>,
    gate: Arc<Gate>,
    answered: AtomicBool,
    retired: CancellationToken,
    tasks: TaskTracker,
}

impl Connection {
    /// Request bodies that have to wait are sent by tasks of `tasks`; `retired` is cancelled when the connection takes
    /// no more requests.
    pub(super) fn new(
        key: ConnectionKey,
        origin: Origin,
        sender: SendRequest<Bytes>,
        gate: Arc<Gate>,
        retired: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let sender = Mutex::new(Some(sender));
        Self(Arc::new(Inner { key, origin, sender, gate, answered: AtomicBool::new(false), retired, tasks }))
    }

    /// Sends `request` on this connection, or not at all; it is never replayed elsewhere.
    ///
    /// Scheme and authority of the request are those of the target, whatever it says. Waits for room on the
    /// connection, at most until `deadline`; once sent, the deadline is the caller's to watch.
    ///
    /// # Errors
    ///
    /// As [`SendError`] says: [`NotSent`](SendError::NotSent) with the request,
    /// [`NotProcessed`](SendError::NotProcessed) or [`Lost`](SendError::Lost).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is sent, the request was never sent; after that its stream is reset, and only its.
    pub async fn send(
        &self,
        request: Request<Body>,
        deadline: Option<Instant>,
    ) -> Result<Response<ResponseBody>, SendError> {
        self.send_boxed(Box::new(request), deadline).await
    }

    /// As [`send`](Self::send). In a box, because each future that hands a request on to the next has room for it twice.
    pub(super) async fn send_boxed(
        &self,
        request: Box<Request<Body>>,
        deadline: Option<Instant>,
    ) -> Result<Response<ResponseBody>, SendError> {
        let mut call = match self.enter(deadline).await {
            Ok(call) => call,
            Err(cause) => return Err(SendError::NotSent { request, cause }),
        };
        let Some(sender) = self.ready() else {
            return Err(SendError::NotSent { request, cause: NotSent::Closed });
        };
        let (head, body) = self.0.origin.head_of(*request);
        let ends = body.is_end_stream();
        call.leave();
        let (response, stream) = self.begin(sender, head, ends)?;
        let call = Arc::new(call);
        let sending =
            if ends { None } else { Upload::new(stream, body, call.clone()).start(&self.0.tasks).await };
        let answer = response.await.map_err(SendError::judge)?;
        // What is left of the request is sent to its end now, whatever becomes of the response.
        drop(sending.map(AbortOnDropHandle::detach));
        if !self.0.answered.load(Ordering::Relaxed) {
            self.0.answered.store(true, Ordering::Relaxed);
        }
        Ok(answer.map(|stream| ResponseBody::new(stream, call)))
    }

    /// Returns what can send one request, unless the connection is over. It may be over before its task has noticed, or
    /// have used up its stream numbers, of which its task knows nothing: then it is retired here.
    fn ready(&self) -> Option<SendRequest<Bytes>> {
        let mut sender = self.sender().clone()?;
        // It never waits, since it has sent nothing yet.
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => {
                tracing::debug!(connection = %self.key(), %error, "connection takes no more requests");
                self.retire();
                None
            }
            Poll::Ready(Ok(())) | Poll::Pending => Some(sender),
        }
    }

    /// Opens a stream for a request.
    fn begin(
        &self,
        mut sender: SendRequest<Bytes>,
        head: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), SendError> {
        sender.send_request(head, ends).map_err(|cause| {
            // There is no stream, so nothing was sent, and nobody wakes the connection's task for it. Mostly the connection
            // has ended since it was asked, on another thread; h2 has the head by now and does not give it back.
            self.0.gate.turn();
            if cause.is_io() || cause.is_go_away() {
                self.retire();
            }
            SendError::NotProcessed { cause }
        })
    }

    /// Waits until the connection takes no more requests. Calls that run on it may still come to their end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        self.0.retired.cancelled().await;
    }

    /// Returns what tells this connection from the others of its set.
    pub fn key(&self) -> ConnectionKey {
        self.0.key
    }

    /// Tells whether the connection takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.0.gate.is_closed()
    }

    /// Counts the calls on this connection, those waiting for room included. A call counts until its request and
    /// response have both ended or were dropped.
    pub fn in_flight(&self) -> usize {
        self.0.gate.load()
    }

    /// Lets no more requests in.
    pub(super) fn retire(&self) {
        self.0.gate.close();
        self.sender().take();
        self.0.retired.cancel();
    }

    /// Tells whether any call was ever answered here.
    pub(super) fn has_answered(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    fn sender(&self) -> MutexGuard<'_, Option<SendRequest<Bytes>>> {
        // Only ever cloned or taken under the lock: no panic leaves it half changed.
        self.0.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn enter(&self, deadline: Option<Instant>) -> Result<Call, NotSent> {
        let entering = self.0.gate.enter();
        let entered = match deadline {
            None => entering.await,
            Some(deadline) => timeout_at(deadline, entering).await.map_err(|_| NotSent::Deadline(None))?,
        };
        entered.map_err(|refusal| match refusal {
            Refusal::Closed => NotSent::Closed,
            Refusal::Full(waiting) => NotSent::TooManyWaiting(waiting),
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("key", &self.key())
            .field("in_flight", &self.in_flight())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
