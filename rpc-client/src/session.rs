//! The handle of an open session.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use rpc_core::id::{CallId, Epoch, SessionId};
use rpc_core::negotiate::Agreement;
use rpc_core::record::Summary;
use rpc_core::release::ReleaseTokenError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::activity::{self, ActivityResume, ActivityState};
use crate::builder::Target;
use crate::call::{self, ResponseFuture};
use crate::core::Core;
use crate::ending::{self, CallFate};
use crate::error::ReleaseError;
use crate::events::Events;
use crate::keeper::Keeper;
use crate::query::{self, CallState};
use crate::release::{self, ReleaseHold};
use crate::saved::SavedSession;
use crate::state::{End, Life, State};

/// An open session. Cheap to clone; every clone is the same session.
///
/// It is the channel of generated stubs: `LedgerClient::new(session.clone())`. What a method promises is read from the
/// policies of the [declared services](crate::Builder::service):
///
/// - **Protected methods** run once or not at all. The whole request is kept, the whole reply is read before the stub
///   gets it, and both are sent or asked for again until the deadline. Every error carries an
///   [outcome](crate::OutcomeExt::outcome) that is true.
/// - **Methods with `checkpoint`** stream over as many connections as it takes, in sessions that agreed on
///   [`Unit::Resume`](crate::Unit::Resume). Nothing is lost, repeated or reordered, and neither caller nor handler notice
///   but by the time it takes. See [below](#streams).
/// - **`AT_LEAST_ONCE` methods** are sent again until they are answered.
/// - **Plain methods**, streams included, are passed through once.
///
/// # Streams
///
/// Methods with `checkpoint` have two forms, and the stub is the same for both. In the short one nothing is to be done:
/// points are placed as the method's policy says, and what the reader took is secured. In the long one the program sees the
/// points: it places those of its requests and secures those of its responses, each with a state of its own that it gets
/// back where the stream goes on.
///
/// ```no_run
/// # use rpc_client::{CheckpointsExt as _, Checkpoints, Item, Outgoing, Session};
/// # use tonic::{Request, Response, Status, Streaming};
/// # struct ArchiveClient<T>(T);
/// # impl<T> ArchiveClient<T> {
/// #     fn new(channel: T) -> Self { Self(channel) }
/// #     async fn upload<S>(&mut self, _: Request<S>) -> Result<Response<()>, Status> { Ok(Response::new(())) }
/// #     async fn download(&mut self, _: u64) -> Result<Response<Streaming<Vec<u8>>>, Status> { Err(Status::ok("")) }
/// # }
/// # fn append(_page: &[u8]) {}
/// # fn sync() -> Vec<u8> { Vec::new() }
/// # async fn run(session: Session) -> Result<(), Status> {
/// let mut archive = ArchiveClient::new(session.clone());
///
/// // Requests. How far they are is to be seen while they are on their way.
/// let checkpoints = Checkpoints::new();
/// let pages = [Outgoing::Message(vec![1, 2, 3]), Outgoing::SyncPoint("page 1".into())];
/// let pages = checkpoints.outgoing(tokio_stream::iter(pages));
/// let uploading = archive.upload(checkpoints.request(pages));
/// let showing = async {
///     if let Some(watch) = checkpoints.started().await {
///         let _ = watch.changes().wait_for(|view| view.is_secured).await;
///         println!("{} messages are safe at the server", watch.secured().messages);
///     }
/// };
/// let (uploaded, ()) = tokio::join!(uploading, showing);
/// uploaded?;
///
/// // Responses.
/// let mut pages = archive.download(7).await?.into_checkpointed()?;
/// while let Some(item) = pages.next().await? {
///     match item {
///         Item::Message(page) => append(&page),
///         Item::SyncPoint(point) => point.secure(sync()).await?,
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// A response has its [`Checkpoints`](crate::Checkpoints) and a [`StreamWatch`](crate::StreamWatch) in its extensions, in
/// either form. A call that cannot have checkpoints, because its method or session has none, is refused with
/// CHECKPOINTS_REQUIRED if its request asks for them.
///
/// A stream ends with its session, unless it works on an [activity](Session::resume_activity): then another session of the
/// same principal can go on with it, in this process or after it was killed.
///
/// # Dropping it
///
/// When the last clone is dropped, and the last call made with it has ended, the background tasks stop and the
/// connections close. Nothing is sent: the session at the server is left to its lease and linger. Whoever wants it to
/// end calls [`release`](Session::release). Whoever wants another process to go on with it keeps it in a file:
/// [`save_to`](crate::Builder::save_to).
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    keeper: Keeper,
}

impl Session {
    /// Begins to build a session with the server at `uri`: `https://host:port`, or `http://host:port` for a connection
    /// without TLS, which shows token and ticket to everybody on the way and is refused for other hosts than this one.
    pub fn builder(uri: impl Into<String>) -> Target {
        Target { uri: uri.into() }
    }

