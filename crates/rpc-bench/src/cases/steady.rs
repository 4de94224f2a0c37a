//! Everything at once, for minutes: whether the memory of the server stays where it is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rpc_client::Session;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::streams::Points;
use super::unary::Delivery;
use super::{Case, Contest, Entry, Group, Load, Scope, equal, release};
use crate::error::BenchError;
use crate::harness::Settings;
use crate::harness::figures::{self, Column};
use crate::harness::results::{EntryResult, GroupResult, Round};
use crate::harness::table;
use crate::line::Lines;
use crate::pb::shared as pb;
use crate::protocol::{Counts, Measured};
use crate::variants::stubs::shared::{EchoCaller, FlowCaller};
use crate::variants::{Echo as _, EchoNeeds, Flow as _, FlowNeeds, Variant, reached};

/// Encoded size of all messages, in bytes.
const SIZE: usize = 1_024;
/// Calls at the same time.
const IN_FLIGHT: usize = 32;
/// How long a stream is.
const STREAM: Duration = Duration::from_millis(400);
/// How often all connections are cut.
const CUT: Duration = Duration::from_secs(1);
/// Between two sessions that come and go.
const PAUSE: Duration = Duration::from_millis(100);
/// Length of a round, in seconds.
const ROUND: f64 = 5.0;

/// The case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Steady;

impl Steady {
    /// Opens a session over a line.
    pub(super) async fn prepare(
        self,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<Box<dyn Load>, BenchError> {
        if variant != Variant::Session {
            return Err(BenchError::new("only sessions outlive a cut"));
        }
        let lines = Lines::new(address, Duration::ZERO, None);
        let session = reached::builder(address, &lines)?
            .service::<pb::echo_client::EchoClient<Session>>()
            .service::<pb::flow_client::FlowClient<Session>>()
            .open()
            .await?;
        Ok(Box::new(Mixed { address, lines, session }))
    }

    /// All calls and messages, each once.
    pub(super) fn check(self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        let figure = |name| measured.extra.get(name).map_or(0, |figure| *figure as u64);
        let calls = measured.operations;
        equal("calls and streams", calls + figure(STREAMS), done.runs)?;
        equal("messages to the server", calls + figure(UP), done.received)?;
        equal("messages of the server", calls + figure(DOWN), done.sent)
    }
}

const STREAMS: &str = "streams";
const UP: &str = "messages up";
const DOWN: &str = "messages down";
const SESSIONS: &str = "sessions";

#[derive(Default)]
struct Done {
    calls: u64,
    streams: u64,
    up: u64,
    down: u64,
    sessions: u64,
}

struct Mixed {
    address: SocketAddr,
    lines: Lines,
    session: Session,
}

impl Load for Mixed {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        Box::pin(self.load(time))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        Box::pin(release(Some(self.session)))
    }
}

impl Mixed {
    async fn load(&mut self, time: Duration) -> Result<Measured, BenchError> {
        let begin = Instant::now();
        let until = begin + time;
        let mut tasks = JoinSet::new();
        for lane in 0..IN_FLIGHT as u64 {
            tasks.spawn(calls(self.session.clone(), lane + 1, until));
        }
        tasks.spawn(streams(self.session.clone(), Points::Kept, until));
        tasks.spawn(streams(self.session.clone(), Points::Sparse, until));
        tasks.spawn(sessions(self.address, self.lines.clone(), until));
        let all = async {
            let mut sum = Done::default();
            while let Some(done) = tasks.join_next().await {
                let Done { calls, streams, up, down, sessions } = done??;
                sum.calls += calls;
                sum.streams += streams;
                sum.up += up;
                sum.down += down;
                sum.sessions += sessions;
            }
            Ok::<_, BenchError>(sum)
        };
        let sum = tokio::select! {
            sum = all => sum?,
            () = cut(&self.lines) => return Err(BenchError::new("cutting ended")),
        };
        let figures = [(STREAMS, sum.streams), (UP, sum.up), (DOWN, sum.down), (SESSIONS, sum.sessions)];
        Ok(Measured {
            operations: sum.calls,
            wall_ns: begin.elapsed().as_nanos() as u64,
            extra: figures.map(|(name, figure)| (name.to_owned(), figure as f64)).into(),
            ..Measured::default()
        })
    }
}

