//! What a handler can learn of its call: `request.session()?`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::error::Reason;
use rpc_core::id::{CallAttempt, CallId, Epoch, SessionId};
use rpc_core::negotiate::{Agreement, Grant};
use rpc_core::policy::MethodPolicy;
use rpc_core::principal::Principal;
use rpc_core::registry::Released;
use rpc_core::release::{ReleaseToken, ReleaseTokenError};
use rpc_core::session::Answer;
use rpc_proto::status::Refusal;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::auth::Identity;
use crate::sessions::Live;
use crate::sessions::ends::SessionEnd;
use crate::transaction::Transaction;

/// The session of a call, in the extensions of its request. A cheap clone.
#[derive(Clone)]
pub struct SessionContext {
    live: Arc<Live>,
    call: Option<CallAttempt>,
}

impl SessionContext {
    pub(crate) fn new(live: Arc<Live>, call: Option<CallAttempt>) -> Self {
        Self { live, call }
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    pub(crate) fn attempt(&self) -> Option<CallAttempt> {
        self.call
    }

    /// The number of the session.
    pub fn number(&self) -> SessionId {
        self.live.id()
    }

    /// Whose session it is.
    pub fn principal(&self) -> &Principal {
        self.live.principal()
    }

    /// How many servers have owned the session.
    pub fn epoch(&self) -> Epoch {
        self.live.with(|session, _| session.epoch())
    }

    /// What was negotiated.
    pub fn agreement(&self) -> &Agreement {
        self.live.agreement()
    }

    /// Full names of the services that the session may use.
    pub fn granted_services(&self) -> impl Iterator<Item = &str> {
        let grants = self.agreement().services.iter();
        grants.filter(|grant| grant.result == Grant::Granted).map(|grant| grant.name.as_str())
    }

    /// Which call this is; `None` for plain calls. The same for every attempt, so it can be the key of an effect that
    /// lies outside of the store.
    pub fn call_id(&self) -> Option<CallId> {
        self.call.map(|attempt| attempt.call)
    }

    /// Waits for the end of the session and tells how it ended; at once if it has. It may come a moment before the end is
    /// recorded, which the hooks of [`Builder::on_session_end`](crate::Builder::on_session_end) wait for.
    ///
    /// The future borrows nothing, and costs no task and no timer: handlers and tasks of the application may hold it for as
    /// long as the session lives. It is pending for ever when the server ends and the session does not.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and asked for again.
    //= L-35
    pub fn ended(&self) -> impl Future<Output = SessionEnd> + Send + use<> {
        let mut ended = self.live.ended();
        async move {
            let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| *end);
            match end {
                Some(end) => end,
                None => std::future::pending().await,
            }
        }
    }
}

/// How the acceptor's program takes part in the end of the session (X.215, orderly release).
impl SessionContext {
    /// Whether this side owns the release token: its owner alone may release the session, or
    /// [ask for that](Self::ask_release). False where there is none, because the session was opened without the unit
    /// *negotiated release*; then both may.
    pub fn owns_release(&self) -> bool {
        self.live.with(|session, _| session.release_token().is_some_and(ReleaseToken::is_mine))
    }

    /// Hands the release token to the client, which hears of it on its `Attach`, at once or when it is back.
    ///
    /// # Errors
    ///
    /// There is no token, the client owns it, or the session has ended.
    //= L-39
    pub fn give_release(&self) -> Result<(), ReleaseError> {
        Ok(self.live.with(|session, _| session.give_release())?)
    }

    /// With which priority the client asks for the release token; `None`: it does not.
    pub fn release_asked(&self) -> Option<u32> {
        self.live.with(|session, _| session.release_token().and_then(ReleaseToken::asked))
    }

    /// Asks the client for the release token, with a `priority` that means what the two programs agree on, and waits until
    /// it has come; at once if it is here.
    ///
    /// # Errors
    ///
    /// It did not come `within` that time, and is not asked for any more; there is none; or the session has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the request stands until the token comes or another one replaces it.
    pub async fn please_release(&self, priority: u32, within: Duration) -> Result<(), ReleaseError> {
        let until = Instant::now() + within;
        self.live.with(|session, _| session.please_release(Some(priority)))?;
        loop {
            let moved = self.live.said().notified();
            let mut ended = self.live.ended();
            if self.owns_release() {
                return Ok(());
            }
            tokio::select! {
                () = moved => {}
                _ = ended.wait_for(Option::is_some) => return Err(ReleaseTokenError::Ended.into()),
                () = sleep_until(until) => {
                    self.live.with(|session, _| session.please_release(None))?;
                    return if self.owns_release() { Ok(()) } else { Err(ReleaseTokenError::Unanswered.into()) };
                }
            }
        }
    }

