//! Calls with one message each way: so many at a time, each sent when the one before it has been answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rpc_client::Session;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Case, Contest, Entry, Group, Load, Scope, equal, release};
use crate::error::BenchError;
use crate::harness::table::{BEST, FLOOR, USUAL};
use crate::protocol::{Counts, Latency, Measured};
use crate::variants::{self, Echo, EchoNeeds, Variant, WithEcho};

/// What a call promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Delivery {
    /// Nothing.
    Plain,
    /// It is sent again until it is answered.
    AtLeastOnce,
    /// It runs once or not at all, as long as the server lives.
    AtMostOnceMemory,
    /// The same, whatever becomes of the server.
    AtMostOnceDurable,
    /// Effect and reply are committed together.
    ExactlyOnce,
}

impl Delivery {
    /// Whether it is kept in a durable store.
    pub(crate) fn needs_store(self) -> bool {
        match self {
            Self::Plain | Self::AtLeastOnce | Self::AtMostOnceMemory => false,
            Self::AtMostOnceDurable | Self::ExactlyOnce => true,
        }
    }
}

/// One case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Unary {
    /// What the calls promise.
    pub(crate) delivery: Delivery,
    /// Encoded size of each message, in bytes.
    pub(crate) size: usize,
    /// Calls at the same time, over all connections.
    pub(crate) in_flight: usize,
    /// Connections.
    pub(crate) connections: usize,
}

impl Unary {
    /// Connects.
    pub(super) async fn prepare(
        self,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<Box<dyn Load>, BenchError> {
        let Self { delivery, size, in_flight, connections } = self;
        let needs = EchoNeeds { connections, in_flight, delivery, size };
        let connected = variants::echo(variant, address, needs, Prepare { in_flight }).await?;
        Ok(Box::new(Calling { calls: connected.made, session: connected.session }))
    }

    /// Each call was answered once, and its handler ran once.
    pub(super) fn check(self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        equal("calls", measured.operations, done.runs)
    }
}

/// Does calls for a while.
type Work = Box<dyn FnMut(Duration) -> BoxFuture<'static, Result<Measured, BenchError>> + Send>;

struct Prepare {
    in_flight: usize,
}

impl WithEcho for Prepare {
    type Output = Work;

    fn with<E: Echo>(self, callers: Vec<E>) -> Work {
        Box::new(move |time| Box::pin(run(callers.clone(), self.in_flight, time)))
    }
}

struct Calling {
    calls: Work,
    session: Option<Session>,
}

impl Load for Calling {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        (self.calls)(time)
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        Box::pin(release(self.session))
    }
}

/// A task for each call in flight, spread over the callers.
async fn run<E: Echo>(callers: Vec<E>, in_flight: usize, time: Duration) -> Result<Measured, BenchError> {
    let begin = Instant::now();
    let until = begin + time;
    let mut tasks = JoinSet::new();
    for (number, caller) in (0..in_flight as u64).zip(callers.iter().cycle()) {
        tasks.spawn(call(caller.clone(), number, in_flight as u64, until));
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.append(&mut done??);
    }
    Ok(Measured {
        operations: times.len() as u64,
        wall_ns: begin.elapsed().as_nanos() as u64,
        latency: Latency::of(times),
        ..Measured::default()
    })
}

/// One call after the other, each with an index that no other has.
async fn call<E: Echo>(
    mut caller: E,
    number: u64,
    step: u64,
    until: Instant,
) -> Result<Vec<u32>, BenchError> {
    let (mut times, mut index, mut begin) = (Vec::new(), number + 1, Instant::now());
    while begin < until {
        caller.echo(index).await?;
        let end = Instant::now();
        times.push(u32::try_from((end - begin).as_nanos()).unwrap_or(u32::MAX));
        (index, begin) = (index + step, end);
    }
    Ok(times)
}

/// The group.
pub(crate) struct Calls;

impl Group for Calls {
    fn name(&self) -> &'static str {
        "unary"
    }

    fn title(&self) -> &'static str {
        "Calls with one message each way"
    }

    fn unit(&self) -> &'static str {
        "calls"
    }

    fn contests(&self, scope: Scope) -> Vec<Contest> {
        let (sizes, in_flight, connections): (&[usize], &[usize], &[usize]) = match scope {
            Scope::Full => (&[16, 1_024], &[1, 64, 256], &[1, 4]),
            Scope::Quick => (&[16], &[1, 64], &[1]),
        };
        let mut contests = Vec::new();
        for &size in sizes {
            for &in_flight in in_flight {
                // More connections than calls would be idle ones.
                for &connections in connections.iter().filter(|&&connections| connections <= in_flight) {
                    contests.push(contest(size, in_flight, connections));
                }
            }
        }
        contests
    }
}

/// Who takes part.
const ENTRIES: [(&str, Variant, Delivery); 6] = [
    (USUAL, Variant::Tonic, Delivery::Plain),
    (BEST, Variant::TonicBest, Delivery::Plain),
    (FLOOR, Variant::H2, Delivery::Plain),
    ("session, plain", Variant::Session, Delivery::Plain),
    ("session, AT_LEAST_ONCE", Variant::Session, Delivery::AtLeastOnce),
    ("session, AT_MOST_ONCE, memory", Variant::Session, Delivery::AtMostOnceMemory),
];

fn contest(size: usize, in_flight: usize, connections: usize) -> Contest {
    let entries = ENTRIES.map(|(name, variant, delivery)| {
        let case = Case::Unary(Unary { delivery, size, in_flight, connections });
        Entry { name, variant, durable: false, case }
    });
    let plural = if connections == 1 { "" } else { "s" };
    let name = format!("{size} B, {in_flight} in flight, {connections} connection{plural}");
    Contest { name, bytes: None, entries: entries.into() }
}