/// For ever.
async fn cut(lines: &Lines) {
    let mut cuts = interval(CUT);
    cuts.tick().await;
    loop {
        cuts.tick().await;
        lines.cut();
    }
}

/// What each caller needs. Calls that may run twice when their connection is cut could not be counted.
const NEEDS: EchoNeeds =
    EchoNeeds { connections: 1, in_flight: 1, delivery: Delivery::AtMostOnceMemory, size: SIZE };

async fn calls(session: Session, lane: u64, until: Instant) -> Result<Done, BenchError> {
    let (mut caller, mut done) = (EchoCaller::new(session, NEEDS), Done::default());
    while Instant::now() < until {
        done.calls += 1;
        caller.echo((lane << 40) | done.calls).await?;
    }
    Ok(done)
}

/// Up and down in turns.
async fn streams(session: Session, points: Points, until: Instant) -> Result<Done, BenchError> {
    let needs = FlowNeeds { points, size: SIZE, blake3: false };
    let (mut caller, mut done) = (FlowCaller::new(session, needs), Done::default());
    while Instant::now() < until {
        let time = STREAM.min(until - Instant::now());
        done.up += caller.up(time).await?.messages;
        done.down += caller.down(time).await?.messages;
        done.streams += 2;
    }
    Ok(done)
}

/// Sessions that come, make a call and go.
async fn sessions(address: SocketAddr, lines: Lines, until: Instant) -> Result<Done, BenchError> {
    let mut done = Done::default();
    while Instant::now() < until {
        let (session, mut caller) = reached::echo(address, &lines, NEEDS).await?;
        caller.echo(1).await?;
        session.release().await.map_err(|error| BenchError::of(&error))?;
        done.calls += 1;
        done.sessions += 1;
        sleep(PAUSE).await;
    }
    Ok(done)
}

/// The group.
pub(crate) struct Steadiness;

impl Group for Steadiness {
    fn name(&self) -> &'static str {
        "steady"
    }

    fn title(&self) -> &'static str {
        "Memory of the server under calls, streams, cuts, and sessions that come and go"
    }

    fn unit(&self) -> &'static str {
        "calls"
    }

    fn pace(&self, settings: Settings) -> Settings {
        settings.for_minutes(ROUND)
    }

    fn contests(&self, _: Scope) -> Vec<Contest> {
        let case = Case::Steady(Steady);
        let entry = Entry { name: "session", variant: Variant::Session, durable: false, case };
        vec![Contest { name: "mixed load".into(), bytes: None, entries: vec![entry] }]
    }

    fn table(&self, result: &GroupResult) -> String {
        let columns: [Column; 5] = [
            ("calls/s", Round::rate),
            ("messages/s", |round| {
                let messages = figures::extra(round, UP) + figures::extra(round, DOWN);
                messages * 1e9 / round.client.wall_ns as f64
            }),
            ("sessions/s", |round| figures::extra(round, SESSIONS) * 1e9 / round.client.wall_ns as f64),
            ("server CPU ms/s", figures::server_ms_per_s),
            ("server MiB", figures::server_mib),
        ];
        let mut text = figures::table(result, &columns);
        for entry in result.contests.iter().flat_map(|contest| &contest.entries) {
            if let Some((first, last)) = thirds(entry) {
                let (first, last) = (table::number(first), table::number(last));
                text.push_str(&format!(
                    "\nServer MiB, first third of the time: {first}, last third: {last}\n"
                ));
            }
        }
        text
    }
}

/// The means of the first and of the last third of the rounds.
fn thirds(entry: &EntryResult) -> Option<(f64, f64)> {
    let third = entry.rounds.len() / 3;
    let mean = |rounds: &[Round]| rounds.iter().map(figures::server_mib).sum::<f64>() / rounds.len() as f64;
    if third == 0 {
        return None;
    }
    Some((mean(entry.rounds.get(..third)?), mean(entry.rounds.get(entry.rounds.len() - third..)?)))
}
