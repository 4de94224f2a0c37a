//! Outside of the simulation: what handlers did, what callers asked and were told, and the trace of it all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rpc_client::{CallId, SessionId};
use rpc_core::record::Write;
use rpc_core::store::WriteError;
use xxhash_rust::xxh3::Xxh3;

use crate::turns::Talk;

/// What kind of call it is: one for each promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Without promise.
    Plain,
    /// AT_LEAST_ONCE.
    Least,
    /// AT_MOST_ONCE, recorded in memory.
    Memory,
    /// AT_MOST_ONCE.
    Durable,
    /// AT_MOST_ONCE, idempotent.
    Again,
    /// AT_MOST_ONCE, stopped when its caller gives up.
    Stoppable,
    /// EXACTLY_ONCE.
    Book,
    /// AT_MOST_ONCE, one at a time in all sessions of a principal.
    Sole,
    /// AT_MOST_ONCE, recorded in memory, one at a time in a session.
    SoleHere,
    /// A durable stream of requests.
    Upload,
    /// The same in memory.
    UploadLive,
    /// A durable stream of responses.
    Download,
    /// The same in memory.
    DownloadLive,
    /// Durable streams in both directions.
    Chat,
    /// The same in memory.
    ChatLive,
    /// Durable streams in both directions, one at a time.
    Talk,
    /// The same in memory.
    TalkLive,
    /// A durable stream of requests that works on an activity.
    Activity,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Plain,
        Self::Least,
        Self::Memory,
        Self::Durable,
        Self::Again,
        Self::Stoppable,
        Self::Book,
        Self::Sole,
        Self::SoleHere,
        Self::Upload,
        Self::UploadLive,
        Self::Download,
        Self::DownloadLive,
        Self::Chat,
        Self::ChatLive,
        Self::Talk,
        Self::TalkLive,
        Self::Activity,
    ];

    /// Calls of one message each way.
    pub const UNARY: &[Self] = Self::ALL.split_at(9).0;
    /// Streams.
    pub const STREAMS: &[Self] = Self::ALL.split_at(9).1;

    /// Whether its handler begins again at a restarted server, where the last one was secured.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Upload | Self::Download | Self::Chat | Self::Talk | Self::Activity)
    }

    /// Whether it streams.
    pub fn streams(self) -> bool {
        self.goes_on()
            || matches!(self, Self::UploadLive | Self::DownloadLive | Self::ChatLive | Self::TalkLive)
    }

    /// Whether its handler never runs twice to an effect.
    pub fn runs_once(self) -> bool {
        !self.goes_on() && !matches!(self, Self::Least | Self::Again | Self::Book)
    }
}

/// How far the handler of a run came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It came to its end with a success.
    Answered,
    /// It came to its end with an error of its own.
    Failed,
    /// It was dropped on the way, or panicked.
    Dropped,
}

/// One run of a handler.
#[derive(Debug, Clone)]
pub struct Run {
    /// Of all runs.
    pub number: u64,
    /// Of all events.
    pub began: u64,
    /// When, in simulated time.
    pub began_at: Duration,
    /// The server, and which of its lives.
    pub server: (usize, u64),
    /// What it was called with.
    pub id: String,
    /// The method.
    pub kind: Kind,
    /// Whose session the handler saw.
    pub subject: String,
    /// The session and call that it saw.
    pub session: Option<(SessionId, Option<CallId>)>,
    /// Messages of the request that it did not have to see again.
    pub from: u64,
    /// Whether its effect happened.
    pub had_effect: bool,
    /// How it ended, and when; `None` while it runs.
    pub ended: Option<(u64, Ending)>,
}

/// What a caller was told of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The reply: of which run, and how often the id and all ids were booked then.
    Replied {
        /// The run.
        run: u64,
        /// Bookings of the id.
        count: u64,
        /// Bookings of all ids.
        total: u64,
    },
    /// It streamed to its end, and all was as it should be.
    Streamed,
    /// The handler's own error or panic: it ran.
    Failed(String),
    /// It never ran.
    NotExecuted(String),
    /// Nobody knows.
    Unknown(String),
    /// The caller gave it up.
    Cancelled,
}

/// A call that was begun.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When, among all events.
    pub order: u64,
    /// The client, and which of its lives.
    pub client: (usize, u64),
    /// In which session.
    pub session: SessionId,
    /// What was called.
    pub kind: Kind,
    /// The parts of its stream.
    pub parts: u64,
    /// What it was told, and when. `None` where its process died.
    pub told: Option<(u64, What)>,
    /// Which call of the session it was, where the caller learned that.
    pub call: Option<CallId>,
    /// Attempts that may have arrived, where the caller was answered.
    pub attempts: u32,
    /// A recorded reply that was asked for afterwards.
    pub queried: Option<Bytes>,
    /// The reply as it came.
    pub reply: Option<Bytes>,
}

