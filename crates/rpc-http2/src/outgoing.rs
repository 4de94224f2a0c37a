//! A body on its way.

use std::{
    error::Error,
    fmt, iter,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

type BoxError = Box<dyn Error + Send + Sync>;

/// Sends a body, a frame at a time, as far as the peer has room. Ends with the body or with the stream.
///
/// An error of the body resets the stream, with the reason of the first [`h2::Error`] among its causes, or else
/// `INTERNAL_ERROR`. That counts as sent to its end: whose body it is knows of it.
///
/// # Errors
///
/// What ended the stream before the body.
///
/// # Cancel safety
///
/// Dropped before its end, the stream is reset as soon as nobody else has a handle to it.
pub struct Outgoing<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// Read and not yet sent: the first, since mostly it is the last, too, and only asking for the next one tells; others
    /// until there is room, for they should leave while the processor has them at hand.
    held: Option<Bytes>,
    /// Nothing was sent yet.
    fresh: bool,
    /// There is nothing behind `held`.
    ended: bool,
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Begins to send `body` on `stream`.
    pub fn new(stream: SendStream<Bytes>, body: B) -> Self {
        Self { stream, body, held: None, fresh: true, ended: false }
    }

    /// Waits until something of what is held can be sent.
    ///
    /// The first frame does not wait: h2 gives no room to a client's stream before its connection's task has opened it,
    /// and a unary call would be woken for that alone. It is in memory either way, here or in h2.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.fresh || self.held.as_ref().is_none_or(Bytes::is_empty) || self.stream.capacity() > 0 {
            return Poll::Ready(Ok(()));
        }
        // One byte, and not the whole frame: what is reserved and not yet used is missing to other streams. h2 asks for
        // the rest when it has the frame.
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(room) => _ = room?,
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the peer to reset the stream, while there is nothing to send.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let reset = ready!(self.stream.poll_reset(cx))?;
        Poll::Ready(Err(reset.into()))
    }

    fn send_held(&mut self) -> Result<(), h2::Error> {
        let Some(data) = self.held.take() else { return Ok(()) };
        self.fresh = false;
        self.stream.send_data(data, false)
    }

    fn send_last(&mut self) -> Result<(), h2::Error> {
        self.stream.send_data(self.held.take().unwrap_or_default(), true)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if self.held.is_some() {
                ready!(self.poll_room(cx))?;
            }
            if self.ended {
                return Poll::Ready(self.send_last());
            }
            if !self.fresh {
                self.send_held()?;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.send_held()?;
                    return self.poll_reset(cx);
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!("a body failed, its stream is reset");
                    self.stream.send_reset(reason(&*error.into()));
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.send_held()?;
                        self.held = Some(data);
                        self.ended = self.body.is_end_stream();
                    }
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else { continue };
                        self.send_held()?;
                        return Poll::Ready(self.stream.send_trailers(trailers));
                    }
                },
            }
        }
    }
}

impl<B> Future for Outgoing<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.poll_send(cx)
    }
}

impl<B> fmt::Debug for Outgoing<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("stream", &self.stream.stream_id()).finish_non_exhaustive()
    }
}

/// With what a stream is reset whose body failed.
fn reason<'a>(error: &'a (dyn Error + 'static)) -> Reason {
    iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
        .find_map(|error| error.downcast_ref::<h2::Error>())
        .and_then(h2::Error::reason)
        .unwrap_or(Reason::INTERNAL_ERROR)
}
