//! A server for tests: short times, its own books, on a socket or on pipes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rpc_server::auth::Authenticator;
use rpc_server::net::{Accepted, Config, Report, Runtime};
use rpc_server::{Builder, Handle, Limits, MemoryStore, Server, Store, Terms};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::channel::Channel;
use crate::ledger::{Books, Ledger};
use crate::pb::FILE_DESCRIPTOR_SET;
use crate::pb::ledger::v1::test_ledger_server::TestLedgerServer;
use crate::pb::streams::v1::test_streams_server::TestStreamsServer;
use crate::{soon, token};

/// How long the end of a test server may take before it cuts what is left.
const DRAIN: Duration = Duration::from_secs(5);

/// What a test may still change before the server starts.
pub type Ready = Builder<Arc<dyn Authenticator>, Arc<dyn Store>>;

/// A server that serves [`Ledger`]. It is cut when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    reach: Reach,
    handle: Handle,
    books: Books,
    task: JoinHandle<Report>,
}

#[derive(Debug)]
enum Reach {
    Socket(SocketAddr),
    Pipes(mpsc::Sender<io::Result<Accepted<DuplexStream>>>),
}

impl TestServer {
    /// A server with all defaults.
    pub async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    /// A server that serves [`Streams`](crate::streams::Streams), too.
    pub async fn with_streams() -> Self {
        let service = TestStreamsServer::new(crate::streams::Streams::default());
        Self::start_with(|builder| builder.service(service)).await
    }

    /// A server that the test configures, on a port that the system chooses, on the test's own runtime.
    pub async fn start_with(configure: impl FnOnce(Ready) -> Ready) -> Self {
        let books = Books::default();
        let server = configure(builder(&books)).bind("127.0.0.1:0").await.expect("loopback is to be had");
        let (reach, handle) = (Reach::Socket(server.local_addr()), server.handle());
        let task = tokio::spawn(async move { server.serve().await.expect("no thread of its own can fail") });
        Self { reach, handle, books, task }
    }

    /// A server that is reached by pipes, so that tests may pause the time.
    pub async fn on_pipes(configure: impl FnOnce(Ready) -> Ready) -> Self {
        let books = Books::default();
        let server = configure(builder(&books)).detached().await.expect("it promises what it can keep");
        let (incoming, accepted) = mpsc::channel(64);
        let handle = server.handle();
        let task = tokio::spawn(server.serve(ReceiverStream::new(accepted)));
        Self { reach: Reach::Pipes(incoming), handle, books, task }
    }

    /// Where the server listens.
    ///
    /// # Panics
    ///
    /// It is on pipes.
    pub fn address(&self) -> SocketAddr {
        match &self.reach {
            Reach::Socket(address) => *address,
            Reach::Pipes(_) => panic!("a server on pipes has no address"),
        }
    }

    /// A new connection.
    ///
    /// # Panics
    ///
    /// The server takes none.
    pub async fn connect(&self) -> Channel {
        let connected = match &self.reach {
            Reach::Socket(address) => Channel::connect(*address).await,
            Reach::Pipes(_) => Channel::over(self.pipe().await).await,
        };
        connected.expect("the server takes connections")
    }

    /// The client's end of a new pipe.
    ///
    /// # Panics
    ///
    /// The server is on a socket, or ended.
    pub async fn pipe(&self) -> DuplexStream {
        let Reach::Pipes(incoming) = &self.reach else { panic!("a server on a socket has no pipes") };
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        incoming.send(Ok(Accepted::new(theirs))).await.expect("the server runs");
        ours
    }

    /// What the handlers did.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// What stops the server.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the server in order.
    ///
    /// # Panics
    ///
    /// It does not end.
    pub async fn shutdown(self) -> Report {
        self.handle.drain(DRAIN);
        self.ended().await
    }

    /// Waits for the end of a server that was told to drain.
    ///
    /// # Panics
    ///
    /// It does not end.
    pub async fn ended(mut self) -> Report {
        soon("the server ends", &mut self.task).await.expect("the server does not panic")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.handle.drain(Duration::ZERO);
        self.task.abort();
    }
}

/// The two decisions made, and what tests want different from the defaults.
pub fn builder(books: &Books) -> Ready {
    Server::builder()
        .authenticate(token::authenticator())
        .store(MemoryStore::new())
        .service(TestLedgerServer::new(Ledger::new(books.clone())).max_decoding_message_size(8 << 20))
        .descriptors(FILE_DESCRIPTOR_SET)
        .net(net(|_| ()))
}

/// The defaults of the network on the test's own runtime, as `change` leaves them.
pub fn net(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    config.runtime = Runtime::WorkStealing;
    change(&mut config);
    config
}

/// The default terms, as `change` leaves them.
pub fn terms(change: impl FnOnce(&mut Terms)) -> Terms {
    let mut terms = Terms::default();
    change(&mut terms);
    terms
}

/// The default limits, as `change` leaves them.
pub fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}
