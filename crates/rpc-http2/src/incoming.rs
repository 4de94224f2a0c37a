//! A body as its reader has it.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame};

/// The body of a request or response that arrives. What is read makes room for the peer to send more.
///
/// Dropped before its end, the stream is reset as soon as nobody else has a handle to it.
pub struct Incoming {
    stream: RecvStream,
    trailers_next: bool,
}

impl Incoming {
    /// Reads what comes on `stream`.
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, trailers_next: false }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.trailers_next {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails where the stream is over, and then nobody needs the room.
                    _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(unless_no_error(error)),
                None => self.trailers_next = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => unless_no_error(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// A reset with NO_ERROR ends a response without a failure: it only says that the rest of the request is not wanted
/// (RFC 9113, 8.1).
fn unless_no_error<T>(error: h2::Error) -> Option<Result<T, h2::Error>> {
    (error.reason() != Some(Reason::NO_ERROR)).then_some(Err(error))
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("ended", &self.is_end_stream()).finish_non_exhaustive()
    }
}
