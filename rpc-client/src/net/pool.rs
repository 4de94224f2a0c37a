//! The set of connections to one target, as callers see it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, Uri};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;

use super::{
    backoff::Pauses,
    board::Board,
    bodies::ResponseBody,
    config::{Backoff, Config},
    connection::Connection,
    dialer::Dialer,
    error::{ConnectError, NotSent, SendError, SetupError},
    slot::Slot,
    state::State,
};

/// A set of HTTP/2 connections to one target. Cheap to clone.
///
/// Connections are made when first needed, and each one that is lost is dialled again by itself until the set is shut
/// down. Dropping the last handle stops the dialling and takes no more calls; calls under way come to their end, and
/// each connection closes with its last one.
#[derive(Clone)]
pub struct Connections {
    inner: Arc<Inner>,
}

struct Inner {
    board: Arc<Board>,
    tasks: TaskTracker,
    /// Ends the slots, and with them the dialling.
    stop: CancellationToken,
    /// Breaks every connection.
    cut: CancellationToken,
    slots: usize,
    backoff: Backoff,
    replays_max: usize,
    wait_for_ready: bool,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// What one call wants from its connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOptions {
    /// Until when the request may wait to be sent. Default: without end.
    ///
    /// It ends when the request is on its way; whoever waits for the response has to watch it from there.
    pub deadline: Option<Instant>,
    /// Whether to wait for a connection while none can be made. Default: as configured
    /// ([`Config::wait_for_ready`]).
    pub wait_for_ready: Option<bool>,
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every call came to its end.
    Whole,
    /// The time passed first, and whatever still ran was cut off.
    Cut,
}

impl Connections {
    /// Sets up connections to `target`, which is `http://host:port` or `https://host:port`. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// See [`SetupError`]: a target or TLS settings that cannot work, or no tokio runtime to run on.
    pub fn new(target: Uri, config: Config) -> Result<Self, SetupError> {
        Handle::try_current().map_err(|_| SetupError::NoRuntime)?;
        let tasks = TaskTracker::new();
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let dialer = Arc::new(Dialer::new(target, &config, tasks.clone(), cut.clone())?);
        let board = Arc::new(Board::new(config.connections));
        for index in 0..config.connections {
            let slot = Slot {
                index,
                dialer: dialer.clone(),
                board: board.clone(),
                pauses: Pauses::new(config.backoff, index as u64),
                stop: stop.clone(),
            };
            tasks.spawn(slot.run());
        }
        Ok(Self {
            inner: Arc::new(Inner {
                board,
                tasks,
                stop,
                cut,
                slots: config.connections,
                backoff: config.backoff,
                replays_max: config.replays_max,
                wait_for_ready: config.wait_for_ready,
                waiting: AtomicUsize::new(0),
                waiting_max: config.calls_waiting_max,
            }),
        })
    }

    /// Makes the first connection, or says why the first dial failed. Dialling goes on either way.
    ///
    /// # Errors
    ///
    /// [`NotSent::Unavailable`] with the failure, or [`NotSent::Shutdown`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; dialling goes on.
    pub async fn connect(&self) -> Result<(), NotSent> {
        self.ready(false).await
    }

    /// Sends `request` on the least loaded connection.
    ///
    /// A request that a connection hands back unsent is sent on another one, at most [`Config::replays_max`] times.
    /// Scheme and authority of the request are those of the target, whatever it says.
    ///
    /// # Errors
    ///
    /// As [`SendError`] says. [`NotProcessed`](SendError::NotProcessed) may be sent again by the caller, who alone can
    /// build the request anew; [`send_with`](Self::send_with) does both.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is sent, the request was never sent; after that its stream is reset, and only its.
    pub async fn send(
        &self,
        request: Request<Body>,
        options: SendOptions,
    ) -> Result<Response<ResponseBody>, SendError> {
        self.send_boxed(Box::new(request), options).await
    }

    /// As [`send`](Self::send). In a box, because each future that hands a request on to the next has room for it twice.
    pub(crate) async fn send_boxed(
        &self,
        mut request: Box<Request<Body>>,
        options: SendOptions,
    ) -> Result<Response<ResponseBody>, SendError> {
        for _ in 0..=self.inner.replays_max {
            let connection = match self.pick(options).await {
                Ok(connection) => connection,
                Err(cause) => return Err(SendError::NotSent { request, cause }),
            };
            match connection.send_boxed(request, options.deadline).await {
                Err(SendError::NotSent { request: back, cause: NotSent::Closed }) => request = back,
                done => return done,
            }
        }
        Err(SendError::NotSent { request, cause: NotSent::Replays(self.inner.replays_max + 1) })
    }

