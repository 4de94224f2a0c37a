//! A link that is long: what arrives is handed on later.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// What has arrived and is not due yet. Bounded by the windows of HTTP/2, since the server is told of nothing sooner.
pub(super) struct Delayed {
    delay: Duration,
    parts: VecDeque<(Instant, Bytes)>,
    due: Pin<Box<Sleep>>,
    ended: bool,
}

impl Delayed {
    /// Everything is handed on this much later.
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, parts: VecDeque::new(), due: Box::pin(sleep_until(Instant::now())), ended: false }
    }

    /// What was not handed on, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|(_, bytes)| &**bytes)
    }

    /// Takes whatever is there, and hands on what is due.
    pub(super) fn poll_read(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.arrive(socket, cx)?;
        let Some((due, bytes)) = self.parts.front_mut() else {
            return if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        if *due > Instant::now() {
            self.due.as_mut().reset(*due);
            ready!(self.due.as_mut().poll(cx));
        }
        let length = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..length]);
        bytes.advance(length);
        if bytes.is_empty() {
            self.parts.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    fn arrive(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.ended {
            let mut buffer = vec![0; READ_BYTES];
            let mut arrived = ReadBuf::new(&mut buffer);
            match Pin::new(&mut *socket).poll_read(cx, &mut arrived) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            let length = arrived.filled().len();
            self.ended = length == 0;
            if length > 0 {
                buffer.truncate(length);
                self.parts.push_back((Instant::now() + self.delay, buffer.into()));
            }
        }
        Ok(())
    }
}
