//! Which session a call belongs to, and whether the session may make it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use rpc_core::error::Reason;
use rpc_core::id::ConnectionId;
use rpc_core::planted::{self, Bug};
use rpc_core::policy::MethodPolicy;
use rpc_core::registry::Released;
use rpc_core::session::{Session as Core, SessionUnknown};
use rpc_core::time::Timestamp;
use rpc_proto::headers::SessionHeaders;
use rpc_proto::status::Refusal;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{GateFuture, Handler, refuse};
use crate::auth::Identity;
use crate::context::{ReleasedBefore, Seen, SessionContext};
use crate::methods::{Access, Methods, Target, Verb};
use crate::net::ConnectionInfo;
use crate::sessions::Sessions;

/// Finds the session that a request names and checks ticket, authority, grant and scopes.
///
/// Leaves a [`SessionContext`] in the request. A call without a session passes with its token alone, unless its method
/// is protected.
#[derive(Clone)]
pub struct SessionLayer {
    sessions: Arc<Sessions>,
    methods: Arc<Methods>,
}

impl SessionLayer {
    pub(crate) fn new(sessions: Arc<Sessions>, methods: Arc<Methods>) -> Self {
        Self { sessions, methods }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = Session<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Session { inner, layer: Arc::new(self.clone()) }
    }
}

/// The service of [`SessionLayer`].
#[derive(Clone)]
pub struct Session<S> {
    inner: S,
    /// Shared, since each request has a clone of this service.
    layer: Arc<SessionLayer>,
}

impl<S: Handler> Service<Request<Body>> for Session<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = GateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.layer.enter(&mut request) {
            Ok(()) => GateFuture::passed(self.inner.call(request)),
            Err(refusal) => {
                let policy = self.layer.methods.find(request.uri().path()).policy();
                GateFuture::refused(refuse(refusal, policy, &request))
            }
        }
    }
}

impl SessionLayer {
    //= A-24
    //= S-32
    fn enter(&self, request: &mut Request<Body>) -> Result<(), Refusal> {
        let target = self.methods.find(request.uri().path());
        if matches!(target, Target::Plain { access: Access::Public, .. }) {
            return Ok(());
        }
        //= W-1
        //= C-3
        let headers = SessionHeaders::parse(request.headers())
            .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
        let identity = request.extensions().get::<Identity>();
        let mut released = None;
        let context = match &headers {
            Some(headers) => {
                let connection = request.extensions().get().map(ConnectionInfo::id);
                match self.with_session(headers, identity, connection, &target) {
                    Ok(context) => Some(context),
                    Err(refused) => {
                        released = Some(self.released(headers, identity, &target).ok_or(refused)?);
                        None
                    }
                }
            }
            None => {
                without_session(identity, &target)?;
                None
            }
        };
        if matches!(target, Target::UnknownMethod { .. } | Target::Unknown) {
            return Err(Refusal::new(Reason::MethodUnknown, "there is no such method here"));
        }
        let is_upkeep = matches!(target, Target::SessionService(_));
        let seen = Seen { policy: target.policy(), is_upkeep };
        let extensions = request.extensions_mut();
        extensions.insert(seen);
        if let Some(context) = context {
            extensions.insert(context);
        }
        if let Some(released) = released {
            extensions.insert(ReleasedBefore(released));
        }
        Ok(())
    }

    /// What a release was answered with that is asked for again: the session is over, and its owner is told so once more.
    //= L-43
    fn released(
        &self,
        headers: &SessionHeaders,
        identity: Option<&Identity>,
        target: &Target<'_>,
    ) -> Option<Released> {
        if !matches!(target, Target::SessionService(Verb::Release)) {
            return None;
        }
        self.sessions.released(headers.session, &headers.ticket, identity.map(Identity::principal))
    }

