//! One span for each call, and one event for its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use rpc_proto::headers::SESSION;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Level, Span};

use super::Handler;
use crate::net::ConnectionInfo;

/// Opens a span at level `debug` around each call, with method, connection, session and call, and tells the end of the
/// call inside of it. Headers are not logged: tickets and tokens are among them.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceLayer {
    _private: (),
}

impl TraceLayer {
    /// The layer; it has nothing to configure.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace { inner }
    }
}

/// The service of [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<S: Handler> Service<Request<Body>> for Trace<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = if tracing::enabled!(Level::DEBUG) { span_of(&request) } else { Span::none() };
        let inner = {
            let _entered = span.enter();
            self.inner.call(request)
        };
        TraceFuture { inner, span }
    }
}

/// The number of a session is its name and may be logged. It is shown as it came only if it is digits, so that nobody
/// writes lines of their own into the log.
fn span_of(request: &Request<Body>) -> Span {
    let session = request.headers().get(SESSION).and_then(|value| value.to_str().ok());
    let session = session.filter(|text| text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let call = request.headers().get(rpc_proto::headers::SESSION_CALL).and_then(|value| value.to_str().ok());
    let call = call.filter(|text| text.len() <= 42 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    let connection = request.extensions().get::<ConnectionInfo>().map(|info| info.id().0);
    tracing::debug_span!("call", method = request.uri().path(), session, call, connection)
}

pin_project! {
    /// The future of [`Trace`].
    #[derive(Debug)]
    pub struct TraceFuture<F> {
        #[pin]
        inner: F,
        span: Span,
    }
}

impl<F> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let polled = this.inner.poll(cx);
        if let Poll::Ready(Ok(response)) = &polled
            && !this.span.is_disabled()
        {
            let status = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
            tracing::debug!(status = status.unwrap_or("in the trailers"), "call answered");
        }
        polled
    }
}
