//! Sessions that nobody uses: what they cost a server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rpc_client::Session;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::unary::Delivery;
use super::{Case, Contest, Entry, Group, Load, Scope, equal};
use crate::error::BenchError;
use crate::harness::figures::{self, Column};
use crate::harness::results::{ContestResult, GroupResult, Round};
use crate::harness::{Settings, table};
use crate::pb::shared as pb;
use crate::protocol::{Counts, Measured};
use crate::variants::bare::{Bare, Kept, Owned};
use crate::variants::session;
use crate::variants::stubs::shared::EchoCaller;
use crate::variants::{Echo as _, EchoNeeds, Variant};

/// The server before anybody came, but for a few who made it touch its code and its tables.
const NOBODY: &str = "no sessions";
/// Longer than any run.
const KEPT: Kept = Kept { lease: Duration::from_secs(3_600), linger: Duration::from_secs(3_600) };
/// Sessions that are used in each round, to see that they are still there.
const SAMPLE: usize = 16;
/// Connections on which sessions are opened, where none is kept.
const CONNECTIONS: usize = 4;
/// Openings at the same time on each.
const IN_FLIGHT: usize = 64;
/// Clients that connect at the same time, where connections are kept.
const CONNECTING: usize = 32;
/// Whatever a server does after connections are lost is done by then.
const SETTLING: Duration = Duration::from_millis(500);

/// Who is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// It was opened, its connection carried it, and that is gone.
    Opened,
    /// The same after an AT_MOST_ONCE call, whose reply is kept.
    Used,
    /// The same call, and a connection of its own with the client that keeps it.
    Connected,
}

/// One case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Idle {
    /// How many.
    pub(crate) sessions: usize,
    /// Who.
    pub(crate) kind: Kind,
}

impl Idle {
    /// Opens them, and lets go of their connections.
    pub(super) async fn prepare(
        self,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<Box<dyn Load>, BenchError> {
        if variant != Variant::Session {
            return Err(BenchError::new("only sessions are idle without a connection"));
        }
        let sleepers = match self.kind {
            Kind::Opened | Kind::Used => Sleepers::Alone(address, self.open_alone(address).await?),
            Kind::Connected => Sleepers::Connected(self.open_connected(address).await?),
        };
        sleep(SETTLING).await;
        let mut idling = Idling { case: self, sleepers };
        // They are there without a connection: the first round does not find that out too late.
        idling.use_some().await?;
        sleep(SETTLING).await;
        Ok(Box::new(idling))
    }

    /// The sessions that were looked at were there.
    pub(super) fn check(self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        equal("calls", measured.operations, done.runs)
    }

    /// How long it takes to open them, at most.
    pub(super) fn patience(self) -> Duration {
        Duration::from_millis(self.sessions as u64)
    }

    async fn open_alone(self, address: SocketAddr) -> Result<Vec<Owned>, BenchError> {
        let mut tasks = JoinSet::new();
        let lanes = CONNECTIONS * IN_FLIGHT;
        for connection in 0..CONNECTIONS {
            let bare = Bare::connect(address).await?;
            for lane in 0..IN_FLIGHT {
                let lane = connection * IN_FLIGHT + lane;
                let count = self.sessions / lanes + usize::from(lane < self.sessions % lanes);
                tasks.spawn(self.open_some(bare.clone(), count));
            }
        }
        let (mut opened, mut kept) = (0, Vec::new());
        while let Some(done) = tasks.join_next().await {
            let (count, first) = done??;
            opened += count;
            kept.extend(first);
        }
        equal("sessions", self.sessions as u64, opened)?;
        kept.truncate(SAMPLE);
        Ok(kept)
    }

    /// One after the other. Keeps the first, which is idle for the longest time.
    async fn open_some(self, mut bare: Bare, count: usize) -> Result<(u64, Option<Owned>), BenchError> {
        let mut first = None;
        for _ in 0..count {
            let owned = bare.open(KEPT).await?;
            if self.kind == Kind::Used {
                bare.first_protected_call(&owned).await?;
            } else {
                bare.call(&owned).await?;
            }
            first.get_or_insert(owned);
        }
        Ok((count as u64, first))
    }

    async fn open_connected(
        self,
        address: SocketAddr,
    ) -> Result<Vec<(Session, EchoCaller<Session>)>, BenchError> {
        let opened = stream::iter(0..self.sessions).map(|_| open_connected(address));
        opened.buffer_unordered(CONNECTING).try_collect().await
    }
}

async fn open_connected(address: SocketAddr) -> Result<(Session, EchoCaller<Session>), BenchError> {
    let builder = session::builder(address, 1)?.service::<pb::echo_client::EchoClient<Session>>();
    let session = builder.lease(KEPT.lease).linger(KEPT.linger).open().await?;
    let needs = EchoNeeds { connections: 1, in_flight: 1, delivery: Delivery::AtMostOnceMemory, size: 16 };
    let mut caller = EchoCaller::new(session.clone(), needs);
    caller.echo(1).await?;
    Ok((session, caller))
}

enum Sleepers {
    /// A sample of those that have no connection.
    Alone(SocketAddr, Vec<Owned>),
    /// All that have one.
    Connected(Vec<(Session, EchoCaller<Session>)>),
}

struct Idling {
    case: Idle,
    sleepers: Sleepers,
}

/// What [`Measured::extra`] calls their number.
const SESSIONS: &str = "sessions";

impl Load for Idling {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        Box::pin(async move {
            let begin = Instant::now();
            let operations = self.use_some().await?;
            sleep(time.saturating_sub(begin.elapsed())).await;
            let wall_ns = begin.elapsed().as_nanos() as u64;
            let extra = [(SESSIONS.to_owned(), self.case.sessions as f64)].into();
            Ok(Measured { operations, wall_ns, extra, ..Measured::default() })
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        // Whoever is left ends with the server.
        Box::pin(async { Ok(()) })
    }
}

impl Idling {
    /// Makes a call in some of them. Tells in how many.
    async fn use_some(&mut self) -> Result<u64, BenchError> {
        match &mut self.sleepers {
            Sleepers::Alone(address, sample) => {
                let mut bare = Bare::connect(*address).await?;
                for owned in &*sample {
                    bare.call(owned).await?;
                }
                Ok(sample.len() as u64)
            }
            Sleepers::Connected(sessions) => {
                let step = (sessions.len() / SAMPLE).max(1);
                let mut used = 0;
                for (_, caller) in sessions.iter_mut().step_by(step) {
                    used += 1;
                    caller.echo(used).await?;
                }
                Ok(used)
            }
        }
    }
}

/// The group.
pub(crate) struct Idles;

impl Group for Idles {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn title(&self) -> &'static str {
        "Idle sessions: memory of the server, and its CPU with keepalive and timers"
    }

