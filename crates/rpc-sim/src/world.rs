//! What the hosts of one simulation share: its phase, who serves, the disk, the clocks, what clients have saved.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::random::Random;
use crate::store::Disk;
use crate::token::Wall;
use crate::witness::Witness;

/// What the clients are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Call whatever comes to their minds.
    Work = 0,
    /// Bring what they began to its end, then show that everything works.
    Heal = 1,
}

/// What a seed decides once for all.
#[derive(Debug, Clone)]
pub struct Config {
    /// The seed.
    pub seed: u64,
    /// Hosts on which a server may be.
    pub servers: usize,
    /// Clients.
    pub clients: usize,
    /// Calls that each client makes at the same time.
    pub workers: u64,
    /// How long there are faults.
    pub faults_for: Duration,
    /// The mean time between two faults.
    pub fault_every_ms: u64,
    /// How long a session lives without traffic.
    pub lease: Duration,
    /// How long it lives without a connection.
    pub linger: Duration,
    /// How long tokens last.
    pub token_lifetime: Duration,
    /// Keeps the trace in words.
    pub verbose: bool,
}

impl Config {
    /// What this seed decides.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, 0xc0f1);
        Self {
            seed,
            servers: usize::try_from(random.within(1..4)).unwrap_or(1),
            clients: usize::try_from(random.within(1..4)).unwrap_or(1),
            workers: random.within(1..4),
            faults_for: random.millis(6_000..14_000),
            fault_every_ms: random.within(100..700),
            lease: random.millis(2_000..15_000),
            linger: random.one_of(&[1_500, 20_000, 60_000, 60_000].map(Duration::from_millis)),
            token_lifetime: Duration::from_secs(random.one_of(&[6, 15, 600])),
            verbose: false,
        }
    }
}

/// One client as the world knows it.
#[derive(Debug, Default)]
pub struct Person {
    /// Its saved session, as if on its disk.
    pub saved: Mutex<Option<Vec<u8>>>,
    /// How often it was started.
    pub lives: AtomicU64,
    /// It has shown that everything works.
    pub is_done: AtomicBool,
    /// Uploads with names that it has not brought to their end: their parts, and its life that works on them.
    pub activities: Mutex<BTreeMap<String, (u64, Option<u64>)>>,
    /// How many others are to use its session, too.
    pub rivals: AtomicU64,
    /// What it does, for those who find that it does not end.
    pub doing: Mutex<String>,
}

/// How a server is stopped from within its host.
#[derive(Debug, Default)]
pub struct Orders {
    /// Close all connections and end.
    pub stop: Notify,
    /// Let what runs come to its end, for so long.
    pub drain: Notify,
}

/// How long a drain may take.
pub const DRAIN: Duration = Duration::from_secs(1);

/// One simulation.
#[derive(Debug)]
pub struct World {
    /// What the seed decided.
    pub config: Config,
    /// Who sees everything.
    pub witness: Arc<Witness>,
    /// The store of all servers.
    pub disk: Arc<Disk>,
    /// The clock of each server.
    pub walls: Vec<Wall>,
    /// How often each server was started.
    pub server_lives: Vec<AtomicU64>,
    /// The clients.
    pub people: Vec<Person>,
    /// What each server is told by its operator.
    pub orders: Vec<Orders>,
    /// Tokens that were given out.
    tokens: AtomicU64,
    /// Nobody gives out tokens.
    pub issuer_is_away: AtomicBool,
    serving: AtomicUsize,
    phase: AtomicU8,
}

impl World {
    /// A new one.
    pub fn new(config: Config) -> Arc<Self> {
        let witness = Witness::new(config.verbose);
        Arc::new(Self {
            disk: Disk::new(config.seed, Arc::clone(&witness)),
            witness,
            walls: (0..config.servers).map(|_| Wall::default()).collect(),
            server_lives: (0..config.servers).map(|_| AtomicU64::new(0)).collect(),
            orders: (0..config.servers).map(|_| Orders::default()).collect(),
            people: (0..config.clients).map(|_| Person::default()).collect(),
            tokens: AtomicU64::new(0),
            issuer_is_away: AtomicBool::new(false),
            serving: AtomicUsize::new(0),
            phase: AtomicU8::new(Phase::Work as u8),
            config,
        })
    }

    /// Which server is the one to reach.
    pub fn serving(&self) -> usize {
        self.serving.load(Ordering::Relaxed)
    }

    /// Has that server reached from now on.
    pub fn serve_from(&self, server: usize) {
        self.serving.store(server, Ordering::Relaxed);
    }

    /// Whether it is time to come to an end.
    pub fn is_healing(&self) -> bool {
        self.phase.load(Ordering::Relaxed) >= Phase::Heal as u8
    }

    /// Begins the phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The number of the next token.
    pub fn next_token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }
}

impl Person {
    /// What it has saved.
    pub fn saved(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads that have names.
    pub fn activities(&self) -> MutexGuard<'_, BTreeMap<String, (u64, Option<u64>)>> {
        self.activities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what it does.
    pub fn does(&self, what: String) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

/// The name of a server's host.
pub fn server_name(server: usize) -> String {
    format!("server-{server}")
}

/// The name of a client's host.
pub fn client_name(client: usize) -> String {
    format!("client-{client}")
}
