//! The end of a request that was answered before it was read.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use rpc_http2::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How much is read of a request that nobody wants.
const BYTES_MAX: usize = 1 << 20;
/// How long.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A request's body. What is left of it when it is dropped is read by a task of its own, within bounds.
///
/// Without that, HTTP/2 resets the stream, soon forgets it, and takes what its client sends until it has read the reset
/// for errors: a hundred handlers that answer early, or calls that are refused, would cost all other calls on the
/// connection.
pub(super) struct Unread {
    body: Option<Incoming>,
    tasks: TaskTracker,
}

impl Unread {
    pub(super) fn new(body: Incoming, tasks: TaskTracker) -> Self {
        Self { body: Some(body), tasks }
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime the connection is gone, too.
        let Ok(runtime) = Handle::try_current() else { return };
        self.tasks.spawn_on(timeout(TIME_MAX, read(body)), &runtime);
    }
}

async fn read(body: Incoming) {
    let mut body = pin!(body);
    let mut bytes = 0;
    // A client that has left has reset its stream, which is an error here and an end.
    while bytes <= BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}
