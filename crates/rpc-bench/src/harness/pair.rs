//! A server and its client.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::process::Worker;
use super::programs::Programs;
use super::results::Round;
use crate::cases::{Case, Entry};
use crate::error::BenchError;
use crate::protocol::{Answer, Command, Launch, Mark, Measured};

/// The part of a round that is not measured, before it: caches and connections are warm when it begins.
const WARM: f64 = 0.1;

/// One who takes part, with its processes.
#[derive(Debug)]
pub(super) struct Pair {
    client: Worker,
    server: Worker,
    // Last, so that the server has left it.
    _store: Option<TempDir>,
}

impl Pair {
    /// Starts both, with a store below `directory` where the server needs one.
    ///
    /// # Errors
    ///
    /// One of them does not start.
    pub(super) fn start(entry: &Entry, programs: &Programs, directory: &Path) -> Result<Self, BenchError> {
        let store = if entry.durable { Some(tempfile::tempdir_in(directory)?) } else { None };
        let allocator = entry.variant.allocator();
        let path = store.as_ref().map(|store| store.path().join("store"));
        let launch = Launch::Server { variant: entry.variant, store: path };
        let mut server = Worker::start(programs.worker(allocator), &launch)?;
        let Answer::Listening(address) = server.answer(Duration::ZERO)? else { return Err(nonsense()) };
        let launch = Launch::Client { variant: entry.variant, address, scratch: directory.to_owned() };
        let client = Worker::start(programs.worker(allocator), &launch)?;
        Ok(Self { client, server, _store: store })
    }

    /// Connects for a case.
    ///
    /// # Errors
    ///
    /// It does not connect.
    pub(super) fn prepare(&mut self, case: &Case) -> Result<(), BenchError> {
        match self.client.ask(&Command::Prepare(case.clone()), case.patience())? {
            Answer::Prepared => Ok(()),
            _ => Err(nonsense()),
        }
    }

    /// One round of the case that was prepared, checked.
    ///
    /// # Errors
    ///
    /// It failed, or the two do not agree on what was done.
    pub(super) fn round(&mut self, case: &Case, seconds: f64) -> Result<Round, BenchError> {
        self.run(seconds * WARM)?;
        let before = self.mark()?;
        let client = self.run(seconds)?;
        let after = self.mark()?;
        let done = after.counts.since(before.counts);
        case.check(&client, done)?;
        if client.operations == 0 {
            return Err(BenchError::new("nothing was done"));
        }
        let client_resident_bytes = match self.client.ask(&Command::Mark, Duration::ZERO)? {
            Answer::Mark(mark) => mark.resident_bytes,
            _ => return Err(nonsense()),
        };
        Ok(Round {
            client,
            server_cpu_ns: after.cpu_ns - before.cpu_ns,
            server_resident_bytes: after.resident_bytes,
            client_resident_bytes,
        })
    }

    fn run(&mut self, seconds: f64) -> Result<Measured, BenchError> {
        let time = Duration::try_from_secs_f64(seconds).map_err(|error| BenchError::of(&error))?;
        match self.client.ask(&Command::Run { seconds }, time)? {
            Answer::Measured(measured) => Ok(*measured),
            _ => Err(nonsense()),
        }
    }

    fn mark(&mut self) -> Result<Mark, BenchError> {
        match self.server.ask(&Command::Mark, Duration::ZERO)? {
            Answer::Mark(mark) => Ok(mark),
            _ => Err(nonsense()),
        }
    }
}

fn nonsense() -> BenchError {
    BenchError::new("the worker answers something else")
}