    /// Asks the client to release the session: it makes no new calls, waits for those that run, and releases. Waits for the
    /// end of the session and says how it ended: as *released* if the client did so, as *aborted* if it did not `within`
    /// that time (this side then aborts it), or by whatever was first. Where the two releases cross, the client's own goes
    /// first and answers both (X.215, collision of releases).
    ///
    /// The call of the handler that waits here is one that the client waits for: from a handler, spawn this.
    ///
    /// # Errors
    ///
    /// [`Declined`](ReleaseError::Declined): the session goes on, which a client may decide where *negotiated release* is
    /// on. The client owns the release token, 16 wait already, or the session has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the client was asked all the same, and the session ends in time.
    //= L-40
    pub async fn ask_release(&self, within: Duration) -> Result<SessionEnd, ReleaseError> {
        let answer = self.live.request(|session, now, request| session.want_release(now + within, request));
        match answer.await? {
            Answer::Ended(end) => Ok(end.into()),
            Answer::ReleaseDeclined => Err(ReleaseError::Declined),
            Answer::Failed(Reason::SessionFenced) => Ok(SessionEnd::Moved),
            _ => Err(ReleaseError::Token(ReleaseTokenError::Ended)),
        }
    }
}

/// Why the release of a session, or its token, is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The client goes on, as it may.
    #[error("the client does not release the session")]
    Declined,
    /// This side may not ask.
    #[error(transparent)]
    Token(#[from] ReleaseTokenError),
}

impl From<ReleaseError> for Status {
    fn from(error: ReleaseError) -> Self {
        let reason = match error {
            ReleaseError::Declined => Reason::ReleaseRefused,
            ReleaseError::Token(error) => error.reason(),
        };
        Refusal::new(reason, error.to_string()).into_status()
    }
}

impl fmt::Debug for SessionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionContext").field("number", &self.number()).field("call", &self.call).finish()
    }
}

/// When the call's time is over, in the extensions of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// When the [`Identity`] of a request was found: the time its token has left counts from here, not from the moment in
/// which the rest of the request came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authenticated(pub(crate) Instant);

/// What is cancelled when the session of the call lapses, in the extensions of a request of a method with a dead man's
/// switch.
#[derive(Debug, Clone)]
pub(crate) struct DeadMan(CancellationToken);

impl DeadMan {
    /// The switch of a call of a method that has one.
    //= L-36
    pub(crate) fn of(policy: &MethodPolicy, live: &Live) -> Option<Self> {
        policy.dead_man.then(|| Self(live.lapse()))
    }
}

/// What a request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContextMissing {
    /// The call was made without a session.
    #[error("this call was made without a session; open one with session.v1.SessionService/Open")]
    Session,
    /// The method is not EXACTLY_ONCE.
    #[error("this method is not EXACTLY_ONCE, so it has no transaction")]
    Transaction,
    /// The method has no dead man's switch.
    #[error("this method has no dead man's switch: its policy does not say `dead_man`")]
    DeadMan,
    /// The request did not come through the session layers.
    #[error("the layer {0} is missing around this handler")]
    Layer(&'static str),
}

impl From<ContextMissing> for Status {
    fn from(missing: ContextMissing) -> Self {
        let reason = match missing {
            ContextMissing::Session => Reason::SessionRequired,
            ContextMissing::Transaction | ContextMissing::DeadMan | ContextMissing::Layer(_) => {
                Reason::LayerMissing
            }
        };
        Refusal::new(reason, missing.to_string()).into_status()
    }
}

/// What the session layer found out about a request, of which it is the mark.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// What its method promises, if that has a policy.
    pub(crate) policy: Option<&'static MethodPolicy>,
    /// It is of the session service: it takes no place among the calls, or a full server could neither be renewed nor
    /// released.
    pub(crate) is_upkeep: bool,
}

/// The session of the request was released before: this is its answer, or is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReleasedBefore(pub(crate) Released);

