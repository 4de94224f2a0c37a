//! How bytes get to the target: the seam under TLS and HTTP/2.

use std::{io, net::SocketAddr, pin::Pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Uri;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::sleep,
};

/// A two-way stream of bytes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Any stream of bytes.
pub type BoxIo = Box<dyn Io>;

/// The future of one attempt to reach a target.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxIo>> + Send>>;

/// Opens a stream of bytes to a target.
///
/// Callers add TLS (for `https`) and HTTP/2 on top, bound the time by their connect timeout, and drop the future
/// when it has passed. Implementers give a fresh stream at each call and need no timeout, no retry and no backoff of
/// their own.
///
/// Functions are connectors, too:
///
/// ```
/// use rpc_client::net::{BoxIo, Config};
/// use tokio::net::UnixStream;
///
/// # #[cfg(unix)]
/// let config = Config::default().connector(|_target| async {
///     let stream = UnixStream::connect("/run/ledger.sock").await?;
///     Ok(Box::new(stream) as BoxIo)
/// });
/// ```
pub trait Connector: Send + Sync + 'static {
    /// Begins to reach `target`, whose scheme is `http` or `https`.
    ///
    /// # Errors
    ///
    /// The future answers with whatever kept the target from being reached; it is tried again after a pause.
    fn connect(&self, target: Uri) -> Connecting;
}

impl<F, Fut> Connector for F
where
    F: Fn(Uri) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<BoxIo>> + Send + 'static,
{
    fn connect(&self, target: Uri) -> Connecting {
        Box::pin(self(target))
    }
}

/// Reaches targets over TCP.
///
/// All addresses of a name are tried in the resolver's order, the next one as soon as the one before has failed or
/// was silent for 250 ms; the first that answers wins. `TCP_NODELAY` is always on: a small request would otherwise
/// wait for the acknowledgement of the one before it.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    keepalive: Option<Duration>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { keepalive: Some(Duration::from_secs(60)) }
    }
}

impl Tcp {
    /// Sets the silence after which the operating system probes the peer: default 60 s, `None` for never.
    ///
    /// It backs up [`Keepalive`](super::Keepalive), which is quicker and sees through proxies.
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keepalive = idle.into();
        self
    }
}

impl Connector for Tcp {
    fn connect(&self, target: Uri) -> Connecting {
        let tcp = *self;
        Box::pin(async move {
            let stream = first_to_answer(resolve(&target).await?).await?;
            stream.set_nodelay(true)?;
            if let Some(idle) = tcp.keepalive {
                SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
            }
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

/// How long one address may stay silent before the next is tried beside it: the pause of RFC 8305.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// A resolver's answer may be arbitrarily long; beyond this many addresses it is not worth a connect timeout.
const ADDRESSES_MAX: usize = 16;

async fn resolve(target: &Uri) -> io::Result<Vec<SocketAddr>> {
    let host = target.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let default = if target.scheme_str() == Some("https") { 443 } else { 80 };
    let port = target.port_u16().unwrap_or(default);
    let addresses: Vec<_> = lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no address for {host}")));
    }
    Ok(addresses)
}

/// Connects to the addresses one after the other, overlapping, until one answers; the first error is the answer
/// when all have failed, since the resolver's first choice is the one to explain.
async fn first_to_answer(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        if let Some(address) = addresses.next() {
            attempts.push(async move { TcpStream::connect(address).await.map_err(|e| at(address, &e)) });
        }
        let answer = tokio::select! {
            answer = attempts.next() => answer,
            () = sleep(NEXT_ADDRESS_AFTER), if addresses.len() > 0 => continue,
        };
        match answer {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                first_error.get_or_insert(error);
            }
            None => return Err(first_error.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
        }
    }
}

fn at(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = gone.local_addr().unwrap();
        drop(gone);

        let stream = first_to_answer(vec![refused, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let error = first_to_answer(vec![refused]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&refused.to_string()), "{error}");
    }

    #[tokio::test]
    async fn literal_addresses_need_no_resolver() {
        let six = resolve(&Uri::from_static("http://[::1]:50051")).await.unwrap();
        assert_eq!(six, ["[::1]:50051".parse().unwrap()]);
        let four = resolve(&Uri::from_static("https://127.0.0.1")).await.unwrap();
        assert_eq!(four, ["127.0.0.1:443".parse().unwrap()]);
    }
}
