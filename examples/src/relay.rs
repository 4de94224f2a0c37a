//! A connection to cut: passes bytes between callers and one server until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes bytes to `server` while [`run`](Relay::run) is polled.
pub struct Relay {
    listener: TcpListener,
    server: SocketAddr,
    cuts: Arc<watch::Sender<u64>>,
}

/// Cuts every connection through a [`Relay`]. New ones pass.
#[derive(Clone)]
pub struct Scissors(Arc<watch::Sender<u64>>);

impl Scissors {
    /// Scissors for a relay that comes later.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Cuts.
    pub fn cut(&self) {
        self.0.send_modify(|cuts| *cuts += 1);
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        *self.0.borrow()
    }
}

impl Default for Scissors {
    fn default() -> Self {
        Self::new()
    }
}

impl Relay {
    /// A relay on a port that the system chooses.
    ///
    /// # Errors
    ///
    /// The system has no port.
    pub async fn bind(server: SocketAddr, scissors: &Scissors) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self { listener, server, cuts: Arc::clone(&scissors.0) })
    }

    /// Where callers connect.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Passes bytes for ever.
    pub async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    if let Ok((caller, _)) = accepted {
                        connections.spawn(pass(caller, self.server, self.cuts.subscribe()));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn pass(mut caller: TcpStream, server: SocketAddr, mut cuts: watch::Receiver<u64>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        // The cut first: no byte passes after it.
        biased;
        _ = cuts.changed() => {}
        // Whichever side ends first, both are closed.
        _ = tokio::io::copy_bidirectional(&mut caller, &mut server) => {}
    }
}
