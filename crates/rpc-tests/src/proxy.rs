//! A TCP proxy that does to connections what networks do.

mod delay;
mod frames;
mod relay;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    /// It is cut when so many bytes have passed in either direction.
    CutEither {
        /// How many bytes still arrive in the direction that is cut first.
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
    /// In that direction only what HTTP/2 itself says and the heads of requests arrive: no head of an answer, and nothing
    /// of a body.
    Mute {
        /// The direction in which nobody is told anything.
        direction: Direction,
    },
    /// Each byte takes so long, in both directions. Only orders cut it.
    Delay {
        /// The time of one way.
        one_way: Duration,
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
    plans: Mutex<Plans>,
    refusing: AtomicBool,
    accepted: AtomicU64,
    passed: Mutex<Arc<Passed>>,
    orders: watch::Sender<Orders>,
}

/// What becomes of connections that are still to come.
#[derive(Debug)]
struct Plans {
    next: Option<Fault>,
    later: Fault,
}

/// How many bytes of one connection have passed.
#[derive(Debug, Default)]
struct Passed {
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Passed {
    fn of(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
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
            plans: Mutex::new(Plans { next: None, later: Fault::Pass }),
            refusing: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            passed: Mutex::default(),
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
        self.shared.plans().later = fault;
    }

    /// What becomes of the next connection. Later ones go on as [`plan`](Self::plan) says.
    pub fn plan_next(&self, fault: Fault) {
        self.shared.plans().next = Some(fault);
    }

    /// How many bytes have passed in that direction of the last connection that was made; 0 if there was none.
    pub fn passed(&self, direction: Direction) -> u64 {
        let passed = self.shared.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.of(direction).load(Ordering::SeqCst)
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

impl Shared {
    fn plans(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of the connection with that number.
    fn fault_of(&self, number: u64) -> Fault {
        let mut plans = self.plans();
        let plan = plans.next.take().unwrap_or(plans.later);
        settle(plan, self.seed, number)
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
        let passed = Arc::new(Passed::default());
        *shared.passed.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&passed);
        let fault = shared.fault_of(shared.accepted.load(Ordering::SeqCst));
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let upstream = shared.upstream;
        connections.spawn(async move {
            // Either side may go at any time; that is the purpose of this program.
            let _ = relay(client, upstream, fault, standing, passed).await;
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
