//! A TCP proxy that does to connections what networks do.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

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

/// Orders for all connections there are, each counted, so that one made later does not obey an older order.
#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    fins: u64,
    resets: u64,
    stalls_to_server: u64,
    stalls_to_client: u64,
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
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let plan = *shared.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = settle(plan, shared.seed, number);
        // Subscribed here: an order that is given after the connection was counted concerns it.
        let orders = shared.orders.subscribe();
        let upstream = shared.upstream;
        connections.spawn(async move {
            // Either side may go at any time; that is the purpose of this program.
            let _ = relay(client, upstream, fault, orders).await;
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

async fn relay(
    mut client: TcpStream,
    upstream: SocketAddr,
    fault: Fault,
    orders: watch::Receiver<Orders>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let cut = tokio::select! {
        cut = pump(from_client, to_server, Pump::new(Direction::ToServer, fault, orders.clone())) => cut?,
        cut = pump(from_server, to_client, Pump::new(Direction::ToClient, fault, orders)) => cut?,
    };
    match cut {
        End::Fin => {
            // The client first: what it was sent is to arrive.
            client.shutdown().await?;
            server.shutdown().await
        }
        End::Rst => {
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
    }
}

/// What one direction of a connection obeys.
struct Pump {
    direction: Direction,
    fault: Fault,
    passed: u64,
    began: Orders,
    orders: watch::Receiver<Orders>,
}

impl Pump {
    fn new(direction: Direction, fault: Fault, orders: watch::Receiver<Orders>) -> Self {
        let began = *orders.borrow();
        Self { direction, fault, passed: 0, began, orders }
    }

    /// How many of `bytes` pass, and whether the connection is cut then.
    fn judge(&mut self, bytes: usize) -> (usize, ControlFlow<End>) {
        let left = |limit: u64, passed: u64| usize::try_from(limit - passed).unwrap_or(usize::MAX).min(bytes);
        let (passing, flow) = match self.fault {
            _ if self.is_silenced() => (0, ControlFlow::Continue(())),
            Fault::Cut { direction, after_bytes, end } if direction == self.direction => {
                let passing = left(after_bytes, self.passed);
                let done = self.passed + passing as u64 == after_bytes;
                (passing, if done { ControlFlow::Break(end) } else { ControlFlow::Continue(()) })
            }
            Fault::Stall { direction, after_bytes } if direction == self.direction => {
                (left(after_bytes, self.passed), ControlFlow::Continue(()))
            }
            Fault::Pass | Fault::Cut { .. } | Fault::CutSomewhere { .. } | Fault::Stall { .. } => {
                (bytes, ControlFlow::Continue(()))
            }
        };
        self.passed += passing as u64;
        (passing, flow)
    }

    /// Whether an order or the plan says that nothing arrives any more, the end neither.
    fn is_silenced(&self) -> bool {
        let now = self.orders.borrow();
        let ordered = match self.direction {
            Direction::ToServer => now.stalls_to_server > self.began.stalls_to_server,
            Direction::ToClient => now.stalls_to_client > self.began.stalls_to_client,
        };
        let planned = matches!(self.fault, Fault::Stall { direction, after_bytes }
            if direction == self.direction && self.passed >= after_bytes);
        ordered || planned
    }

    async fn ordered_cut(&mut self) -> End {
        let began = self.began;
        let cut = self.orders.wait_for(|now| now.fins > began.fins || now.resets > began.resets).await;
        match cut {
            Ok(orders) if orders.resets > began.resets => End::Rst,
            // The proxy is gone, and its connections with it.
            Ok(_) | Err(_) => End::Fin,
        }
    }
}

/// Moves bytes until the connection is to be cut. The end of one direction ends both: HTTP/2 knows no half-closed
/// connections.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: Pump,
) -> io::Result<End> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            biased;
            end = state.ordered_cut() => return Ok(end),
            read = from.read(&mut buffer) => read?,
        };
        if read == 0 {
            if state.is_silenced() {
                return Ok(state.ordered_cut().await);
            }
            return Ok(End::Fin);
        }
        let (passing, flow) = state.judge(read);
        to.write_all(&buffer[..passing]).await?;
        if let ControlFlow::Break(end) = flow {
            return Ok(end);
        }
    }
}

#[cfg(test)]
mod tests;
