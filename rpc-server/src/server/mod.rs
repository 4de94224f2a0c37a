//! The server: what a user builds, binds and serves.

mod builder;
mod connections;
mod reflection;
mod stack;
mod unread;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::ToSocketAddrs;

pub use builder::{Builder, Undecided};
pub(crate) use connections::Stack;
pub use stack::{SessionStack, StackLayer};

use rpc_core::store::StoreError;

use crate::methods::Unkept;
use crate::net::{self, Accepted, BindError, Bound, Report, ServeError};
use connections::Serving;

/// A gRPC server with sessions.
///
/// ```no_run
/// # use rpc_server::{MemoryStore, Server, auth::dangerous_anonymous};
/// # async fn serve() -> Result<(), rpc_server::StartError> {
/// Server::builder()
///     .authenticate(dangerous_anonymous()) // whom to trust: there is no default
///     .store(MemoryStore::new()) // where to keep sessions: there is no default
///     .serve("[::1]:50051")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    bound: Bound,
    serving: Serving,
}

/// Why a server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A method promises what this server cannot keep.
    #[error(transparent)]
    Unkept(#[from] Unkept),
    /// The address does not resolve.
    #[error("the address does not resolve")]
    Address(#[source] io::Error),
    /// The server cannot listen there.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A set of file descriptors that reflection cannot read.
    #[error("the file descriptors for reflection are damaged: {0}")]
    Reflection(String),
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[source] StoreError),
    /// The thread of the store did not start.
    #[error("the thread of the store does not start")]
    Thread(#[source] io::Error),
    /// A serving thread failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Stops a server. A cheap clone; dropping it does nothing.
#[derive(Debug, Clone)]
pub struct Handle {
    net: net::Handle,
    serving: Serving,
}

impl Handle {
    /// Begins the end: health says NOT_SERVING, no session is opened and no new protected call admitted, every
    /// attached client is told, every connection is asked to go, and what is left after `within` is cut.
    ///
    /// Returns at once; `serve` returns when all has ended. A second call means now.
    pub fn drain(&self, within: Duration) {
        self.serving.drain();
        self.net.drain(within);
    }
}

impl Server {
    /// Starts with the two decisions that have no safe default: whom to trust and where to store.
    pub fn builder() -> Builder<Undecided, Undecided> {
        Builder::new()
    }

    pub(crate) async fn bind(
        serving: Serving,
        config: &net::Config,
        address: impl ToSocketAddrs,
    ) -> Result<Self, StartError> {
        let resolved = tokio::net::lookup_host(address).await.map_err(StartError::Address)?;
        let addresses: Vec<SocketAddr> = resolved.collect();
        Ok(Self { bound: Bound::bind(&addresses, config)?, serving })
    }

    /// The address that callers reach; with port 0, the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// What stops this server.
    pub fn handle(&self) -> Handle {
        Handle { net: self.bound.handle(), serving: self.serving.clone() }
    }

    /// Serves until a [`Handle`] drains the server.
    ///
    /// # Errors
    ///
    /// A serving thread panicked or did not start; the others were drained.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts all connections.
    pub async fn serve(self) -> Result<Report, StartError> {
        let reaper = self.serving.reap();
        let serve = self.bound.serve(self.serving);
        tokio::select! {
            served = serve => Ok(served?),
            () = reaper => unreachable!("the reaper does not end"),
        }
    }

    /// Serves until `signal` resolves, then drains within `grace`.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_with_shutdown(
        self,
        signal: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<Report, StartError> {
        let handle = self.handle();
        let mut serve = std::pin::pin!(self.serve());
        tokio::select! {
            served = &mut serve => served,
            () = signal => {
                handle.drain(grace);
                serve.await
            }
        }
    }
}

/// A server for streams that are not its own sockets: Unix sockets, pipes, simulated networks.
#[derive(Debug, Clone)]
pub struct Detached {
    config: net::Config,
    handle: Handle,
}

impl Detached {
    pub(crate) fn new(serving: Serving, config: net::Config) -> Self {
        Self { config, handle: Handle { net: net::Handle::new(), serving } }
    }

    /// What stops this server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves what comes, on the runtime of the caller, until `incoming` ends or a [`Handle`] drains the server.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts all connections.
    pub async fn serve<T>(self, incoming: impl Stream<Item = io::Result<Accepted<T>>>) -> Report
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Handle { net, serving } = self.handle;
        let reaper = serving.reap();
        let serve = net::serve_with_incoming(incoming, serving, &self.config, &net);
        tokio::select! {
            report = serve => report,
            () = reaper => unreachable!("the reaper does not end"),
        }
    }
}
