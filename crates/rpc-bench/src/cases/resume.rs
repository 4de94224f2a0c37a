//! Streams whose connection is cut again and again: how long it takes from the moment the next one is up to the first
//! message that could not come over the one before, and what is sent twice.
//!
//! That no round trip is added shows where the way to the server is long: what is up can be asked for one thing and answer
//! it, and a new stream takes just that. A stream that goes on may not take more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rpc_client::Session;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::streams::{Kind, Points};
use super::{Case, Contest, Entry, Group, Load, Scope, equal, release};
use crate::error::BenchError;
use crate::harness::figures::{self, Column};
use crate::harness::results::{GroupResult, Round};
use crate::line::{Lines, Record};
use crate::payload::{self, Tally};
use crate::pb::shared as pb;
use crate::protocol::{Counts, Latency, Measured};
use crate::variants::{Variant, reached};

/// How long messages come before the next cut.
const GAP: Duration = Duration::from_millis(8);
/// No cut so soon before the end, where there may be no message left to wait for.
const LAST_CUT: Duration = Duration::from_millis(10);

/// One case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Resume {
    /// Who streams. Where it is both, one message is on its way at a time.
    pub(crate) kind: Kind,
    /// Encoded size of each message, in bytes.
    pub(crate) size: usize,
    /// Where sync points are placed; with none there is nothing to go on with, and the call is made anew.
    pub(crate) points: Points,
    /// The time of a round trip that is added to the way, in milliseconds.
    pub(crate) round_trip_ms: u64,
}

impl Resume {
    /// Opens a session over a line that can be cut.
    pub(super) async fn prepare(
        self,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<Box<dyn Load>, BenchError> {
        if variant != Variant::Session {
            return Err(BenchError::new("only sessions go on"));
        }
        let record = Arc::new(Record::default());
        let delay = Duration::from_millis(self.round_trip_ms);
        let lines = Lines::new(address, delay, Some(Arc::clone(&record)));
        let builder = reached::builder(address, &lines)?;
        let session = builder.service::<pb::flow_client::FlowClient<Session>>().open().await?;
        let flow = pb::flow_client::FlowClient::new(session.clone());
        let data = payload::data(self.size).into();
        Ok(Box::new(Resuming { case: self, lines, record, session, flow, data }))
    }

    /// The handlers gave what was received, in one run where the stream goes on.
    pub(super) fn check(self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        let figure = |name| measured.extra.get(name).map_or(0, |figure| *figure as u64);
        equal("connections", figure(CUTS), figure(CONNECTIONS))?;
        equal("streams", figure(STREAMS), done.runs)?;
        if self.points != Points::None {
            equal("streams", 1, done.runs)?;
            equal("messages of the server", measured.operations, done.sent)?;
            let received = if self.kind == Kind::Down { 0 } else { measured.operations };
            equal("messages to the server", received, done.received)?;
        }
        Ok(())
    }
}

const CUTS: &str = "cuts";
const CONNECTIONS: &str = "connections after cuts";
const STREAMS: &str = "streams";
const AGAIN: &str = "bytes again per cut";
const TRIP: &str = "round trip ms";

struct Resuming {
    case: Resume,
    lines: Lines,
    record: Arc<Record>,
    session: Session,
    flow: pb::flow_client::FlowClient<Session>,
    data: bytes::Bytes,
}

impl Load for Resuming {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        Box::pin(self.cut_for(time))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        Box::pin(release(Some(self.session)))
    }
}

/// What one run came to.
#[derive(Default)]
struct Run {
    messages: u64,
    streams: u64,
    resumed: Vec<u32>,
}

impl Resuming {
    async fn cut_for(&mut self, time: Duration) -> Result<Measured, BenchError> {
        let before = self.record.totals();
        let begin = Instant::now();
        let run = self.stream(begin + time).await?;
        let wall_ns = begin.elapsed().as_nanos() as u64;
        let after = self.record.totals();
        let cuts = after.cuts - before.cuts;
        equal("cuts that messages came after", cuts, run.resumed.len() as u64)?;
        let mut measured = Measured { operations: run.messages, wall_ns, ..Measured::default() };
        measured.latency = Latency::of(run.resumed);
        let connections = after.connections - before.connections;
        let again = (after.bytes_again - before.bytes_again) as f64 / cuts.max(1) as f64;
        let figures = [
            (CUTS, cuts as f64),
            (CONNECTIONS, connections as f64),
            (STREAMS, run.streams as f64),
            (AGAIN, again),
            (TRIP, self.case.round_trip_ms as f64),
        ];
        measured.extra = figures.map(|(name, figure)| (name.to_owned(), figure)).into();
        Ok(measured)
    }

