//! What a handler can learn of its call: `request.session()?`.

use std::fmt;
use std::sync::Arc;

use rpc_core::error::Reason;
use rpc_core::id::{CallAttempt, CallId, Epoch, SessionId};
use rpc_core::negotiate::{Agreement, Grant};
use rpc_core::policy::MethodPolicy;
use rpc_core::principal::Principal;
use rpc_proto::status::Refusal;
use tokio::time::Instant;
use tonic::Status;

use crate::auth::Identity;
use crate::sessions::Live;
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

/// The policy of the call's method, in the extensions of its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy(pub(crate) &'static MethodPolicy);

/// What a request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContextMissing {
    /// The call was made without a session.
    #[error("this call was made without a session; open one with session.v1.SessionService/Open")]
    Session,
    /// The method is not EXACTLY_ONCE.
    #[error("this method is not EXACTLY_ONCE, so it has no transaction")]
    Transaction,
    /// The request did not come through the session layers.
    #[error("the layer {0} is missing around this handler")]
    Layer(&'static str),
}

impl From<ContextMissing> for Status {
    fn from(missing: ContextMissing) -> Self {
        let reason = match missing {
            ContextMissing::Session => Reason::SessionRequired,
            ContextMissing::Transaction | ContextMissing::Layer(_) => Reason::LayerMissing,
        };
        Refusal::new(reason, missing.to_string()).into_status()
    }
}

/// Marks a request that came through the session layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen;

/// Marks a request of the session service: it takes no place among the calls, or a full server could neither be renewed
/// nor released.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upkeep;

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

    /// When the call's time is over; `None` if its caller gives it all the time there is.
    ///
    /// Calls that the handler makes through `rpc-client` on the same task inherit it by themselves.
    fn deadline(&self) -> Option<Instant>;
}

impl SessionExt for http::Extensions {
    fn session(&self) -> Result<&SessionContext, ContextMissing> {
        self.get().ok_or_else(|| match self.get::<Seen>() {
            Some(Seen) => ContextMissing::Session,
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
            Some(Seen) => ContextMissing::Transaction,
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
        request.extensions_mut().insert(Seen);
        let status = Status::from(request.session().unwrap_err());
        assert_eq!(rpc_proto::status::Details::of(&status).reason, Some(Reason::SessionRequired));
    }
}
