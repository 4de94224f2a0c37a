//! A TCP proxy that does to connections what networks do.

mod relay;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use relay::{Orders, Standing, relay};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToServer,
    /// Answers.
    ToClient,
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As a program that closes its socket: what was sent arrives, then the stream ends.
    Fin,
    /// As a machine that lost its memory: what is under way is gone.
    Rst,
}

/// What becomes of a connection. Bytes are counted from its beginning, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is cut when so many bytes have passed in that direction.
    Cut {
        /// The direction that is counted.
        direction: Direction,
        /// How many of its bytes still arrive.
        after_bytes: u64,
        /// How both sides learn of it.
        end: End,
    },
    /// It is cut at a place that seed and number of the connection decide.
    CutSomewhere {
        /// The place lies below this many bytes, in one direction or the other.
        bytes_max: u64,
        /// How both sides learn of it.
        end: End,
    },
    /// After so many bytes nothing arrives in that direction any more, the end neither: the connection is half open,
    /// for ever, and the sender notices nothing.
    Stall {
        /// The direction that falls silent.
        direction: Direction,
        /// How many of its bytes still arrive.
        after_bytes: u64,
    },
    /// It is accepted and waits for [`Proxy::release`] before it goes on, so that later ones overtake it.
    Hold,
}

/// A proxy in front of one server. Its connections are cut when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    seed: u64,
    plan: Mutex<Fault>,
    refusing: AtomicBool,
    accepted: AtomicU64,
    orders: watch::Sender<Orders>,
}

impl Proxy {
    /// A proxy in front of `upstream`, on a port that the system chooses. Connections pass until it is told otherwise.
    ///
    /// # Errors
    ///
    /// There is no port to be had.
    pub async fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            seed,
            plan: Mutex::new(Fault::Pass),
            refusing: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            orders: watch::Sender::default(),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of connections from now on. Those that there are go on as they were told.
    pub fn plan(&self, fault: Fault) {
        *self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Whether new connections are reset as soon as they are made.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Cuts every connection that there is.
    pub fn cut(&self, end: End) {
        self.shared.orders.send_modify(|orders| match end {
            End::Fin => orders.fins += 1,
            End::Rst => orders.resets += 1,
        });
    }

    /// Silences one direction of every connection that there is.
    pub fn stall(&self, direction: Direction) {
        self.shared.orders.send_modify(|orders| match direction {
            Direction::ToServer => orders.stalls_to_server += 1,
            Direction::ToClient => orders.stalls_to_client += 1,
        });
    }

    /// Lets held connections go on.
    pub fn release(&self) {
        self.shared.orders.send_modify(|orders| orders.releases += 1);
    }

    /// How many connections were made, without refused ones.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if shared.refusing.load(Ordering::SeqCst) {
            // If it fails, the client sees an end instead of a reset.
            let _ = client.set_zero_linger();
            continue;
        }
        // Before it is counted: an order that is given when the count was seen concerns it.
        let standing = Standing::new(shared.orders.subscribe());
        let plan = *shared.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let fault = settle(plan, shared.seed, number);
        let upstream = shared.upstream;
        connections.spawn(async move {
            // Either side may go at any time; that is the purpose of this program.
            let _ = relay(client, upstream, fault, standing).await;
        });
    }
}

/// Chooses the place of a cut that was left to the seed.
fn settle(fault: Fault, seed: u64, number: u64) -> Fault {
    let Fault::CutSomewhere { bytes_max, end } = fault else { return fault };
    let random = mix(seed ^ mix(number));
    let direction = if random & 1 == 0 { Direction::ToServer } else { Direction::ToClient };
    Fault::Cut { direction, after_bytes: (random >> 1) % bytes_max.max(1), end }
}

/// The finalizer of SplitMix64: numbers that lie side by side get answers that do not.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