    /// Sends the request that `make` builds, and builds and sends it again while the peer provably did not process
    /// it, at most [`Config::replays_max`] times.
    ///
    /// The first repetition follows at once, since mostly a connection was being replaced; the others after a pause,
    /// since a peer that refuses streams is overloaded. `make` is called once for a call that meets no trouble, so
    /// what it builds need not be kept anywhere.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). [`Lost`](SendError::Lost) is never repeated.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_with(
        &self,
        mut make: impl FnMut() -> Request<Body>,
        options: SendOptions,
    ) -> Result<Response<ResponseBody>, SendError> {
        let mut pauses = None;
        let mut replays = 0;
        loop {
            match self.send(make(), options).await {
                Err(SendError::NotProcessed { cause }) if replays < self.inner.replays_max => {
                    tracing::debug!(replays, error = %cause, "request not processed, sending it again");
                }
                done => return done,
            }
            if replays > 0 {
                let pauses = pauses.get_or_insert_with(|| Pauses::new(self.inner.backoff, 0));
                sleep_at_most(pauses.next(), options.deadline).await;
            }
            replays += 1;
        }
    }

    /// Watches the connectivity of the set.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.inner.board.state()
    }

    /// Watches the connections that take calls, for what must be done once on each.
    ///
    /// A connection is in the list from the moment it takes calls until it takes no more; its
    /// [`key`](Connection::key) tells what is new. Like every watch it may skip lists that were soon replaced.
    pub fn live(&self) -> watch::Receiver<Arc<[Connection]>> {
        self.inner.board.live()
    }

    /// Takes no more calls, lets those under way run for at most `grace`, cuts off the rest, and returns when the last
    /// task of the set has ended.
    ///
    /// Calls that were waiting, and those made from now on, are answered with [`NotSent::Shutdown`].
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the set stays shut down, calls under way come to their end without a limit of time. It may be
    /// called again.
    pub async fn shutdown(&self, grace: Duration) -> Drained {
        let inner = &self.inner;
        inner.stop();
        inner.tasks.close();
        if timeout(grace, inner.tasks.wait()).await.is_ok() {
            return Drained::Whole;
        }
        inner.cut.cancel();
        inner.tasks.wait().await;
        Drained::Cut
    }

    async fn pick(&self, options: SendOptions) -> Result<Connection, NotSent> {
        if let Some(connection) = self.least_loaded() {
            return Ok(connection);
        }
        // In a box, since it is rare: each call would have room for it.
        Box::pin(self.wait_and_pick(options)).await
    }

    fn least_loaded(&self) -> Option<Connection> {
        let inner = &self.inner;
        let (live, best) = inner.board.look(|live| {
            let open = live.iter().filter(|connection| !connection.is_closed());
            (live.len(), open.min_by_key(|connection| connection.in_flight()).cloned())
        });
        let best = best?;
        if live < inner.slots && best.in_flight() > 0 {
            inner.board.want(live + 1);
        }
        Some(best)
    }

    async fn wait_and_pick(&self, options: SendOptions) -> Result<Connection, NotSent> {
        let _waiting = Waiting::new(&self.inner)?;
        let wait = options.wait_for_ready.unwrap_or(self.inner.wait_for_ready);
        let picking = async {
            loop {
                self.ready(wait).await?;
                if let Some(connection) = self.least_loaded() {
                    return Ok(connection);
                }
                // The connection is closed but still listed; its slot is about to say so.
                tokio::task::yield_now().await;
            }
        };
        let Some(deadline) = options.deadline else { return picking.await };
        match timeout_at(deadline, picking).await {
            Ok(picked) => picked,
            Err(_) => Err(NotSent::Deadline(self.inner.failure())),
        }
    }

    /// Waits for a connection; unless told to `wait` for it through failures, a failure that stands ends the waiting.
    async fn ready(&self, wait: bool) -> Result<(), NotSent> {
        self.inner.board.want(1);
        let mut state = self.watch();
        let decided = |state: &State| match state {
            State::Ready | State::Shutdown => true,
            State::TransientFailure { .. } => !wait,
            State::Idle | State::Connecting => false,
        };
        // The board holds the sender, and `self` the board: the channel cannot close.
        let state = state.wait_for(decided).await.map_err(|_| NotSent::Shutdown)?;
        match &*state {
            State::TransientFailure { cause } => Err(NotSent::Unavailable(cause.clone())),
            State::Shutdown => Err(NotSent::Shutdown),
            State::Idle | State::Connecting | State::Ready => Ok(()),
        }
    }
}

async fn sleep_at_most(pause: Duration, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.min(Instant::now() + pause)).await,
        None => sleep(pause).await,
    }
}

impl Inner {
    fn stop(&self) {
        self.board.shut_down();
        self.stop.cancel();
    }

    fn failure(&self) -> Option<Arc<ConnectError>> {
        self.board.state().borrow().failure().cloned()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("state", &*self.watch().borrow())
            .field("live", &*self.live().borrow())
            .finish_non_exhaustive()
    }
}

/// One call that waits for a connection.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Result<Self, NotSent> {
        let waiting = Self(inner);
        if inner.waiting.fetch_add(1, Ordering::Relaxed) >= inner.waiting_max {
            return Err(NotSent::TooManyWaiting(inner.waiting_max));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