    //= A-12
    //= A-23
    fn with_session(
        &self,
        headers: &SessionHeaders,
        identity: Option<&Identity>,
        connection: Option<ConnectionId>,
        target: &Target<'_>,
    ) -> Result<SessionContext, Refusal> {
        let judge = |session: &Core, now| judge(session, now, identity, target);
        let entered = self.sessions.present(headers.session, &headers.ticket, connection, judge);
        let live = entered.map_err(Refused::into_refusal)?;
        Ok(SessionContext::new(live, headers.call))
    }
}

/// Why the owner of a ticket may not make a call.
enum Refused {
    Unknown,
    Principal,
    Authority,
    Grant,
    Scope,
}

impl From<SessionUnknown> for Refused {
    fn from(_: SessionUnknown) -> Self {
        Self::Unknown
    }
}

impl Refused {
    fn into_refusal(self) -> Refusal {
        match self {
            Self::Unknown => session_unknown(),
            Self::Principal => {
                Refusal::new(Reason::PrincipalMismatch, "the token is not of the session's principal")
            }
            Self::Authority => Refusal::new(
                Reason::AuthorityExpired,
                "the session's token has expired; renew the session with a fresh one",
            ),
            Self::Grant => {
                Refusal::new(Reason::ServiceNotGranted, "the session was not granted this service")
            }
            Self::Scope => Refusal::new(Reason::ScopeMissing, "the session lacks a scope of this method"),
        }
    }
}

/// The one answer for all sessions that the caller does not own.
pub(crate) fn session_unknown() -> Refusal {
    Refusal::new(Reason::SessionUnknown, "no such session, or not with this ticket")
}

fn judge(
    session: &Core,
    now: Timestamp,
    identity: Option<&Identity>,
    target: &Target<'_>,
) -> Result<(), Refused> {
    //= A-13
    //= I22
    if identity.is_some_and(|identity| identity.principal() != session.principal())
        && !planted::is(Bug::PrincipalNotCompared)
    {
        let renews = matches!(target, Target::SessionService(Verb::Renew));
        return Err(if renews { Refused::Principal } else { Refused::Unknown });
    }
    let service = match target {
        // It works when the authority has ended: that is how it is renewed.
        //= A-15
        Target::SessionService(_) => return Ok(()),
        Target::Method(policy) => service_of(policy),
        Target::Plain { service, .. } | Target::UnknownMethod { service } => service,
        Target::Unknown => "",
    };
    if !session.has_authority(now) {
        return Err(Refused::Authority);
    }
    //= A-21
    //= O-14
    if !session.agreement().grants(service) {
        return Err(Refused::Grant);
    }
    //= A-20
    match target {
        Target::Method(policy) if !session.holds(policy.scopes) => Err(Refused::Scope),
        _ => Ok(()),
    }
}

//= A-1
//= A-2
fn without_session(identity: Option<&Identity>, target: &Target<'_>) -> Result<(), Refusal> {
    let Some(identity) = identity else {
        return Err(Refusal::new(Reason::TokenMissing, "this call needs a bearer token"));
    };
    match target {
        Target::SessionService(Verb::Renew | Verb::Release | Verb::Other) => {
            Err(Refusal::new(Reason::SessionRequired, "this call needs the headers of a session"))
        }
        Target::Method(policy) if !identity.scopes().contains_all(policy.scopes) => {
            Err(Refusal::new(Reason::ScopeMissing, "the token lacks a scope of this method"))
        }
        //= C-1
        Target::Method(policy) if policy.is_protected() => Err(Refusal::new(
            Reason::SessionRequired,
            "this method is protected; open a session with session.v1.SessionService/Open",
        )),
        Target::SessionService(Verb::Open)
        | Target::Method(_)
        | Target::Plain { .. }
        | Target::UnknownMethod { .. }
        | Target::Unknown => Ok(()),
    }
}

/// The full name of the service in the path of a method.
fn service_of(policy: &MethodPolicy) -> &'static str {
    policy.path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
