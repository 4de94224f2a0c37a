//! The response body of a call that is passed through as it is.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rpc_core::error::{Outcome, Reason};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};

use super::reply::repair_details;
use crate::Session;
use crate::deadline;
use crate::error::{lost, refusal};
use crate::net::{NotSent, ResponseBody, SendError};

/// A response that streams, until its end or the deadline of its call.
//= C-43
pub(crate) struct StreamBody {
    /// `None` after the end, however it came; dropping it resets the stream.
    incoming: Option<ResponseBody>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// A session is not dropped while a call of it runs.
    _session: Option<Session>,
}

impl StreamBody {
    pub(crate) fn new(incoming: ResponseBody, deadline: Option<Instant>, session: Option<Session>) -> Self {
        let deadline = deadline.map(|at| Box::pin(sleep_until(at)));
        Self { incoming: Some(incoming), deadline, _session: session }
    }

    fn end(
        &mut self,
        last: Option<Result<Frame<Bytes>, Status>>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.incoming = None;
        self.deadline = None;
        Poll::Ready(last)
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // Before the data: a stream that is always ready must end at its deadline, too.
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return self.end(Some(Err(deadline::exceeded(None))));
        }
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        match ready!(Pin::new(incoming).poll_frame(cx)) {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    repair_details(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.end(Some(Err(broken(error, None)))),
            None => self.end(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The status of a request without a response. It never shows the request, whose headers hold the ticket.
pub(crate) fn unanswered(error: SendError, outcome: Option<Outcome>) -> Status {
    match error {
        SendError::NotSent { cause, .. } => {
            let mut status = match &cause {
                NotSent::Deadline(_) => deadline::exceeded(outcome),
                NotSent::Unavailable(error) => lost(format!("no connection: {}", error.report()), outcome),
                NotSent::TooManyWaiting(_) => refusal(Reason::CallsExhausted, cause.to_string(), outcome),
                _ => lost(format!("request not sent: {cause}"), outcome),
            };
            status.set_source(Arc::new(cause));
            status
        }
        SendError::NotProcessed { cause } => {
            let mut status = lost("request not processed by the server", outcome);
            status.set_source(Arc::new(cause));
            status
        }
        SendError::Lost { cause } => broken(cause, outcome),
    }
}

/// The status of a stream that ended in the middle.
pub(crate) fn broken(error: h2::Error, outcome: Option<Outcome>) -> Status {
    let reset = error.reason().filter(|_| error.is_reset());
    // gRPC over HTTP/2, "Errors". A reset without an outcome to tell is passed on as the code it stands for.
    let code = match reset {
        Some(h2::Reason::CANCEL) => Some(Code::Cancelled),
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Some(Code::ResourceExhausted),
        Some(h2::Reason::INADEQUATE_SECURITY) => Some(Code::PermissionDenied),
        Some(h2::Reason::REFUSED_STREAM) | None => None,
        Some(_) => Some(Code::Internal),
    };
    let mut status = match (code, outcome) {
        (Some(code), None) => Status::new(code, "stream reset by the server"),
        _ => lost("connection lost", outcome),
    };
    status.set_source(Arc::new(error));
    status
}
