//! The byte stream under one HTTP/2 connection, with what h2 leaves out.
//!
//! - It tells when the peer's first frame has come, and that it is SETTINGS. h2 calls a connection established once
//!   *it* has spoken; a peer that accepts and stays silent, or answers in another protocol, would be handed calls of
//!   which nobody could say later whether they ran.
//! - It tells when the peer says goodbye. On a connection with open streams h2 tells of a GOAWAY only with the next
//!   request; a replacement should be there by then.
//! - It notes when the peer was last heard, for the keepalive.
//! - It lets the peer have the last word. A server that says goodbye and closes while requests still arrive makes its
//!   kernel answer with RST; the next write fails, and h2 gives up before it has read the goodbye that lies in our
//!   receive buffer and says which requests were not processed. So a failed write is not told: what was to be written
//!   is lost anyway, and the read that follows hands out what came before the break, and then the break.
//! - It can be cut by a token, which ends every task of the connection by the ordinary path of a broken stream.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rpc_http2::LastHeard;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    connector::BoxIo,
    frames::{Frames, Head},
};

/// A byte stream that can be cut.
pub(super) struct Wire {
    io: BoxIo,
    frames: Frames,
    last: Arc<LastHeard>,
    tell_greeting: Option<oneshot::Sender<Greeting>>,
    tell_goodbye: Option<oneshot::Sender<()>>,
    broken: bool,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What is heard of the peer. Both receivers are closed when the stream ended before.
pub(super) struct Heard {
    /// What the peer began with.
    pub(super) greeting: oneshot::Receiver<Greeting>,
    /// The peer sent GOAWAY.
    pub(super) goodbye: oneshot::Receiver<()>,
    /// When anything was last read.
    pub(super) last: Arc<LastHeard>,
}

/// What a peer may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// A SETTINGS frame: the peer speaks HTTP/2.
    Http2,
    /// Something else.
    Other,
}

impl Wire {
    /// Wraps `io`, to be cut when `cut` is cancelled.
    pub(super) fn new(io: BoxIo, cut: CancellationToken) -> (Self, Heard) {
        let (tell_greeting, greeting) = oneshot::channel();
        let (tell_goodbye, goodbye) = oneshot::channel();
        let last = LastHeard::new();
        let wire = Self {
            io,
            frames: Frames::default(),
            last: last.clone(),
            tell_greeting: Some(tell_greeting),
            tell_goodbye: Some(tell_goodbye),
            broken: false,
            cut: Box::pin(cut.cancelled_owned()),
        };
        (wire, Heard { greeting, goodbye, last })
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.last.note();
        let Self { frames, tell_greeting, tell_goodbye, .. } = self;
        // Nobody may listen any more, when the dial was given up or the set was shut down.
        frames.read(bytes, |head: Head| {
            if let Some(tell) = tell_greeting.take() {
                _ = tell.send(if head.is_preface() { Greeting::Http2 } else { Greeting::Other });
            }
            if head.is_goaway() {
                _ = tell_goodbye.take().map(|tell| tell.send(()));
            }
        });
    }

    /// Turns waiting into an error once the stream is cut. Asked only where the stream itself has to wait, so that a
    /// busy connection pays nothing for it.
    fn wait_or_cut<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.cut.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "connection cut at shutdown")))
    }
}

impl Wire {
    /// Finishes a step of writing: waits or is cut where the stream has to wait, and passes over a stream that broke,
    /// with `written` as the answer.
    fn wrote<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: Poll<io::Result<T>>,
        written: T,
    ) -> Poll<io::Result<T>> {
        match step {
            Poll::Pending => self.wait_or_cut(cx),
            Poll::Ready(Err(error)) if is_break(&error) => {
                tracing::debug!(%error, "connection takes no more bytes");
                self.broken = true;
                Poll::Ready(Ok(written))
            }
            done => done,
        }
    }
}

/// Tells whether nothing can be written any more while something may be left to read.
fn is_break(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.hear(&buf.filled()[before..]);
                Poll::Ready(result)
            }
            Poll::Pending => self.wait_or_cut(cx),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Ok(bytes.len()));
        }
        let step = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(cx, step, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Ok(()));
        }
        let step = Pin::new(&mut self.io).poll_flush(cx);
        self.wrote(cx, step, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Ok(()));
        }
        let step = Pin::new(&mut self.io).poll_shutdown(cx);
        self.wrote(cx, step, ())
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.broken {
            return Poll::Ready(Ok(all));
        }
        let step = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(cx, step, all)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Passes `bytes` through a wire and returns what was heard.
    async fn hear(bytes: &[u8]) -> (Option<Greeting>, bool) {
        let (near, mut far) = duplex(64);
        let (mut wire, mut heard) = Wire::new(Box::new(near), CancellationToken::new());
        far.write_all(bytes).await.unwrap();
        let mut read = vec![0; bytes.len()];
        wire.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes, "bytes pass unchanged");
        drop((wire, far));
        (heard.greeting.await.ok(), heard.goodbye.try_recv().is_ok())
    }

    #[tokio::test]
    async fn greeting_and_goodbye_are_heard() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let goaway = [0, 0, 2, 7, 0, 0, 0, 0, 0, 1, 1];
        assert_eq!(hear(&settings).await, (Some(Greeting::Http2), false));
        assert_eq!(hear(&[&settings[..], &goaway].concat()).await, (Some(Greeting::Http2), true));
        assert_eq!(hear(b"HTTP/1.1 400 Bad Request").await, (Some(Greeting::Other), false));
        assert_eq!(hear(&settings[..8]).await, (None, false));
    }

    #[tokio::test]
    async fn what_the_peer_said_before_the_break_is_read_although_writing_failed() {
        let (near, mut far) = duplex(64);
        let (mut wire, _heard) = Wire::new(Box::new(near), CancellationToken::new());
        far.write_all(b"goodbye").await.unwrap();
        drop(far);
        wire.write_all(b"too late").await.unwrap();
        wire.flush().await.unwrap();
        let mut last_words = String::new();
        wire.read_to_string(&mut last_words).await.unwrap();
        assert_eq!(last_words, "goodbye");
    }

    #[tokio::test]
    async fn a_cut_ends_a_read_that_waits() {
        let (near, _far) = duplex(64);
        let cut = CancellationToken::new();
        let (mut wire, _heard) = Wire::new(Box::new(near), cut.clone());
        let reading = tokio::spawn(async move { wire.read_u8().await });
        tokio::task::yield_now().await;
        cut.cancel();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
