//! What driver and workers say to each other: one JSON value a line, on standard input and output.
//!
//! A worker is told by its first line what it [is](Launch). A server then answers where it listens, and a [`Mark`] for
//! each [`Command::Mark`]. A client is told to [prepare](Command::Prepare) a case, which connects, and to
//! [run](Command::Run) it, as often as the driver likes; each run is answered with what was [`Measured`] in it. Both end
//! when their input does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cases::Case;
use crate::variants::Variant;

/// The first line: what a worker is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Launch {
    /// It serves, on a port that the system chooses.
    Server {
        /// By what.
        variant: Variant,
        /// Where the store is; `None`: in memory.
        store: Option<PathBuf>,
    },
    /// It calls.
    Client {
        /// By what.
        variant: Variant,
        /// Whom.
        address: SocketAddr,
        /// A directory on a disk, which the driver removes.
        scratch: PathBuf,
    },
}

/// Every other line to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    /// To either: what have you used and done so far?
    Mark,
    /// To a client: connect for this case, and forget the one before.
    Prepare(Case),
    /// To a client: do it for about this long.
    Run {
        /// Seconds.
        seconds: f64,
    },
}

/// What a worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// A server serves here. Without being asked, once.
    Listening(SocketAddr),
    /// To [`Command::Mark`].
    Mark(Mark),
    /// To [`Command::Prepare`].
    Prepared,
    /// To [`Command::Run`].
    Measured(Box<Measured>),
    /// To any: it did not work. The worker is of no more use.
    Failed(String),
}

/// A moment in the life of a worker.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// CPU time of the process so far, user and system, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Memory in use. `None` where the system does not tell.
    pub(crate) resident_bytes: Option<u64>,
    /// What handlers did so far; zero in a client.
    pub(crate) counts: Counts,
}

/// What handlers did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Handlers that were begun.
    pub(crate) runs: u64,
    /// Messages that they took, requests of calls with one message included.
    pub(crate) received: u64,
    /// Messages that they gave.
    pub(crate) sent: u64,
}

impl Counts {
    /// What was done since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            runs: self.runs - earlier.runs,
            received: self.received - earlier.received,
            sent: self.sent - earlier.sent,
        }
    }
}

/// What a client did in one run. All of it was checked: what came back is what was sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Calls or messages, whichever the case counts.
    pub(crate) operations: u64,
    /// From the beginning of the first to the end of the last, in nanoseconds.
    pub(crate) wall_ns: u64,
    /// CPU time of the client in the run, in nanoseconds. The worker fills it in.
    pub(crate) cpu_ns: u64,
    /// How long an operation took, where each was timed.
    pub(crate) latency: Option<Latency>,
    /// What else the case has to tell, by name.
    #[serde(default)]
    pub(crate) extra: BTreeMap<String, f64>,
}

/// How long operations took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Half of them took no longer, in nanoseconds.
    pub(crate) p50_ns: u64,
    /// 99 of 100 took no longer, in nanoseconds.
    pub(crate) p99_ns: u64,
}

impl Latency {
    /// Of these times, in nanoseconds; `None` of none.
    pub(crate) fn of(mut times: Vec<u32>) -> Option<Self> {
        let last = times.len().checked_sub(1)?;
        let mut at = |percent: usize| u64::from(*times.select_nth_unstable(last * percent / 100).1);
        Some(Self { p50_ns: at(50), p99_ns: at(99) })
    }
}
