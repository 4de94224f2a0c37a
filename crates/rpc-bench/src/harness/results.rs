//! What came of it: all of this is in the JSON.

use std::fmt;
use std::thread;

use serde::Serialize;

use super::command::Settings;
use super::statistics::Spread;
use crate::protocol::Measured;

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) groups: Vec<GroupResult>,
}

impl Report {
    /// How many results are missing.
    pub(super) fn failures(&self) -> usize {
        self.groups.iter().map(GroupResult::failures).sum()
    }
}

/// What it was measured on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpus: usize,
    cpu: Option<String>,
    system: Option<String>,
    debug: bool,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self {
            cpus: thread::available_parallelism().map_or(1, usize::from),
            cpu: model.map(|(_, name)| name.to_owned()),
            system: release.map(|release| format!("{} {}", std::env::consts::OS, release.trim())),
            debug: cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "unknown".to_owned();
        let (cpu, system) = (self.cpu.as_ref().unwrap_or(&unknown), self.system.as_ref().unwrap_or(&unknown));
        write!(f, "{} CPUs ({cpu}), {system}", self.cpus)?;
        if self.debug {
            write!(f, ". A debug build: the figures mean nothing")?;
        }
        Ok(())
    }
}

/// A group.
#[derive(Debug, Serialize)]
pub(crate) struct GroupResult {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Figures of things that were measured beside the contests.
    pub(crate) beside: Vec<(String, f64)>,
    /// Why there are none.
    pub(crate) failed: Option<String>,
    pub(crate) contests: Vec<ContestResult>,
}

impl GroupResult {
    /// Nothing yet.
    pub(super) fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, beside: Vec::new(), failed: None, contests: Vec::new() }
    }

    fn failures(&self) -> usize {
        let entries = self.contests.iter().flat_map(|contest| &contest.entries);
        entries.filter(|entry| entry.failed.is_some()).count() + usize::from(self.failed.is_some())
    }
}

/// A case.
#[derive(Debug, Serialize)]
pub(crate) struct ContestResult {
    pub(crate) name: String,
    /// Bytes of an operation, where they are what counts.
    pub(crate) bytes: Option<u64>,
    pub(crate) entries: Vec<EntryResult>,
}

impl ContestResult {
    /// What this one did, if it took part and did not fail.
    pub(crate) fn entry(&self, name: &str) -> Option<&EntryResult> {
        self.entries.iter().find(|entry| entry.name == name && entry.failed.is_none())
    }
}

/// What one who took part did.
#[derive(Debug, Serialize)]
pub(crate) struct EntryResult {
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<Round>,
    /// Why the rounds are worth nothing.
    pub(crate) failed: Option<String>,
}

impl EntryResult {
    /// Nothing yet.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::new(), failed: None }
    }

    /// A figure of each round, together.
    pub(crate) fn spread(&self, figure: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(figure))
    }

    /// A figure against the same of another in the same round, together: what the machine did to both does not count.
    pub(crate) fn against(&self, other: &Self, figure: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| figure(ours) / figure(theirs)))
    }
}

/// What one did in one round.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    /// As the client says.
    pub(crate) client: Measured,
    /// CPU time of the server in it, in nanoseconds.
    pub(crate) server_cpu_ns: u64,
    /// Memory that the server had in use at its end.
    pub(crate) server_resident_bytes: Option<u64>,
    /// Memory that the client had in use at its end.
    pub(crate) client_resident_bytes: Option<u64>,
}

impl Round {
    /// Operations in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.client.operations as f64 * 1e9 / self.client.wall_ns as f64
    }

    /// CPU time of the server for one operation, in microseconds.
    pub(crate) fn server_us(&self) -> f64 {
        self.server_cpu_ns as f64 / 1e3 / self.client.operations as f64
    }

    /// CPU time of the client for one operation, in microseconds.
    pub(crate) fn client_us(&self) -> f64 {
        self.client.cpu_ns as f64 / 1e3 / self.client.operations as f64
    }

    /// CPU time of both for one operation, in microseconds.
    pub(crate) fn both_us(&self) -> f64 {
        self.server_us() + self.client_us()
    }
}