    pub(crate) fn start(core: Core) -> Self {
        let core = Arc::new(core);
        let keeper = Keeper::start(&core);
        Self { inner: Arc::new(Inner { core, keeper }) }
    }

    /// The session's number: its name in logs and for operators, never a credential.
    pub fn number(&self) -> SessionId {
        self.core().number
    }

    /// How many servers had owned the session when it was opened.
    pub fn epoch(&self) -> Epoch {
        self.core().epoch
    }

    /// What was negotiated: units, lease, slots, bounds, and the services granted.
    pub fn agreement(&self) -> &Agreement {
        &self.core().agreement
    }

    /// Watches the session and its connections.
    pub fn state(&self) -> watch::Receiver<State> {
        self.inner.keeper.state()
    }

    /// What happens from now on beside the calls.
    pub fn events(&self) -> Events {
        self.core().events.listen()
    }

    /// Asks the server what became of a call. Changes nothing.
    ///
    /// # Errors
    ///
    /// The status of the question, which is repeated for up to 30 s while the server cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn query(&self, call: CallId) -> Result<CallState, Status> {
        query::call(self.core(), call).await.map_err(|status| *status)
    }

    /// Asks the server where an activity of this principal stands, whichever session began it. Changes nothing.
    ///
    /// # Errors
    ///
    /// FIELD_INVALID: the name has no bytes, or more than 128. UNIT_UNSUPPORTED: the session was opened without
    /// [`Unit::Activity`](crate::Unit::Activity). Otherwise the status of the question, which is repeated for up to 30 s
    /// while the server cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn activity(&self, name: impl AsRef<[u8]>) -> Result<ActivityState, Status> {
        activity::ask(self.core(), name.as_ref()).await.map_err(|status| *status)
    }

    /// Takes an activity over: ends the call that works on it, whoever made that, and says what is left to be done.
    ///
    /// The call that goes on is made with the [`Checkpoints`](crate::Checkpoints) of the answer. It begins where the last
    /// points were secured, and the positions and states of both sides are there to be read. No two handlers ever work on
    /// one activity. A call that comes too late, because somebody else has taken the activity over since, is refused with
    /// ACTIVITY_BUSY or ACTIVITY_MOVED.
    ///
    /// # Errors
    ///
    /// As for [`activity`](Self::activity); the other call may have been ended all the same. ACTIVITY_BUSY: it was still
    /// running after 30 s.
    ///
    /// # Cancel safety
    ///
    /// The call that works on the activity may have been ended. Asking again is safe.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use rpc_client::{ActivityResume, Outgoing, Session, Checkpoints};
    /// # use tonic::{Request, Response, Status};
    /// # struct ArchiveClient<T>(T);
    /// # impl<T> ArchiveClient<T> {
    /// #     fn new(channel: T) -> Self { Self(channel) }
    /// #     async fn upload<S>(&mut self, _: Request<S>) -> Result<Response<()>, Status> { Ok(Response::new(())) }
    /// # }
    /// # fn pages(_from: u64) -> impl tokio_stream::Stream<Item = Outgoing<Vec<u8>>> { tokio_stream::empty() }
    /// # async fn run(session: Session) -> Result<(), Status> {
    /// let checkpoints = match session.resume_activity("backup of today").await? {
    ///     ActivityResume::New(checkpoints) | ActivityResume::Interrupted(checkpoints) => checkpoints,
    ///     // Another process has brought it to its end.
    ///     _ => return Ok(()),
    /// };
    /// let done = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
    /// // Messages and, where they are asked for, sync points with a state of the program's own.
    /// let pages = checkpoints.outgoing(pages(done));
    /// ArchiveClient::new(session.clone()).upload(checkpoints.request(pages)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume_activity(&self, name: impl AsRef<[u8]>) -> Result<ActivityResume, Status> {
        activity::resume(self.core(), name.as_ref()).await.map_err(|status| *status)
    }

    /// Ends the call that works on an activity, whoever made that, and has the activity forgotten: nothing of it can be
    /// resumed. One that is done, or absent, is forgotten as well (X.215, activity discard).
    ///
    /// # Errors
    ///
    /// As for [`resume_activity`](Self::resume_activity). STORE_UNAVAILABLE: the server's store did not forget it.
    ///
    /// # Cancel safety
    ///
    /// The activity may have been forgotten. Asking again is safe.
    //= D-45
    pub async fn discard_activity(&self, name: impl AsRef<[u8]>) -> Result<(), Status> {
        activity::discard(self.core(), name.as_ref()).await.map_err(|status| *status)
    }

    /// Ends the session in order (X.215, orderly release), and says what was exchanged in it.
    ///
    /// New calls are refused with SESSION_RELEASING from now on. Those that run are waited for, for 10 s: each has its
    /// answer then, and of a stream with checkpoints the reader has taken everything, or dropped it. Then the server is
    /// asked, which sees to it that every call is at its end and everything of every stream is secured. Where that takes
    /// too long, the session is aborted; in one with [`Unit::NegotiatedRelease`](crate::Unit::NegotiatedRelease) the
    /// release is refused instead, and nothing has changed.
    ///
    /// The release is repeated while its answer is lost, for up to a minute; that is harmless, and the answer is the same.
    /// After it, calls fail with SESSION_ENDED, the background tasks have stopped, and the connections are closed (calls
    /// without a promise that still run get five seconds). A session that was released before answers the same again.
    ///
    /// # Errors
    ///
    /// As [`ReleaseError`] says. After [`Refused`](ReleaseError::Refused) and [`Unanswered`](ReleaseError::Unanswered)
    /// the session goes on.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the session takes calls again unless the server has released it. Calling it again is safe.
    pub async fn release(&self) -> Result<Summary, ReleaseError> {
        let _one = self.core().ending.lock().await;
        let released = ending::release(self.core()).await;
        if matches!(*self.core().life.borrow(), Life::Ended(End::Released | End::Aborted)) {
            self.close().await;
        }
        released
    }

    /// Whether this side owns the release token (X.215): its owner alone may [release](Self::release) the session. False
    /// where there is none, because the session was opened without
    /// [`Unit::NegotiatedRelease`](crate::Unit::NegotiatedRelease); then both sides may. The first owner is the side of the
    /// first turn.
    pub fn owns_release(&self) -> bool {
        self.core().parting.token().borrow().is_mine()
    }

    /// Hands the release token to the server, which hears of it on the next `Attach` at the latest.
    ///
    /// # Errors
    ///
    /// There is no token, the server owns it, or the session has ended.
    pub fn give_release(&self) -> Result<(), ReleaseTokenError> {
        release::give(self.core())
    }

    /// With which priority the server asks for the release token; `None`: it does not.
    pub fn release_asked(&self) -> Option<u32> {
        self.core().parting.token().borrow().asked()
    }

    /// Asks the server for the release token, with a `priority` that means what the two programs agree on, and waits until
    /// it has come; at once if it is here.
    ///
    /// # Errors
    ///
    /// It did not come `within` that time, and is not asked for any more; there is none; or the session has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the request stands until the token comes or another one replaces it.
    pub async fn please_release(&self, priority: u32, within: Duration) -> Result<(), ReleaseTokenError> {
        release::please(self.core(), priority, within).await
    }

    /// Keeps the session from being released because the server asks for that, for as long as the answer lives. Without
    /// it this side does what it is asked: it makes no new calls, waits for those that run, and releases the session
    /// ([`Event::ReleaseWanted`](crate::Event::ReleaseWanted) says so); [`release`](Self::release) then answers what was
    /// exchanged.
    ///
    /// # Errors
    ///
    /// The session was opened without [`Unit::NegotiatedRelease`](crate::Unit::NegotiatedRelease): nobody may decline.
    //= L-41
    pub fn hold_release(&self) -> Result<ReleaseHold, ReleaseTokenError> {
        ReleaseHold::new(self.clone())
    }

    /// The session for another process to go on with, when this one is no more.
    ///
    /// It is of use until the ticket that it holds was replaced and the new one used, which happens with a renewal of the
    /// authority ([`Builder::rotation`](crate::Builder::rotation)). [`Builder::save_to`](crate::Builder::save_to) has it
    /// written anew each time.
    pub fn export(&self) -> SavedSession {
        self.core().export()
    }

    /// Ends the session now. The reason is for people who look at the server's log, and is cut to 128 bytes.
    ///
    /// Returns what became of the calls that were under way at the server.
    ///
    /// # Errors
    ///
    /// As [`ReleaseError`] says.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the session may have ended. Calling it again is safe.
    pub async fn abort(&self, reason: &str) -> Result<Vec<CallFate>, ReleaseError> {
        let _one = self.core().ending.lock().await;
        let calls = ending::abort(self.core(), reason).await?;
        self.close().await;
        Ok(calls)
    }

    pub(crate) fn core(&self) -> &Core {
        &self.inner.core
    }

    /// Runs a task of a call; closing the session waits for it.
    pub(crate) fn own(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.keeper.own(task);
    }

    /// Cancelled when the session is closed.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.inner.keeper.stopping().clone()
    }

    async fn close(&self) {
        self.inner.keeper.stop().await;
        self.core().saving.remove(self.core().number).await;
        self.core().net.shutdown(ending::CLOSE_GRACE).await;
    }
}

impl Service<Request<Body>> for Session {
    type Response = Response<Body>;
    type Error = Status;
    type Future = ResponseFuture;

    /// Always ready: waiting for a connection or a slot is part of the call, where its deadline holds, and where a
    /// refusal keeps its details. (Stubs turn an error of `poll_ready` into UNKNOWN.) Both waits are bounded.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        call::begin(self.clone(), request)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("number", &self.core().number)
            .field("epoch", &self.core().epoch)
            .field("life", &*self.core().life.borrow())
            .finish_non_exhaustive()
    }
}
