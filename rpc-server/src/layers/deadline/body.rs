//! A response body that ends when the time of its call is over.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::Limit;

/// The body of a call with a deadline: passes frames on, and on time-out gives the trailers itself.
pub(super) struct DeadlineBody {
    /// `None` once it has ended or was given up; the handler behind it is then dropped.
    inner: Option<Body>,
    limit: Limit,
}

impl DeadlineBody {
    pub(super) fn new(inner: Body, limit: Limit) -> Self {
        Self { inner: Some(inner), limit }
    }
}

impl HttpBody for DeadlineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        // Time first: a stream that always has something ready would otherwise never end.
        if let Poll::Ready(status) = this.limit.poll(cx) {
            this.inner = None;
            return Poll::Ready(Some(trailers(&status)));
        }
        Pin::new(inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // The trailers may come early, so what the handler promised does not hold.
        SizeHint::default()
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}
