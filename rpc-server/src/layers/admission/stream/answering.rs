//! One attempt between a request's body and its response's.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use rpc_flow::{Attempt, NetBody, Reset, Stream};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::body::Body;

/// How long a request is read after its response has ended. Its client ends it when it has read that.
const DRAIN: Duration = Duration::from_secs(5);

/// The response of an attempt; its request is read beside it, whether or not anybody reads the response.
//= S-25
//= W-22
pub(super) fn begin(attempt: Attempt, stream: &Stream, request: Body, tasks: &TaskTracker) -> Body {
    let (body, feed) = attempt.split();
    let ended = CancellationToken::new();
    let answering = Answering { body, _ended: ended.clone().drop_guard() };
    let stream = stream.clone();
    tasks.spawn(async move {
        let bound = async {
            ended.cancelled().await;
            sleep(DRAIN).await;
        };
        tokio::select! {
            read = feed.run(request) => tracing::trace!(how = ?read.how, "request of a stream ended"),
            () = bound => tracing::debug!(progress = ?stream.progress(), "request of a stream did not end"),
        }
    });
    Body::new(answering)
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
