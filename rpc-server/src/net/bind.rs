//! Listening, and serving what comes.

use std::io;
use std::net::SocketAddr;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::shared::Shared;
use super::tcp::{self, Incoming, Options};
use super::{Accepted, Config, Connections, Handle, Report, ServeError, accept, runtime};

/// Sockets that listen. Connections wait in the system until [`Bound::serve`] is called.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    handle: Handle,
    addresses: Vec<SocketAddr>,
    /// The listeners of each thread, one for each address.
    threads: Vec<Vec<std::net::TcpListener>>,
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// There is no address.
    #[error("no address to listen on")]
    NoAddress,
    /// Others could read tokens and tickets on the way to this address.
    #[error("{address} is not a loopback address and there is no TLS: set `tls`, or `dangerous_plaintext`")]
    Plaintext {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused, for example because another process listens there.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        let kind = match &error {
            BindError::NoAddress | BindError::Plaintext { .. } => io::ErrorKind::InvalidInput,
            BindError::Listen { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

impl Bound {
    /// Listens on all of `addresses`. A port of 0 is chosen by the system, see [`Bound::local_addrs`].
    ///
    /// # Errors
    ///
    /// Nothing is bound then. See [`BindError`]; a port that another process serves is an error even where ports
    /// can be shared.
    pub fn bind(addresses: &[SocketAddr], config: &Config) -> Result<Self, BindError> {
        if addresses.is_empty() {
            return Err(BindError::NoAddress);
        }
        let count = config.runtime.listeners();
        let mut bound = Self {
            config: config.clone(),
            handle: Handle::new(),
            addresses: Vec::with_capacity(addresses.len()),
            threads: (0..count).map(|_| Vec::new()).collect(),
        };
        for &address in addresses {
            let encrypted = config.tls.is_some();
            if !encrypted && !config.dangerous_plaintext && !address.ip().to_canonical().is_loopback() {
                return Err(BindError::Plaintext { address });
            }
            bound.listen(address, count).map_err(|source| BindError::Listen { address, source })?;
        }
        Ok(bound)
    }

    fn listen(&mut self, address: SocketAddr, count: usize) -> io::Result<()> {
        let listeners = tcp::listen(address, count, &self.config.tcp)?;
        self.addresses.push(listeners[0].local_addr()?);
        for (thread, listener) in self.threads.iter_mut().zip(listeners) {
            thread.push(listener);
        }
        Ok(())
    }

    /// The addresses, in the order given, with the ports that were chosen.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of [`Bound::local_addrs`].
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// What stops the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::drain`] has ended everything.
    ///
    /// # Errors
    ///
    /// When a thread could not start or failed. The others are drained first, within [`Config::drain_deadline`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts all connections. Threads of the server then end by themselves, unawaited.
    pub async fn serve<C: Connections>(self, connections: C) -> Result<Report, ServeError> {
        let Self { config, handle, threads, addresses: _ } = self;
        let shared = Shared::new(connections, config, handle);
        if shared.config.runtime.owns_threads() {
            runtime::per_core(&shared, threads).await?;
        } else {
            let options = Options::new(&shared.config.tcp, &shared.config.http2);
            let listeners = threads.into_iter().flatten().collect();
            let incoming = Incoming::new(listeners, options).map_err(ServeError::Register)?;
            accept::run(&shared, incoming).await;
        }
        Ok(shared.report())
    }
}

/// Serves streams that are not our sockets: Unix sockets, pipes, simulated networks. Runs on the caller's runtime,
/// until `incoming` ends and its connections have ended, or until [`Handle::drain`] has ended everything.
///
/// An error of `incoming` does not end it. Whether its streams can be read by others is not checked; with
/// [`Config::tls`] set, they begin with a TLS handshake.
///
/// # Panics
///
/// Outside of a tokio runtime with time.
///
/// # Cancel safety
///
/// Dropping the future cuts all connections.
pub async fn serve_with_incoming<C, I, T>(
    incoming: I,
    connections: C,
    config: &Config,
    handle: &Handle,
) -> Report
where
    C: Connections,
    I: Stream<Item = io::Result<Accepted<T>>>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Shared::new(connections, config.clone(), handle.clone());
    accept::run(&shared, incoming).await;
    shared.report()
}
