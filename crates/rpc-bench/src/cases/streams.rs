//! Streams of each kind: one at a time on one connection, as fast as they go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rpc_client::Session;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Case, Contest, Entry, Group, Load, Scope, equal, release};
use crate::error::BenchError;
use crate::harness::table::{BEST, FLOOR, USUAL};
use crate::protocol::{Counts, Measured};
use crate::variants::{self, Flow, FlowNeeds, Variant, WithFlow};

/// Who streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The server.
    Down,
    /// The client.
    Up,
    /// Both: the server sends back what it gets.
    Both,
}

/// Where sync points are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Points {
    /// Nowhere: a plain stream.
    None,
    /// After 40 messages, as the guide does.
    Kept,
    /// After 1 MiB.
    Sparse,
    /// After 1 MiB, and the source can be read again, so that nothing is kept. Not both ways.
    Reread,
    /// After 1 MiB, and the sides could say something beside the messages. Only both ways.
    Dialog,
}

/// One case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// Who streams.
    pub(crate) kind: Kind,
    /// Encoded size of each message, in bytes.
    pub(crate) size: usize,
    /// Where sync points are placed.
    pub(crate) points: Points,
    /// Whether the two sides compare BLAKE3 beside CRC32C.
    pub(crate) blake3: bool,
}

impl Stream {
    /// Connects.
    pub(super) async fn prepare(
        self,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<Box<dyn Load>, BenchError> {
        let Self { kind, points, size, blake3 } = self;
        let needs = FlowNeeds { points, size, blake3 };
        let connected = variants::flow(variant, address, needs, Prepare { kind }).await?;
        Ok(Box::new(Streaming { streams: connected.made, session: connected.session }))
    }

    /// Each message was given by one side and taken by the other, in one stream.
    pub(super) fn check(self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        let messages = measured.operations;
        let (received, sent) = match self.kind {
            Kind::Down => (0, messages),
            Kind::Up => (messages, 0),
            Kind::Both => (messages, messages),
        };
        equal("streams", 1, done.runs)?;
        equal("messages to the server", received, done.received)?;
        equal("messages of the server", sent, done.sent)
    }
}

/// Does a stream for a while.
type Work = Box<dyn FnMut(Duration) -> BoxFuture<'static, Result<Measured, BenchError>> + Send>;

struct Prepare {
    kind: Kind,
}

impl WithFlow for Prepare {
    type Output = Work;

    fn with<F: Flow>(self, caller: F) -> Work {
        let caller = Arc::new(Mutex::new(caller));
        Box::new(move |time| Box::pin(run(Arc::clone(&caller), self.kind, time)))
    }
}

struct Streaming {
    streams: Work,
    session: Option<Session>,
}

impl Load for Streaming {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        (self.streams)(time)
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        Box::pin(release(self.session))
    }
}

/// The lock is for the compiler: one stream runs at a time.
async fn run<F: Flow>(caller: Arc<Mutex<F>>, kind: Kind, time: Duration) -> Result<Measured, BenchError> {
    let mut caller = caller.lock_owned().await;
    let begin = Instant::now();
    let tally = match kind {
        Kind::Down => caller.down(time).await?,
        Kind::Up => caller.up(time).await?,
        Kind::Both => caller.both(time).await?,
    };
    let wall_ns = begin.elapsed().as_nanos() as u64;
    Ok(Measured { operations: tally.messages, wall_ns, ..Measured::default() })
}

/// The group.
pub(crate) struct Streams;

impl Group for Streams {
    fn name(&self) -> &'static str {
        "streams"
    }

    fn title(&self) -> &'static str {
        "Streams, one at a time, 1 connection"
    }

    fn unit(&self) -> &'static str {
        "messages"
    }

    fn contests(&self, scope: Scope) -> Vec<Contest> {
        let (kinds, sizes): (&[Kind], &[(usize, &str)]) = match scope {
            Scope::Full => (
                &[Kind::Down, Kind::Up, Kind::Both],
                &[(64, "64 B"), (1_024, "1 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")],
            ),
            Scope::Quick => {
                (&[Kind::Down, Kind::Up], &[(64, "64 B"), (1_024, "1 KiB"), (64 << 10, "64 KiB")])
            }
        };
        let mut contests = Vec::new();
        for &kind in kinds {
            for &(size, name) in sizes {
                contests.push(contest(kind, size, name));
            }
        }
        contests
    }
}

/// Who takes part: name, variant, sync points, BLAKE3.
const ENTRIES: [(&str, Variant, Points, bool); 9] = [
    (USUAL, Variant::Tonic, Points::None, false),
    (BEST, Variant::TonicBest, Points::None, false),
    (FLOOR, Variant::H2, Points::None, false),
    ("session, plain", Variant::Session, Points::None, false),
    ("session, a point each 40 messages", Variant::Session, Points::Kept, false),
    ("session, a point each MiB", Variant::Session, Points::Sparse, false),
    ("session, each MiB, source read again", Variant::Session, Points::Reread, false),
    ("session, each MiB, dialog", Variant::Session, Points::Dialog, false),
    ("session, each MiB, BLAKE3", Variant::Session, Points::Sparse, true),
];

fn contest(kind: Kind, size: usize, name: &str) -> Contest {
    let entries = ENTRIES.into_iter().filter(|(_, _, points, _)| match points {
        Points::Reread => kind != Kind::Both,
        Points::Dialog => kind == Kind::Both,
        Points::None | Points::Kept | Points::Sparse => true,
    });
    let entries = entries.map(|(name, variant, points, blake3)| {
        let case = Case::Stream(Stream { kind, size, points, blake3 });
        Entry { name, variant, durable: false, case }
    });
    let kind = match kind {
        Kind::Down => "server streaming",
        Kind::Up => "client streaming",
        Kind::Both => "both ways",
    };
    Contest { name: format!("{kind}, {name}"), bytes: Some(size as u64), entries: entries.collect() }
}
