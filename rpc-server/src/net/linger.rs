//! Closing without losing the last answers.
//!
//! A TCP socket that is closed with bytes unread resets the connection, and the peer's system then throws away what the
//! peer has not read yet: the GOAWAY, and the last responses. So after our end is shut down, whatever still comes is
//! read and thrown away, until the peer closes too or its time is over.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rpc_http2::LastHeard;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a peer has to close its end. It needs one round trip.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much is thrown away at most.
const BYTES_MAX: usize = 1 << 20;

/// A stream whose shutdown waits for the peer's.
pub(super) struct Lingering<T> {
    io: T,
    heard: Arc<LastHeard>,
    state: State,
}

enum State {
    Open,
    /// Our end is shut down.
    Waiting {
        patience: Pin<Box<Sleep>>,
        discarded: usize,
    },
    Done,
}

impl<T> Lingering<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, heard: LastHeard::new(), state: State::Open }
    }

    /// Tells when something was last read.
    pub(super) fn heard(&self) -> Arc<LastHeard> {
        Arc::clone(&self.heard)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, state, .. } = &mut *self;
        loop {
            match state {
                State::Open => {
                    ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
                    *state = State::Waiting { patience: Box::pin(sleep(PATIENCE)), discarded: 0 };
                }
                State::Waiting { patience, discarded } => {
                    if patience.as_mut().poll(cx).is_pending() && ready!(discard(io, discarded, cx)) {
                        continue;
                    }
                    *state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Throws bytes away; ready with whether more may come.
fn discard<T: AsyncRead + Unpin>(io: &mut T, discarded: &mut usize, cx: &mut Context<'_>) -> Poll<bool> {
    let mut bytes = [0; 4096];
    let mut buffer = ReadBuf::new(&mut bytes);
    // An error is an end as well: nothing is left to be lost.
    if ready!(Pin::new(io).poll_read(cx, &mut buffer)).is_err() {
        return Poll::Ready(false);
    }
    let count = buffer.filled().len();
    *discarded += count;
    Poll::Ready(count > 0 && *discarded <= BYTES_MAX)
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        self.heard.note();
        Poll::Ready(read)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_still_comes_is_thrown_away_until_the_peer_closes() {
        let (ours, mut peer) = duplex(64);
        let closing = tokio::spawn(async move { Lingering::new(ours).shutdown().await });
        let mut end = Vec::new();
        peer.write_all(&[7; 10_000]).await.unwrap();
        assert!(!closing.is_finished());
        peer.shutdown().await.unwrap();
        closing.await.unwrap().unwrap();
        assert_eq!(peer.read_to_end(&mut end).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_close_is_waited_for_a_second_at_most() {
        let (ours, _peer) = duplex(64);
        let start = Instant::now();
        Lingering::new(ours).shutdown().await.unwrap();
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_stops_sending_is_cut() {
        let (ours, mut peer) = duplex(1 << 16);
        let start = Instant::now();
        let sender = tokio::spawn(async move {
            let mut sent = 0_usize;
            while peer.write_all(&[7; 4096]).await.is_ok() {
                sent += 4096;
            }
            sent
        });
        let mut ours = Lingering::new(ours);
        ours.shutdown().await.unwrap();
        assert!(start.elapsed() < PATIENCE);
        drop(ours);
        assert!(sender.await.unwrap() <= BYTES_MAX + (1 << 17));
    }

    #[tokio::test]
    async fn the_last_answer_survives_bytes_that_nobody_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        peer.write_all(&[7; 100_000]).await.unwrap();
        let mut ours = Lingering::new(ours);
        ours.write_all(b"the last answer").await.unwrap();
        let closing = tokio::spawn(async move { ours.shutdown().await });
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"the last answer");
        drop(peer);
        closing.await.unwrap().unwrap();
    }
}
