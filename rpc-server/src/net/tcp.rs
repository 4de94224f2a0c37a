//! TCP sockets: listening, sharing a port, options.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use super::{Accepted, Http2, Tcp};

/// Listens on `address` with `count` sockets that share its port; a port of 0 is chosen by the first. Must be given
/// to [`Incoming::new`] within a runtime.
///
/// # Errors
///
/// What the system says, among it that somebody else listens there.
pub(super) fn listen(address: SocketAddr, count: usize, tcp: &Tcp) -> io::Result<Vec<std::net::TcpListener>> {
    let shared = count > 1;
    if shared && address.port() != 0 {
        // Sockets that share ports would share it with those of another process of this user as well: a second
        // server, started by mistake, would take half of the first one's connections without a word.
        bound_socket(address, false)?;
    }
    let mut listeners = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = bound_socket(address, shared)?;
        socket.listen(tcp.backlog)?;
        let listener = std::net::TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bound_socket(address: SocketAddr, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if cfg!(unix) {
        // A restart need not wait for the connections of the former process to be forgotten. Windows means
        // something else by it.
        socket.set_reuse_address(true)?;
    }
    if shares_port {
        share_port(&socket)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn share_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The connections that come to some listeners. Never ends.
pub(super) struct Incoming {
    listeners: Vec<TcpListener>,
    /// The listener to be asked first, so that a busy one does not starve the others.
    next: usize,
    options: Options,
}

/// What is set on each connection.
#[derive(Clone)]
pub(super) struct Options {
    tcp: Tcp,
    /// How long sent bytes may stay unacknowledged.
    unacknowledged: std::time::Duration,
}

impl Options {
    /// Keepalive alone does not end a connection whose peer stopped reading: the notice of its end waits behind all
    /// that was not read. So the system gives up at about the time that keepalive does.
    pub(super) fn new(tcp: &Tcp, http2: &Http2) -> Self {
        let unacknowledged = http2.keepalive_interval.saturating_add(http2.keepalive_timeout);
        Self { tcp: tcp.clone(), unacknowledged }
    }

    /// A connection works without any of these, and one that is gone refuses them, so no failure ends it.
    fn set(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        let keepalive = |time| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time));
        let set = socket
            .set_tcp_nodelay(self.tcp.nodelay)
            .and_then(|()| self.tcp.keepalive.map_or(Ok(()), keepalive))
            .and_then(|()| self.set_unacknowledged(&socket));
        if let Err(error) = set {
            debug!(%error, "socket options could not be set");
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_unacknowledged(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_user_timeout(Some(self.unacknowledged))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn set_unacknowledged(&self, _: &SockRef<'_>) -> io::Result<()> {
        // Other systems have no such option; their own, longer time applies.
        let _ = self.unacknowledged;
        Ok(())
    }
}

impl Incoming {
    /// Takes over `listeners`, which must not block.
    ///
    /// # Errors
    ///
    /// What the system says when they are registered with the runtime.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(super) fn new(listeners: Vec<std::net::TcpListener>, options: Options) -> io::Result<Self> {
        let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?;
        Ok(Self { listeners, next: 0, options })
    }
}

impl Stream for Incoming {
    type Item = io::Result<Accepted<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let count = self.listeners.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            if let Poll::Ready(accepted) = self.listeners[index].poll_accept(cx) {
                self.next = index + 1;
                return Poll::Ready(Some(accepted.map(|(stream, peer)| {
                    self.options.set(&stream);
                    let local = stream.local_addr().ok();
                    Accepted { io: stream, peer: Some(peer), local }
                })));
            }
        }
        Poll::Pending
    }
}
