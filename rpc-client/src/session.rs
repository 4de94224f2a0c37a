//! The handle of an open session.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use rpc_core::id::{CallId, Epoch, SessionId};
use rpc_core::negotiate::Agreement;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::builder::Target;
use crate::call::{self, ResponseFuture};
use crate::core::Core;
use crate::ending::{self, CallFate};
use crate::error::ReleaseError;
use crate::events::Events;
use crate::keeper::Keeper;
use crate::query::{self, CallState};
use crate::state::State;

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
///   but by the time it takes. A response has a [`StreamWatch`](crate::StreamWatch) in its extensions.
/// - **`AT_LEAST_ONCE` methods** are sent again until they are answered.
/// - **Plain methods**, streams included, are passed through once.
///
/// # Dropping it
///
/// When the last clone is dropped, and the last call made with it has ended, the background tasks stop and the
/// connections close. Nothing is sent: the session at the server is left to its lease and linger. Whoever wants it to
/// end calls [`release`](Session::release).
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    keeper: Keeper,
    /// Held while the session is being ended: one release or abort at a time.
    ending: tokio::sync::Mutex<()>,
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
        Self { inner: Arc::new(Inner { core, keeper, ending: tokio::sync::Mutex::new(()) }) }
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
        query::ask(self.core(), call).await.map_err(|status| *status)
    }

    /// Ends the session in order: calls that run are answered first, new ones are refused with SESSION_RELEASING.
    ///
    /// The release is repeated while its answer is lost, for up to a minute; that is harmless. After it, calls fail
    /// with SESSION_ENDED, the background tasks have stopped, and the connections are closed (streams that still run
    /// get five seconds). A session that was released before answers `Ok`.
    ///
    /// # Errors
    ///
    /// As [`ReleaseError`] says. After [`Refused`](ReleaseError::Refused) and [`Unanswered`](ReleaseError::Unanswered)
    /// the session goes on.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the session takes calls again unless the server has released it. Calling it again is safe.
    pub async fn release(&self) -> Result<(), ReleaseError> {
        let _one = self.inner.ending.lock().await;
        ending::release(self.core()).await?;
        self.close().await;
        Ok(())
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
        let _one = self.inner.ending.lock().await;
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
