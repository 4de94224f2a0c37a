//! The body of an answer that is made from a record.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

/// One message and its trailers.
pub(super) struct ReplayBody {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl ReplayBody {
    pub(super) fn new(message: Bytes, trailers: HeaderMap) -> Self {
        Self { message: (!message.is_empty()).then_some(message), trailers: Some(trailers) }
    }
}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.message.take() {
            Some(message) => Some(Frame::data(message)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(next.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }
}