/// A write that reached the medium, or was refused by the rules of the store.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When, among all events.
    pub order: u64,
    /// Which opening of the store made it.
    pub mount: u64,
    /// The write.
    pub write: Write,
    /// The answer.
    pub answer: Result<(), WriteError>,
}

/// An end of a session from a client's view.
#[derive(Debug, Clone)]
pub struct Over {
    /// When, among all events.
    pub order: u64,
    /// When, in simulated time.
    pub at: Duration,
    /// The client, and which of its lives.
    pub client: (usize, u64),
    /// The session.
    pub session: SessionId,
    /// Whether the client released it.
    pub released: bool,
    /// Another client had its ticket too.
    pub contested: bool,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Runs of handlers, in the order of their beginning.
    pub runs: Vec<Run>,
    /// Calls by their ids.
    pub asked: BTreeMap<String, Asked>,
    /// Writes of all stores, in the order in which they were made.
    pub journal: Vec<Entry>,
    /// Which life of which server opened the store, and when.
    pub mounts: Vec<(u64, (usize, u64))>,
    /// Sessions that ended for their clients.
    pub over: Vec<Over>,
    /// From when and until when a server ran that another had replaced.
    pub two_servers: Vec<(Duration, Duration)>,
    /// Sessions that two clients used at the same time.
    pub contested: BTreeSet<SessionId>,
    /// Calls of an exclusive class, by their ids, that came one after another.
    pub queues: Vec<Vec<String>>,
    /// Files of uploads: how many parts are in each.
    pub files: BTreeMap<String, u64>,
    /// Half-duplex streams, by the ids of their calls.
    pub talks: BTreeMap<String, Talk>,
    /// How far callers know their streams to be secured.
    pub secured: BTreeMap<String, u64>,
    /// What was found wrong while it happened.
    pub violations: Vec<Violation>,
    /// The last event.
    pub order: u64,
}

#[derive(Default)]
struct Inner {
    seen: Seen,
    trace: Xxh3,
    /// Lines of the trace, where they are wanted.
    lines: Option<Vec<String>>,
    /// A host dies: its tasks are dropped in an order that is tokio's, and not the seed's.
    dying: bool,
}

/// Sees everything. One for each simulation.
#[derive(Default)]
pub struct Witness {
    inner: Mutex<Inner>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

impl Witness {
    /// One that keeps the trace in words, too, if that is wanted.
    pub fn new(verbose: bool) -> Arc<Self> {
        let inner = Inner { lines: verbose.then(Vec::new), ..Inner::default() };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// Adds bytes that a host read or wrote.
    pub fn trace(&self, what: u8, bytes: &[u8]) {
        let mut inner = self.lock();
        if inner.dying {
            return;
        }
        let at = now();
        inner.trace.update(&[what]);
        inner.trace.update(&at.as_nanos().to_le_bytes());
        inner.trace.update(&bytes.len().to_le_bytes());
        inner.trace.update(bytes);
        if let Some(lines) = &mut inner.lines
            && std::env::var_os("SESSION_SIM_BYTES").is_some()
        {
            let start = &bytes[..bytes.len().min(200)];
            lines.push(format!(
                "{at:?} {} {} bytes: {}",
                char::from(what),
                bytes.len(),
                start.escape_ascii()
            ));
        }
    }

    /// Lets a host die, by `crash`. What its tasks say as they are dropped is no event, because they do in any order.
    pub fn death(&self, crash: impl FnOnce()) {
        self.lock().dying = true;
        crash();
        self.lock().dying = false;
    }

    /// Adds an event, and says when it was.
    pub fn event(&self, what: impl FnOnce() -> String) -> u64 {
        self.lock().event(what)
    }

    /// Something is wrong.
    pub fn violation(&self, invariant: &'static str, what: String) {
        let mut inner = self.lock();
        inner.event(|| format!("VIOLATION of {invariant}: {what}"));
        inner.seen.violations.push(Violation { invariant, what });
    }

    /// Looks at, and changes, what was seen; `act` is given the order of this event, which `what` describes.
    pub fn note<T>(&self, what: impl FnOnce() -> String, act: impl FnOnce(&mut Seen, u64) -> T) -> T {
        let mut inner = self.lock();
        let order = inner.event(what);
        act(&mut inner.seen, order)
    }

    /// Looks at what was seen.
    pub fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.lock().seen)
    }

    /// A hash of all that happened, and when.
    pub fn hash(&self) -> u64 {
        self.lock().trace.digest()
    }

    /// The trace in words, where it was wanted.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn event(&mut self, what: impl FnOnce() -> String) -> u64 {
        let what = what();
        if self.dying {
            return self.seen.order;
        }
        self.seen.order += 1;
        self.trace.update(&now().as_nanos().to_le_bytes());
        self.trace.update(what.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:?} #{} {what}", now(), self.seen.order));
        }
        self.seen.order
    }
}

/// Simulated time; zero outside of the simulation's hosts.
pub fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
