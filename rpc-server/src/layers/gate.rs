//! What a layer answers that lets a request pass or refuses it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;

/// A future that somebody else writes.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// The future of a layer that lets a request pass or refuses it.
    pub struct GateFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Refused { response: Option<Response<Body>> },
        Passed { #[pin] future: F },
        Deciding { future: BoxFuture<Result<Response<Body>, Infallible>> },
    }
}

impl<F> GateFuture<F> {
    /// The answer is there already.
    pub(crate) fn refused(status: impl Into<Status>) -> Self {
        Self { state: State::Refused { response: Some(status.into().into_http()) } }
    }

    /// The next layer answers.
    pub(crate) fn passed(future: F) -> Self {
        Self { state: State::Passed { future } }
    }

    /// It takes a while to decide.
    pub(crate) fn deciding(
        future: impl Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    ) -> Self {
        Self { state: State::Deciding { future: Box::pin(future) } }
    }
}

impl<F> Future for GateFuture<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after it was ready")))
            }
            StateProjection::Passed { future } => future.poll(cx),
            StateProjection::Deciding { future } => future.as_mut().poll(cx),
        }
    }
}
