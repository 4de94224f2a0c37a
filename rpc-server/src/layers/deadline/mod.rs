//! How long a call may take: the whole call, streams too.

mod body;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body as _;
use pin_project_lite::pin_project;
use rpc_core::error::{Outcome, Reason};
use rpc_core::planted::{self, Bug};
use rpc_core::policy::MethodPolicy;
use rpc_proto::deadline::{self, InvalidTimeout};
use rpc_proto::status::Refusal;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{GateFuture, Handler, refuse};
use crate::context::{Deadline, Seen};
use body::DeadlineBody;

/// Ends calls when their time is over, and tells the handler when that is.
///
/// The time is the shorter of `grpc-timeout` and the method's own. It covers the response body: a stream that is not
/// finished in time ends with DEADLINE_EXCEEDED instead of its trailers. What becomes of the handler is decided by the
/// layers inside: a plain one is dropped, a protected one goes on.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeadlineLayer {
    _private: (),
}

impl DeadlineLayer {
    /// The layer; it has nothing to configure.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithDeadline { inner }
    }
}

/// The service of [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct WithDeadline<S> {
    inner: S,
}

impl<S: Handler> Service<Request<Body>> for WithDeadline<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = GateFuture<DeadlineFuture<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let policy = request.extensions().get::<Seen>().and_then(|seen| seen.policy);
        //= C-41
        let timeout = match deadline::parse(request.headers()) {
            Ok(asked) => shorter(asked, policy.and_then(|policy| policy.timeout)),
            Err(error @ InvalidTimeout) => {
                let refusal = Refusal::new(Reason::HeaderInvalid, error.to_string());
                return GateFuture::refused(refuse(refusal, policy, &request));
            }
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if let Some(at) = deadline {
            //= C-46
            request.extensions_mut().insert(Deadline(at));
        }
        let protected = policy.is_some_and(MethodPolicy::is_protected);
        let limit = deadline.map(|at| Limit { sleep: Box::pin(sleep_until(at)), protected });
        GateFuture::passed(DeadlineFuture { inner: self.inner.call(request), limit })
    }
}

fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// When a call is over, and what its caller is told then.
#[derive(Debug)]
struct Limit {
    sleep: Pin<Box<Sleep>>,
    protected: bool,
}

impl Limit {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(exceeded(self.protected))
    }
}

/// Whether an admitted call came to its end is not for this layer to know.
//= C-43
//= C-44
pub(super) fn exceeded(protected: bool) -> Status {
    let refusal = Refusal::new(Reason::DeadlineExceeded, "the deadline of the call has passed");
    if protected { refusal.outcome(Outcome::Unknown).into() } else { refusal.into() }
}

pin_project! {
    /// The future of [`WithDeadline`].
    #[derive(Debug)]
    pub struct DeadlineFuture<F> {
        #[pin]
        inner: F,
        limit: Option<Limit>,
    }
}

impl<F> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(Ok(response)) = this.inner.poll(cx) {
            let limit = this.limit.take().filter(|_| !planted::is(Bug::DeadlineNotOnStreams));
            return Poll::Ready(Ok(match limit {
                Some(limit) if !response.body().is_end_stream() => {
                    response.map(|body| Body::new(DeadlineBody::new(body, limit)))
                }
                Some(_) | None => response,
            }));
        }
        match this.limit {
            Some(limit) => limit.poll(cx).map(|status| Ok(status.into_http())),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