    fn unit(&self) -> &'static str {
        "calls"
    }

    /// Longer than the interval of keepalives.
    fn pace(&self, settings: Settings) -> Settings {
        settings.unless_quick(3, 21.0)
    }

    fn contests(&self, scope: Scope) -> Vec<Contest> {
        let mut contests = vec![
            contest(10_000, "10,000 opened", Kind::Opened),
            contest(10_000, "10,000 used once", Kind::Used),
        ];
        contests.push(contest(
            match scope {
                Scope::Full => 10_000,
                Scope::Quick => 2_000,
            },
            match scope {
                Scope::Full => "10,000 connected",
                Scope::Quick => "2,000 connected",
            },
            Kind::Connected,
        ));
        if scope == Scope::Full {
            contests.push(contest(100_000, "100,000 used once", Kind::Used));
        }
        contests
    }

    fn long(&self) -> Vec<Contest> {
        vec![
            contest(1_000_000, "1,000,000 opened", Kind::Opened),
            contest(1_000_000, "1,000,000 used once", Kind::Used),
        ]
    }

    fn smallest(&self) -> Vec<Contest> {
        vec![contest(100, "100 used once", Kind::Used), contest(20, "20 connected", Kind::Connected)]
    }

    fn table(&self, result: &GroupResult) -> String {
        let columns: [Column; 3] = [
            ("sessions", |round| figures::extra(round, SESSIONS)),
            ("server MiB", figures::server_mib),
            ("server CPU ms/s", figures::server_ms_per_s),
        ];
        let mut text = figures::table(result, &columns);
        for contest in &result.contests {
            if let Some(bytes) = bytes_each(contest) {
                text.push_str(&format!("\n{}: {} bytes each\n", contest.name, table::number(bytes)));
            }
        }
        text
    }
}

/// What one session more takes, by the difference to [`NOBODY`].
fn bytes_each(contest: &ContestResult) -> Option<f64> {
    let nobody = contest.entry(NOBODY)?;
    let others = contest.entries.iter().find(|entry| entry.name != NOBODY && entry.failed.is_none())?;
    let figure = |round: &Round| round.server_resident_bytes.map_or(f64::NAN, |bytes| bytes as f64);
    let sessions = |round: &Round| figures::extra(round, SESSIONS);
    let more = others.spread(figure).median - nobody.spread(figure).median;
    Some(more / (others.spread(sessions).median - nobody.spread(sessions).median))
}

fn contest(sessions: usize, name: &'static str, kind: Kind) -> Contest {
    let entry = |name, sessions, kind| {
        let case = Case::Idle(Idle { sessions, kind });
        Entry { name, variant: Variant::Session, durable: false, case }
    };
    let entries = vec![entry(NOBODY, SAMPLE, Kind::Used), entry(name, sessions, kind)];
    Contest { name: name.to_owned(), bytes: None, entries }
}
