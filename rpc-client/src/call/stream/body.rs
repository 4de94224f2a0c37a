//! The stub's side of a call: its future until the head came, its body after that.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use rpc_core::id::CallAttempt;
use rpc_flow::{AppBody, Checkpoints, Stream, StreamWatch};
use rpc_proto::headers::Answered;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::body::Body;

use super::head;
use crate::call::CallInfo;

/// The end of a call as the driver tells it; closed without a word where the answer's trailers say it.
#[derive(Debug)]
pub(super) struct Verdict(Option<oneshot::Receiver<Status>>);

impl Verdict {
    pub(super) fn new(told: oneshot::Receiver<Status>) -> Self {
        Self(Some(told))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Status>> {
        let Some(told) = &mut self.0 else { return Poll::Ready(None) };
        let told = ready!(Pin::new(told).poll(cx));
        self.0 = None;
        Poll::Ready(told.ok())
    }
}

/// What the driver tells beside the messages.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// How the first attempt was answered that was.
    pub(super) answered: OnceLock<Answered>,
}

/// How the stub's side tells the driver where it stands.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    /// It wants no more, or has everything.
    pub(super) left: CancellationToken,
    /// It has left, or knows that the stream has failed: the driver has little time from here on.
    pub(super) hurry: CancellationToken,
}

impl Reader {
    pub(super) fn new() -> Self {
        let left = CancellationToken::new();
        let hurry = left.child_token();
        Self { left, hurry }
    }
}

/// The response, before it is one.
pub(super) struct Answer {
    pub(super) body: StreamedBody,
    pub(super) stream: Stream,
    pub(super) checkpoints: Checkpoints,
    pub(super) answers: Arc<Answers>,
    pub(super) first: CallAttempt,
}

impl Answer {
    /// Waits for the handler's head. An end that comes before it is the whole answer, as a trailers-only response is.
    //= W-19
    pub(super) async fn wait(self) -> Result<Response<Body>, Box<Status>> {
        let Self { mut body, stream, checkpoints, answers, first } = self;
        let head = stream.head().await;
        if head.is_none() {
            if stream.watch().borrow().failed.is_some() {
                body.hurry.cancel();
            }
            if let Some(status) = poll_fn(|cx| body.verdict.poll(cx)).await {
                return Err(Box::new(status));
            }
        }
        let resumes = stream.progress().resumes;
        let answered = answers.answered.get().copied();
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = head::headers(head);
        let info = CallInfo { call: first.call, attempts: resumes.saturating_add(1), answered };
        response.extensions_mut().insert(info);
        response.extensions_mut().insert(StreamWatch::new(&stream));
        response.extensions_mut().insert(checkpoints);
        Ok(response)
    }
}

/// A response that goes on over all attempts. Dropped before its end, it gives the call up.
pub(super) struct StreamedBody {
    // Dropped in this order: the stream hears first that its reader has left, and then the driver.
    app: AppBody,
    left: Option<DropGuard>,
    hurry: CancellationToken,
    verdict: Verdict,
    /// What the stream said of its end, until the driver has said more.
    failed: Option<Status>,
}

impl StreamedBody {
    pub(super) fn new(app: AppBody, reader: &Reader, verdict: Verdict) -> Self {
        let left = Some(reader.left.clone().drop_guard());
        Self { app, left, hurry: reader.hurry.clone(), verdict, failed: None }
    }

    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let told = ready!(self.verdict.poll(cx));
        self.left = None;
        let own = self.failed.take();
        Poll::Ready(told.or(own).map(Err))
    }
}

impl HttpBody for StreamedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.failed.is_some() {
            return self.poll_failed(cx);
        }
        if self.left.is_none() {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.app).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if frame.is_trailers() {
                    self.left = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(status)) => {
                // What became of the call is known to the driver, within a bounded time.
                self.hurry.cancel();
                self.failed = Some(status);
                self.poll_failed(cx)
            }
            None => {
                self.left = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && self.failed.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
