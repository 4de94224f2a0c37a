//! The beginning of sessions: how long the first call takes, and how many are opened in a second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::unary::{Delivery, Unary};
use super::{Case, Contest, Entry, Group, Load, Scope, equal, release};
use crate::error::BenchError;
use crate::harness::table::{BEST, FLOOR, USUAL};
use crate::protocol::{Counts, Latency, Measured};
use crate::variants::bare::{Bare, Kept, Owned};
use crate::variants::{self, Echo, EchoNeeds, Variant, WithEcho};

/// Encoded size of the first call's messages, in bytes.
const SIZE: usize = 16;
/// Which of the sessions that were opened are used, to see that they are there.
const SAMPLE_EVERY: usize = 256;
/// Sessions that nobody uses end soon, so that they do not pile up from round to round. That work is measured, too.
const KEPT: Kept = Kept { lease: Duration::from_secs(1), linger: Duration::ZERO };

/// One case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Opening {
    /// A connection, a session on it where the variant has one, and a call with this promise, each time anew.
    FirstCall(Delivery),
    /// Sessions on one connection, so many openings at a time.
    Opens {
        /// At the same time.
        in_flight: usize,
    },
}

impl Opening {
    /// Connects where one connection does.
    pub(super) async fn prepare(
        self,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<Box<dyn Load>, BenchError> {
        Ok(match self {
            Self::FirstCall(delivery) => Box::new(Beginning { variant, address, delivery }),
            Self::Opens { in_flight } => Box::new(Opens { bare: Bare::connect(address).await?, in_flight }),
        })
    }

    /// Each first call ran, and each session that was looked at is there.
    pub(super) fn check(self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        match self {
            Self::FirstCall(_) => equal("calls", measured.operations, done.runs),
            Self::Opens { .. } => equal("sessions that were used", looked_at(measured), done.runs),
        }
    }
}

/// What [`Measured::extra`] calls the sessions that were used.
const USED: &str = "sessions used";

fn looked_at(measured: &Measured) -> u64 {
    measured.extra.get(USED).map_or(0, |used| *used as u64)
}

/// Begins again and again, one at a time.
struct Beginning {
    variant: Variant,
    address: SocketAddr,
    delivery: Delivery,
}

/// The first call of a new connection.
struct FirstCall;

impl WithEcho for FirstCall {
    type Output = BoxFuture<'static, Result<(), BenchError>>;

    fn with<E: Echo>(self, callers: Vec<E>) -> Self::Output {
        Box::pin(async move {
            for mut caller in callers {
                caller.echo(1).await?;
            }
            Ok(())
        })
    }
}

impl Beginning {
    async fn begin(&self) -> Result<Duration, BenchError> {
        let needs = EchoNeeds { connections: 1, in_flight: 1, delivery: self.delivery, size: SIZE };
        let begin = Instant::now();
        let connected = variants::echo(self.variant, self.address, needs, FirstCall).await?;
        connected.made.await?;
        let took = begin.elapsed();
        // Beside what is timed, but its CPU time counts.
        release(connected.session).await?;
        Ok(took)
    }
}

impl Load for Beginning {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        Box::pin(async move {
            let (until, mut times) = (Instant::now() + time, Vec::new());
            while times.is_empty() || Instant::now() < until {
                times.push(u32::try_from(self.begin().await?.as_nanos()).unwrap_or(u32::MAX));
            }
            Ok(Measured {
                operations: times.len() as u64,
                wall_ns: times.iter().map(|&time| u64::from(time)).sum(),
                latency: Latency::of(times),
                ..Measured::default()
            })
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Opens {
    bare: Bare,
    in_flight: usize,
}

impl Load for Opens {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        Box::pin(self.open_for(time))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Opens {
    async fn open_for(&mut self, time: Duration) -> Result<Measured, BenchError> {
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..self.in_flight {
            tasks.spawn(open(self.bare.clone(), begin + time));
        }
        let (mut times, mut numbers, mut used) = (Vec::new(), Vec::new(), 0);
        while let Some(done) = tasks.join_next().await {
            let mut opened = done??;
            times.append(&mut opened.times);
            numbers.append(&mut opened.numbers);
            used += opened.used;
        }
        let wall_ns = begin.elapsed().as_nanos() as u64;
        numbers.sort_unstable();
        numbers.dedup();
        equal("different sessions", times.len() as u64, numbers.len() as u64)?;
        let mut measured = Measured { operations: times.len() as u64, wall_ns, ..Measured::default() };
        measured.latency = Latency::of(times);
        measured.extra.insert(USED.into(), used as f64);
        Ok(measured)
    }
}

#[derive(Default)]
struct Opened {
    times: Vec<u32>,
    numbers: Vec<u64>,
    used: u64,
}

/// One opening after the other.
async fn open(mut bare: Bare, until: Instant) -> Result<Opened, BenchError> {
    let (mut opened, mut begin) = (Opened::default(), Instant::now());
    while begin < until || opened.times.is_empty() {
        let session: Owned = bare.open(KEPT).await?;
        let end = Instant::now();
        opened.times.push(u32::try_from((end - begin).as_nanos()).unwrap_or(u32::MAX));
        opened.numbers.push(session.number);
        begin = end;
        if opened.times.len() % SAMPLE_EVERY == 1 {
            bare.call(&session).await?;
            opened.used += 1;
            begin = Instant::now();
        }
    }
    Ok(opened)
}

/// The group.
pub(crate) struct Openings;

impl Group for Openings {
    fn name(&self) -> &'static str {
        "opening"
    }

    fn title(&self) -> &'static str {
        "The beginning: connections, sessions and first calls"
    }

    fn unit(&self) -> &'static str {
        "operations"
    }

    fn contests(&self, scope: Scope) -> Vec<Contest> {
        let in_flight: &[usize] = match scope {
            Scope::Full => &[1, 64, 256],
            Scope::Quick => &[1, 64],
        };
        let opens = in_flight.iter().map(|&in_flight| opens(in_flight));
        std::iter::once(first_calls()).chain(opens).collect()
    }
}

fn first_calls() -> Contest {
    let entries = [
        (USUAL, Variant::Tonic, Delivery::Plain),
        (BEST, Variant::TonicBest, Delivery::Plain),
        (FLOOR, Variant::H2, Delivery::Plain),
        ("session, plain call", Variant::Session, Delivery::Plain),
        ("session, AT_MOST_ONCE, memory", Variant::Session, Delivery::AtMostOnceMemory),
    ];
    let entries = entries.map(|(name, variant, delivery)| {
        let case = Case::Opening(Opening::FirstCall(delivery));
        Entry { name, variant, durable: false, case }
    });
    let name = "connect, open, first call; one after the other".into();
    Contest { name, bytes: None, entries: entries.into() }
}

/// Openings, and plain calls of tonic beside them.
fn opens(in_flight: usize) -> Contest {
    let call = Unary { delivery: Delivery::Plain, size: SIZE, in_flight, connections: 1 };
    let entry = |name, variant, case| Entry { name, variant, durable: false, case };
    let entries = vec![
        entry(BEST, Variant::TonicBest, Case::Unary(call)),
        entry("session, Open", Variant::Session, Case::Opening(Opening::Opens { in_flight })),
    ];
    Contest { name: format!("openings on one connection, {in_flight} at a time"), bytes: None, entries }
}
