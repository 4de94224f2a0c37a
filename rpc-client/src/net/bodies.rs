//! The two bodies of a call: the request on its way out, and the response as its caller reads it.

use std::{
    future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http_body::Frame;
use rpc_http2::{Incoming, Outgoing};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::body::Body;

use super::gate::Call;

/// Sends a request body. Its call counts as open until it was sent or given up.
///
/// Why it ended early is not told: the response, or the error in its place, says it.
pub(super) struct Upload {
    body: Outgoing<Body>,
    _call: Arc<Call>,
}

impl Upload {
    pub(super) fn new(stream: SendStream<Bytes>, body: Body, call: Arc<Call>) -> Self {
        Self { body: Outgoing::new(stream, body), _call: call }
    }

    /// Sends what can be sent at once, and leaves the rest, if there is any, to a task of `tasks`.
    ///
    /// With the handle of that task the body is given up, and its stream is reset with its last handle.
    pub(super) async fn start(mut self, tasks: &TaskTracker) -> Option<AbortOnDropHandle<()>> {
        let sent = future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self).poll(cx))).await;
        // In a box, because a task is moved a dozen times on its way into the runtime and out of it.
        sent.is_pending().then(|| AbortOnDropHandle::new(tasks.spawn(Box::pin(self))))
    }
}

impl Future for Upload {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(Pin::new(&mut self.body).poll(cx)) {
            tracing::debug!(%error, "request body not sent to its end");
        }
        Poll::Ready(())
    }
}

/// The body of a response. Its call counts as open on the connection until this has ended or is dropped.
///
/// Dropping it before its end cancels the call on the wire, unless the request body is still being sent: HTTP/2
/// directions are independent, and then the stream lives until the request body ends, too.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    call: Option<Arc<Call>>,
}

impl ResponseBody {
    pub(super) fn new(stream: RecvStream, call: Arc<Call>) -> Self {
        Self { incoming: Incoming::new(stream), call: Some(call) }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.call = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}
