//! The simulated network under server and client. All that knows turmoil's sockets is here.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, stream};
use rpc_client::net::BoxIo;
use rpc_server::net::Accepted;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::witness::Witness;

/// Where all servers listen.
const PORT: u16 = 50_051;

/// A connection whose bytes leave a trace at this end.
#[derive(Debug)]
pub struct Traced {
    inner: TcpStream,
    witness: Arc<Witness>,
}

impl AsyncRead for Traced {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut this.inner).poll_read(cx, buf));
        this.witness.trace(b'r', &buf.filled()[before..]);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Traced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, buf));
        if let Ok(bytes) = written {
            this.witness.trace(b'w', &buf[..bytes]);
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// What arrives at this host.
///
/// # Errors
///
/// The port is taken.
pub async fn listen(
    witness: Arc<Witness>,
) -> io::Result<impl Stream<Item = io::Result<Accepted<Traced>>> + use<>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    Ok(stream::unfold((listener, witness), async |(listener, witness)| {
        let accepted = listener.accept().await.map(|(inner, peer)| {
            Accepted::new(Traced { inner, witness: Arc::clone(&witness) }).from_peer(peer)
        });
        Some((accepted, (listener, witness)))
    }))
}

/// Dials whatever host serves at that moment, as a name or balancer would have it.
pub fn connector(
    witness: Arc<Witness>,
    serving: impl Fn() -> String + Send + Sync + Clone + 'static,
) -> impl rpc_client::Connector {
    move |_| -> Pin<Box<dyn Future<Output = io::Result<BoxIo>> + Send>> {
        let (witness, host) = (Arc::clone(&witness), serving());
        Box::pin(async move {
            let inner = TcpStream::connect((host, PORT)).await?;
            Ok(Box::new(Traced { inner, witness }) as BoxIo)
        })
    }
}
