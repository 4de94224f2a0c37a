//! All connections of all clients are cut at once, and all clients call again at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rpc_client::Session;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::unary::Delivery;
use super::{Case, Contest, Entry, Group, Load, Scope, equal};
use crate::error::BenchError;
use crate::harness::figures::{self, Column};
use crate::harness::results::{GroupResult, Round};
use crate::harness::table::BEST;
use crate::line::Lines;
use crate::protocol::{Counts, Latency, Measured};
use crate::variants::{Echo, EchoNeeds, Variant, reached};

/// Clients that connect at the same time when all is prepared.
const CONNECTING: usize = 32;
/// How long a call is made again that fails, where nobody does that for its caller.
const PATIENCE: Duration = Duration::from_secs(30);

/// One case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Storm {
    /// How many, each with a connection of its own.
    pub(crate) clients: usize,
    /// What their calls promise.
    pub(crate) delivery: Delivery,
}

impl Storm {
    /// Connects all, and has each make a call.
    pub(super) async fn prepare(
        self,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<Box<dyn Load>, BenchError> {
        let needs = EchoNeeds { connections: 1, in_flight: 1, delivery: self.delivery, size: 16 };
        let lines = Lines::new(address, Duration::ZERO, None);
        match variant {
            Variant::Session => {
                let sessions = stream::iter(0..self.clients).map(|_| reached::echo(address, &lines, needs));
                let sessions: Vec<_> = sessions.buffer_unordered(CONNECTING).try_collect().await?;
                let (sessions, callers): (Vec<_>, Vec<_>) = sessions.into_iter().unzip();
                Ok(Box::new(Storming::new(lines.clone(), callers, sessions)))
            }
            Variant::TonicBest => {
                let callers =
                    stream::iter(0..self.clients).map(|_| reached::tonic_echo(address, &lines, needs));
                let callers: Vec<_> = callers.buffer_unordered(CONNECTING).try_collect().await?;
                Ok(Box::new(Storming::new(lines.clone(), callers, Vec::new())))
            }
            Variant::Tonic | Variant::H2 => Err(BenchError::new("nobody connects anew for it")),
        }
    }

    /// Each call ran once where that is promised, and at least once where it was made until it was answered.
    pub(super) fn check(self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        if self.delivery == Delivery::Plain && done.runs > measured.operations {
            return Ok(());
        }
        equal("calls", measured.operations, done.runs)
    }

    /// How long it takes to connect them, at most.
    pub(super) fn patience(self) -> Duration {
        Duration::from_millis(10 * self.clients as u64)
    }
}

/// From the cut to the last answer, what [`Measured::extra`] calls it, in milliseconds.
const ALL: &str = "all answered ms";

struct Storming<E> {
    lines: Lines,
    callers: Vec<Arc<Mutex<E>>>,
    /// They live as long as this.
    _sessions: Vec<Session>,
    calls: u64,
}

impl<E: Echo> Storming<E> {
    fn new(lines: Lines, callers: Vec<E>, sessions: Vec<Session>) -> Self {
        let callers = callers.into_iter().map(|caller| Arc::new(Mutex::new(caller))).collect();
        Self { lines, callers, _sessions: sessions, calls: 0 }
    }

    /// Cuts all, and lets each call. Answers how long each took, and all together.
    async fn storm(&mut self) -> Result<(Vec<u32>, Duration), BenchError> {
        self.calls += 1;
        let index = self.calls;
        let begin = Instant::now();
        self.lines.cut();
        let mut tasks = JoinSet::new();
        for caller in &self.callers {
            tasks.spawn(call(Arc::clone(caller), index, begin));
        }
        let mut times = Vec::with_capacity(self.callers.len());
        while let Some(done) = tasks.join_next().await {
            times.push(u32::try_from(done??.as_nanos()).unwrap_or(u32::MAX));
        }
        Ok((times, begin.elapsed()))
    }
}

/// Calls until there is an answer. A session does that itself, so it answers at the first time.
async fn call<E: Echo>(caller: Arc<Mutex<E>>, index: u64, begin: Instant) -> Result<Duration, BenchError> {
    let mut caller = caller.lock().await;
    loop {
        match caller.echo(index).await {
            Ok(()) => return Ok(begin.elapsed()),
            Err(error) if begin.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

impl<E: Echo> Load for Storming<E> {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        Box::pin(async move {
            let begin = Instant::now();
            let (mut times, mut whole) = (Vec::new(), Vec::new());
            while whole.is_empty() || begin.elapsed() < time {
                let (mut each, all) = self.storm().await?;
                times.append(&mut each);
                whole.push(all.as_secs_f64() * 1e3);
            }
            whole.sort_by(f64::total_cmp);
            let all = whole.get(whole.len() / 2).copied().unwrap_or_default();
            Ok(Measured {
                operations: times.len() as u64,
                wall_ns: begin.elapsed().as_nanos() as u64,
                latency: Latency::of(times),
                extra: [(ALL.to_owned(), all)].into(),
                ..Measured::default()
            })
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        // Sessions that are let go of end with their lease.
        Box::pin(async { Ok(()) })
    }
}

/// The group.
pub(crate) struct Storms;

impl Group for Storms {
    fn name(&self) -> &'static str {
        "storm"
    }

    fn title(&self) -> &'static str {
        "All connections are cut at once: from the cut to each client's next answer"
    }

    fn unit(&self) -> &'static str {
        "calls"
    }

    fn contests(&self, scope: Scope) -> Vec<Contest> {
        match scope {
            Scope::Full => vec![contest(200), contest(2_000)],
            Scope::Quick => vec![contest(200)],
        }
    }

    fn smallest(&self) -> Vec<Contest> {
        vec![contest(10)]
    }

    fn table(&self, result: &GroupResult) -> String {
        let columns: [Column; 5] = [
            ("all answered, ms", |round| figures::extra(round, ALL)),
            ("p50 ms", |round| figures::p50_us(round) / 1e3),
            ("p99 ms", |round| figures::p99_us(round) / 1e3),
            ("server CPU µs a client", Round::server_us),
            ("client CPU µs a client", Round::client_us),
        ];
        figures::table(result, &columns)
    }
}

fn contest(clients: usize) -> Contest {
    let entries = [
        (BEST, Variant::TonicBest, Delivery::Plain),
        ("session, AT_MOST_ONCE, memory", Variant::Session, Delivery::AtMostOnceMemory),
    ];
    let entries = entries.map(|(name, variant, delivery)| {
        let case = Case::Storm(Storm { clients, delivery });
        Entry { name, variant, durable: false, case }
    });
    Contest { name: format!("{clients} clients, a connection each"), bytes: None, entries: entries.into() }
}
