//! One attempt between a request's body and its response's.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use rpc_flow::{Attempt, How, NetBody, Reset, Stream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::body::Body;

/// How long a request is read after its response has ended. Its client ends it when it has read that.
const DRAIN: Duration = Duration::from_secs(5);

/// The response of an attempt; its request is read beside it, whether or not anybody reads the response. `over` is told,
/// when both have ended, whether the caller has shown that it has all that it wants.
//= S-25
//= W-22
pub(super) fn begin(
    attempt: Attempt,
    stream: &Stream,
    request: Body,
    tasks: &TaskTracker,
    over: impl FnOnce(bool) + Send + 'static,
) -> Body {
    let (body, feed) = attempt.split();
    let ended = CancellationToken::new();
    let answering = Answering { body, _ended: ended.clone().drop_guard() };
    let stream = stream.clone();
    tasks.spawn(async move {
        let bound = async {
            ended.cancelled().await;
            sleep(DRAIN).await;
        };
        let complete = tokio::select! {
            read = feed.run(request) => {
                tracing::trace!(how = ?read.how, "request of a stream ended");
                matches!(read.how, How::Complete)
            }
            () = bound => {
                tracing::debug!(progress = ?stream.progress(), "request of a stream did not end");
                false
            }
        };
        ended.cancelled().await;
        over(complete);
    });
    Body::new(answering)
}

/// Reads a request that was answered before it ended, up to so many bytes.
//= W-22
pub(super) fn drain(request: Body, bytes_max: u64, tasks: &TaskTracker) {
    if request.is_end_stream() {
        return;
    }
    tasks.spawn(async move {
        let mut request = pin!(request);
        let mut bytes: u64 = 0;
        let read = poll_fn(|cx| {
            while bytes <= bytes_max {
                let Some(Ok(frame)) = ready!(request.as_mut().poll_frame(cx)) else { break };
                bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(())
        });
        // What takes longer is reset.
        let _ = timeout(DRAIN, read).await;
    });
}

/// The outgoing body; tells when it has ended or was dropped.
struct Answering {
    body: NetBody,
    _ended: DropGuard,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