    /// Takes messages until the time is over, and cuts the connection meanwhile.
    async fn stream(&mut self, until: Instant) -> Result<Run, BenchError> {
        let mut run = Run::default();
        let mut next_cut = Instant::now() + GAP.max(self.case.round_trip() * 2);
        loop {
            self.record.begin();
            run.streams += 1;
            let (mut tally, mut last) = (Tally::default(), None);
            let (mut messages, mut requests) =
                self.begin(until.saturating_duration_since(Instant::now())).await?;
            loop {
                let message = match messages.message().await {
                    Ok(Some(message)) => message,
                    Ok(None) => {
                        run.messages += tally.messages;
                        return Ok(run);
                    }
                    // It was cut, and is made anew.
                    Err(_) if self.case.points == Points::None && last == Some(next_cut) => break,
                    Err(status) => return Err(status.into()),
                };
                tally.take(message.index, &message.data, &self.data)?;
                let now = Instant::now();
                self.answer(&mut requests, message.index, now < until).await;
                if let Some(took) = self.record.resumed(message.index) {
                    run.resumed.push(u32::try_from(took).unwrap_or(u32::MAX));
                    next_cut = now + self.case.gap();
                } else if now >= next_cut && last != Some(next_cut) && now + self.case.last_cut() < until {
                    self.lines.cut();
                    last = Some(next_cut);
                }
            }
            run.messages += tally.messages;
        }
    }

    async fn begin(&mut self, time: Duration) -> Result<(Streaming<pb::Payload>, Requests), Status> {
        if self.case.kind == Kind::Down {
            let order = pb::Order { nanoseconds: time.as_nanos() as u64, size: self.case.size as u64 };
            let response = match self.case.points {
                Points::None => self.flow.down(order).await?,
                Points::Kept => self.flow.down_kept(order).await?,
                Points::Sparse | Points::Reread | Points::Dialog => self.flow.down_sparse(order).await?,
            };
            return Ok((response.into_inner(), None));
        }
        let (requests, sent) = mpsc::channel(1);
        let mut requests = Some(requests);
        self.answer(&mut requests, 0, true).await;
        let sent = ReceiverStream::new(sent);
        let response = match self.case.points {
            Points::None => self.flow.both(sent).await?,
            Points::Kept => self.flow.both_kept(sent).await?,
            Points::Sparse | Points::Reread => self.flow.both_sparse(sent).await?,
            Points::Dialog => self.flow.both_dialog(sent).await?,
        };
        Ok((response.into_inner(), requests))
    }

    /// Sends the message after this one, or ends the requests.
    async fn answer(&self, requests: &mut Requests, index: u64, goes_on: bool) {
        let Some(open) = requests else { return };
        let message = pb::Payload { index: index + 1, data: self.data.clone() };
        // A stream that is over says so where its responses are read.
        if !goes_on || open.send(message).await.is_err() {
            *requests = None;
        }
    }
}

/// Where the requests of a stream are put; `None`: it has none, or no more.
type Requests = Option<mpsc::Sender<pb::Payload>>;

impl Resume {
    fn round_trip(self) -> Duration {
        Duration::from_millis(self.round_trip_ms)
    }

    fn gap(self) -> Duration {
        GAP + self.round_trip()
    }

    fn last_cut(self) -> Duration {
        LAST_CUT + self.round_trip() * 4
    }
}

/// The group.
pub(crate) struct Resumes;

impl Group for Resumes {
    fn name(&self) -> &'static str {
        "resume"
    }

    fn title(&self) -> &'static str {
        "Streams of responses whose connection is cut, from the server's SETTINGS on the next one to the next message"
    }

    fn unit(&self) -> &'static str {
        "messages"
    }

    fn contests(&self, scope: Scope) -> Vec<Contest> {
        let cases: &[(Kind, usize, &str, u64)] = match scope {
            Scope::Full => &[
                (Kind::Both, 1_024, "one message at a time, 1 KiB", 0),
                (Kind::Both, 1_024, "the same, 20 ms away", 20),
                (Kind::Down, 64, "server streaming, 64 B", 0),
                (Kind::Down, 1_024, "server streaming, 1 KiB", 0),
                (Kind::Down, 64 << 10, "server streaming, 64 KiB", 0),
                (Kind::Down, 1_024, "server streaming, 1 KiB, 20 ms away", 20),
            ],
            Scope::Quick => &[
                (Kind::Both, 1_024, "one message at a time, 1 KiB", 0),
                (Kind::Both, 1_024, "the same, 20 ms away", 20),
                (Kind::Down, 1_024, "server streaming, 1 KiB", 0),
            ],
        };
        cases.iter().map(|&(kind, size, name, round_trip)| contest(kind, size, name, round_trip)).collect()
    }

    fn table(&self, result: &GroupResult) -> String {
        let trips = |round: &Round| {
            let trip = round.client.extra.get(TRIP).copied().unwrap_or(0.0);
            if trip == 0.0 { f64::NAN } else { figures::p50_us(round) / 1e3 / trip }
        };
        let columns: [Column; 7] = [
            ("cuts", |round| figures::extra(round, CUTS)),
            ("p50 µs", figures::p50_us),
            ("p99 µs", figures::p99_us),
            ("bytes sent again a cut", |round| figures::extra(round, AGAIN)),
            ("round trips", trips),
            ("messages/s", Round::rate),
            ("CPU µs a message", Round::both_us),
        ];
        figures::table(result, &columns)
    }
}

const ENTRIES: [(&str, Points); 3] = [
    ("session, a point each 40 messages", Points::Kept),
    ("session, a point each MiB", Points::Sparse),
    ("session, no points: called again", Points::None),
];

fn contest(kind: Kind, size: usize, name: &str, round_trip_ms: u64) -> Contest {
    let entries = ENTRIES.map(|(name, points)| {
        let case = Case::Resume(Resume { kind, size, points, round_trip_ms });
        Entry { name, variant: Variant::Session, durable: false, case }
    });
    Contest { name: name.to_owned(), bytes: None, entries: entries.into() }
}