/// What the session layers know of a request.
pub trait SessionExt {
    /// The session of the call.
    ///
    /// # Errors
    ///
    /// The call has none, or the layers are missing. Both become a [`Status`] by `?`.
    fn session(&self) -> Result<&SessionContext, ContextMissing>;

    /// Who is calling, with a session or with a token.
    ///
    /// # Errors
    ///
    /// The layers are missing, or the service is a public one.
    fn principal(&self) -> Result<&Principal, ContextMissing>;

    /// The transaction of the call, of an EXACTLY_ONCE method.
    ///
    /// # Errors
    ///
    /// The method is not EXACTLY_ONCE, or the layers are missing.
    fn transaction(&self) -> Result<&Transaction, ContextMissing>;

    /// What is cancelled when the call's session lapses: by release, abort or expiry, or because another server has it. Of
    /// a method whose policy says `dead_man`: its handler may hold what nobody else frees, and goes on to decide what
    /// becomes of it. A caller that cancels, and a deadline, do not cancel it.
    ///
    /// A policy that lets the handler be stopped stops it all the same; FINISH is the default.
    ///
    /// # Errors
    ///
    /// The method has no dead man's switch, or the layers are missing.
    fn cancellation(&self) -> Result<&CancellationToken, ContextMissing>;

    /// When the call's time is over; `None` if its caller gives it all the time there is.
    ///
    /// Calls that the handler makes through `rpc-client` on the same task inherit it by themselves.
    fn deadline(&self) -> Option<Instant>;
}

impl SessionExt for http::Extensions {
    fn session(&self) -> Result<&SessionContext, ContextMissing> {
        self.get().ok_or_else(|| match self.get::<Seen>() {
            Some(_) => ContextMissing::Session,
            None => ContextMissing::Layer("SessionLayer"),
        })
    }

    fn principal(&self) -> Result<&Principal, ContextMissing> {
        match self.session() {
            Ok(session) => Ok(session.principal()),
            Err(_) => self
                .get::<Identity>()
                .map(Identity::principal)
                .ok_or(ContextMissing::Layer("AuthenticateLayer")),
        }
    }

    fn transaction(&self) -> Result<&Transaction, ContextMissing> {
        self.get().ok_or_else(|| match self.get::<Seen>() {
            Some(_) => ContextMissing::Transaction,
            None => ContextMissing::Layer("AdmissionLayer"),
        })
    }

    fn cancellation(&self) -> Result<&CancellationToken, ContextMissing> {
        self.get::<DeadMan>().map(|switch| &switch.0).ok_or_else(|| match self.get::<Seen>() {
            Some(_) => ContextMissing::DeadMan,
            None => ContextMissing::Layer("AdmissionLayer"),
        })
    }

    fn deadline(&self) -> Option<Instant> {
        self.get::<Deadline>().map(|deadline| deadline.0)
    }
}

impl<T> SessionExt for tonic::Request<T> {
    fn session(&self) -> Result<&SessionContext, ContextMissing> {
        as_http(self.extensions()).session()
    }

    fn principal(&self) -> Result<&Principal, ContextMissing> {
        as_http(self.extensions()).principal()
    }

    fn transaction(&self) -> Result<&Transaction, ContextMissing> {
        as_http(self.extensions()).transaction()
    }

    fn cancellation(&self) -> Result<&CancellationToken, ContextMissing> {
        as_http(self.extensions()).cancellation()
    }

    fn deadline(&self) -> Option<Instant> {
        as_http(self.extensions()).deadline()
    }
}

/// tonic's extensions are those of the `http` crate.
fn as_http(extensions: &tonic::Extensions) -> &http::Extensions {
    extensions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_which_layer_is_missing() {
        let request = tonic::Request::new(());
        assert_eq!(request.session().unwrap_err(), ContextMissing::Layer("SessionLayer"));
        assert_eq!(request.principal().unwrap_err(), ContextMissing::Layer("AuthenticateLayer"));
        assert_eq!(request.deadline(), None);
    }

    #[test]
    fn a_call_without_a_session_says_so() {
        let mut request = tonic::Request::new(());
        request.extensions_mut().insert(Seen::default());
        let status = Status::from(request.session().unwrap_err());
        assert_eq!(rpc_proto::status::Details::of(&status).reason, Some(Reason::SessionRequired));
    }
}
