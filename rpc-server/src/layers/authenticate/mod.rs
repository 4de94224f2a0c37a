//! Who is calling: verifies the `authorization` header, where there is one.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use rpc_proto::status::Refusal;
use tokio::time::Instant;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{GateFuture, Handler, refuse};
use crate::auth::{AuthError, AuthErrorKind, Authenticator, Credentials, Identity, Verdict};
use crate::context::Authenticated;
use crate::methods::{Access, Methods, Target};
use crate::net::ConnectionInfo;

/// Verifies bearer tokens and leaves an [`Identity`] in the request.
///
/// A request without a token passes: whether it needs one is the session layer's to say, since a session stands for
/// its principal. A token that is there and does not verify is refused, whatever else the request shows. Calls to
/// public services are not looked at.
#[derive(Clone)]
pub struct AuthenticateLayer {
    authenticator: Arc<dyn Authenticator>,
    methods: Arc<Methods>,
}

impl AuthenticateLayer {
    pub(crate) fn new(authenticator: Arc<dyn Authenticator>, methods: Arc<Methods>) -> Self {
        Self { authenticator, methods }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { inner, layer: Arc::new(self.clone()) }
    }
}

/// The service of [`AuthenticateLayer`].
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    /// Shared, since each request has a clone of this service.
    layer: Arc<AuthenticateLayer>,
}

impl<S: Handler> Service<Request<Body>> for Authenticate<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = GateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let target = self.layer.methods.find(request.uri().path());
        if matches!(target, Target::Plain { access: Access::Public, .. }) {
            return GateFuture::passed(self.inner.call(request));
        }
        let policy = target.policy();
        match verdict(&*self.layer.authenticator, &request) {
            Ok(None) => GateFuture::passed(self.inner.call(request)),
            Ok(Some(Verdict::Ready(Ok(identity)))) => {
                identify(&mut request, identity);
                GateFuture::passed(self.inner.call(request))
            }
            Ok(Some(Verdict::Ready(Err(error)))) | Err(error) => {
                GateFuture::refused(refuse(refusal(&error), policy, &request))
            }
            Ok(Some(Verdict::Pending(verdict))) => {
                // The service that is ready is the one to use; the clone takes its place.
                let clone = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, clone);
                GateFuture::deciding(async move {
                    match verdict.await {
                        Ok(identity) => {
                            identify(&mut request, identity);
                            inner.call(request).await
                        }
                        Err(error) => Ok(refuse(refusal(&error), policy, &request).into_status().into_http()),
                    }
                })
            }
        }
    }
}

fn identify(request: &mut Request<Body>, identity: Identity) {
    request.extensions_mut().insert(Authenticated(Instant::now()));
    request.extensions_mut().insert(identity);
}

/// Asks the authenticator, if the request has anything to show: a token, or a client certificate and no session.
fn verdict(authenticator: &dyn Authenticator, request: &Request<Body>) -> Result<Option<Verdict>, AuthError> {
    let connection = request.extensions().get::<ConnectionInfo>();
    let certificates = connection.map_or(&[][..], ConnectionInfo::peer_certificates);
    let has_token = request.headers().contains_key(AUTHORIZATION);
    let names_session = request.headers().contains_key(rpc_proto::headers::SESSION);
    if !has_token && names_session {
        return Ok(None);
    }
    let mut credentials = Credentials::from_headers(request.headers())?.with_certificates(certificates);
    if let Some(remote) = connection.and_then(ConnectionInfo::peer_addr) {
        credentials = credentials.with_remote_address(remote);
    }
    Ok(Some(authenticator.authenticate(credentials)))
}

/// What the caller is told: one of four reasons, and nothing of the cause.
//= A-3
fn refusal(error: &AuthError) -> Refusal {
    tracing::debug!(cause = %error, "caller refused");
    let message = match error.kind() {
        AuthErrorKind::TokenMissing => "this call needs a bearer token",
        AuthErrorKind::TokenInvalid => "the token is not valid here",
        AuthErrorKind::TokenExpired => "the token has expired",
        AuthErrorKind::Unavailable => "callers cannot be verified now",
    };
    Refusal::new(error.kind().reason(), message)
}
