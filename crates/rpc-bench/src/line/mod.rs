//! The client's end of connections that can be cut all at once, and that tell what was on them.
//!
//! It lies between the socket and HTTP/2, in the process of the client, so that nothing stands between the two sides that
//! would cost time while nothing is cut.

mod delayed;
mod record;
mod scanner;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use delayed::Delayed;
pub(crate) use record::Record;
use scanner::Scanner;

/// What is read at once of a connection that was cut.
const DRAIN_BYTES: usize = 64 << 10;

/// All connections of a client. Clones are of the same.
#[derive(Debug, Clone)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    delay: Duration,
    record: Option<Arc<Record>>,
    /// Of the connections that were made since the last cut.
    cut: Mutex<CancellationToken>,
}

impl Lines {
    /// Connections to this address. What the server sends is handed on after `delay`, and looked at by `record` if there is
    /// one.
    pub(crate) fn new(address: SocketAddr, delay: Duration, record: Option<Arc<Record>>) -> Self {
        Self(Arc::new(Shared { address, delay, record, cut: Mutex::new(CancellationToken::new()) }))
    }

    /// Makes one.
    pub(crate) async fn connect(&self) -> io::Result<Line> {
        let socket = TcpStream::connect(self.0.address).await?;
        socket.set_nodelay(true)?;
        let token = self.0.cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Line {
            socket: Some(socket),
            cut: Box::pin(token.cancelled_owned()),
            delayed: (!self.0.delay.is_zero()).then(|| Delayed::new(self.0.delay)),
            watched: self.0.record.clone().map(|record| Watched { scanner: Scanner::new(), record }),
        })
    }

    /// Cuts all that there are now: the server sees a reset, and the client, too, when it looks next.
    pub(crate) fn cut(&self) {
        let mut cut = self.0.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }
}

/// One connection.
pub(crate) struct Line {
    /// Until it is cut.
    socket: Option<TcpStream>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    delayed: Option<Delayed>,
    watched: Option<Watched>,
}

struct Watched {
    scanner: Scanner,
    record: Arc<Record>,
}

impl Line {
    /// The socket, unless it is cut. Whoever asks is woken when it is.
    fn socket(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.socket.is_some() && self.cut.as_mut().poll(cx).is_ready() {
            self.end();
        }
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// What has arrived and was not handed on is lost, and counted as what the server sent.
    fn end(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        if let Some(Watched { scanner, record }) = &mut self.watched {
            record.cut();
            for bytes in self.delayed.iter().flat_map(Delayed::parts) {
                record.lost(scanner, bytes);
            }
            let mut buffer = vec![0; DRAIN_BYTES];
            while let Ok(read @ 1..) = socket.try_read(&mut buffer) {
                record.lost(scanner, &buffer[..read]);
            }
        }
        // A failure leaves an ordinary close, which ends the connection as well.
        let _ = socket.set_zero_linger();
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.delayed.is_some() {
            this.socket(cx)?;
            if let (Some(delayed), Some(socket)) = (&mut this.delayed, &mut this.socket) {
                ready!(delayed.poll_read(socket, cx, buf))?;
            }
        } else {
            ready!(this.socket(cx)?.poll_read(cx, buf))?;
        }
        if let Some(Watched { scanner, record }) = &mut this.watched {
            record.handed_on(scanner, &buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().socket(cx)?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().socket(cx)?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().socket(cx) {
            Ok(socket) => socket.poll_shutdown(cx),
            Err(_) => Poll::Ready(Ok(())),
        }
    }
}
