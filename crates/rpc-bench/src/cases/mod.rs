//! What is measured: a file for each group of cases.
//!
//! A group says which cases there are and who takes part ([`Group`]); a case says how a client does it ([`Case::prepare`])
//! and what the server must have done then ([`Case::check`]). To add a group: a file with these, a variant of [`Case`], and
//! a place in [`GROUPS`].

pub(crate) mod commits;
pub(crate) mod durable;
pub(crate) mod idle;
pub(crate) mod opening;
pub(crate) mod resume;
pub(crate) mod steady;
pub(crate) mod storm;
pub(crate) mod streams;
pub(crate) mod unary;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::harness::Settings;
use crate::harness::results::GroupResult;
use crate::harness::table;
use crate::protocol::{Counts, Measured};
use crate::variants::Variant;

/// All groups, in the order of the report.
pub(crate) const GROUPS: &[&dyn Group] = &[
    &unary::Calls,
    &streams::Streams,
    &durable::Durable,
    &opening::Openings,
    &resume::Resumes,
    &storm::Storms,
    &idle::Idles,
    &steady::Steadiness,
];

/// Cases that belong together and share a table.
pub(crate) trait Group: Sync {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// What its table says above.
    fn title(&self) -> &'static str;

    /// What is measured: each contest is a case and all who take part in it, in the order in which they take turns.
    fn contests(&self, scope: Scope) -> Vec<Contest>;

    /// Contests that take minutes: only with `--full`, or where `--only` names them.
    fn long(&self) -> Vec<Contest> {
        Vec::new()
    }

    /// What is just enough to see that everything works.
    fn smallest(&self) -> Vec<Contest> {
        self.contests(Scope::Quick)
    }

    /// Rounds and their length, where what is measured needs other ones.
    fn pace(&self, settings: Settings) -> Settings {
        settings
    }

    /// Something else that has to be measured in the same run, before the contests, with a directory on the disk that the
    /// servers use. What it answers stands beside the table and in the JSON.
    ///
    /// # Errors
    ///
    /// It could not be measured, which fails the group.
    fn beside(&self, _directory: &Path, _time: Duration) -> Result<Vec<(String, f64)>, BenchError> {
        Ok(Vec::new())
    }

    /// The table, as markdown.
    fn table(&self, result: &GroupResult) -> String {
        table::ratios(result, self.unit())
    }

    /// What the table calls the operations that are counted.
    fn unit(&self) -> &'static str;
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    Full,
    /// What is needed to see where one is.
    Quick,
}

/// One case and all who take part in it.
#[derive(Debug, Clone)]
pub(crate) struct Contest {
    /// What it is called in the table.
    pub(crate) name: String,
    /// Bytes of an operation, where they are what counts.
    pub(crate) bytes: Option<u64>,
    /// Who takes part.
    pub(crate) entries: Vec<Entry>,
}

/// One who takes part.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What it is called in the table. The ratios are against [`table::BEST`] and [`table::USUAL`].
    pub(crate) name: &'static str,
    /// By what it serves and calls.
    pub(crate) variant: Variant,
    /// Whether its server has a durable store.
    pub(crate) durable: bool,
    /// What its client does.
    pub(crate) case: Case,
}

/// What a client does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Case {
    /// Calls with one message each way.
    Unary(unary::Unary),
    /// A stream.
    Stream(streams::Stream),
    /// Sessions that begin.
    Opening(opening::Opening),
    /// A stream whose connection is cut.
    Resume(resume::Resume),
    /// All connections are cut at once.
    Storm(storm::Storm),
    /// Sessions that nobody uses.
    Idle(idle::Idle),
    /// Everything at once.
    Steady(steady::Steady),
    /// What calls commit, without calls: the server has nothing to do.
    Commits(commits::Commits),
}

impl Case {
    /// Connects, and is ready to be run. What has to be on a disk goes below `scratch`.
    ///
    /// # Errors
    ///
    /// The server is not to be reached, or the variant cannot do that.
    pub(crate) async fn prepare(
        &self,
        variant: Variant,
        address: SocketAddr,
        scratch: &Path,
    ) -> Result<Box<dyn Load>, BenchError> {
        match self {
            Self::Unary(case) => case.prepare(variant, address).await,
            Self::Stream(case) => case.prepare(variant, address).await,
            Self::Opening(case) => case.prepare(variant, address).await,
            Self::Resume(case) => case.prepare(variant, address).await,
            Self::Storm(case) => case.prepare(variant, address).await,
            Self::Idle(case) => case.prepare(variant, address).await,
            Self::Steady(case) => case.prepare(variant, address).await,
            Self::Commits(case) => case.prepare(scratch),
        }
    }

    /// How long the preparation takes at most, beyond what any may.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::Storm(case) => case.patience(),
            Self::Idle(case) => case.patience(),
            Self::Unary(_)
            | Self::Stream(_)
            | Self::Opening(_)
            | Self::Resume(_)
            | Self::Steady(_)
            | Self::Commits(_) => Duration::ZERO,
        }
    }

    /// Whether what the handlers did in one run is what the client says.
    ///
    /// # Errors
    ///
    /// It is not: the result is worth nothing.
    pub(crate) fn check(&self, measured: &Measured, done: Counts) -> Result<(), BenchError> {
        match self {
            Self::Unary(case) => case.check(measured, done),
            Self::Stream(case) => case.check(measured, done),
            Self::Opening(case) => case.check(measured, done),
            Self::Resume(case) => case.check(measured, done),
            Self::Storm(case) => case.check(measured, done),
            Self::Idle(case) => case.check(measured, done),
            Self::Steady(case) => case.check(measured, done),
            Self::Commits(case) => case.check(measured, done),
        }
    }
}

/// A case that is connected.
pub(crate) trait Load: Send {
    /// Does it for about this long. Whatever was begun has ended when it answers.
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>>;

    /// Disconnects in order.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>>;
}

/// Ends a session that is not needed any more.
async fn release(session: Option<rpc_client::Session>) -> Result<(), BenchError> {
    match session {
        Some(session) => session.release().await.map(drop).map_err(|error| BenchError::of(&error)),
        None => Ok(()),
    }
}

/// What a comparison failed by, for [`Case::check`].
fn equal(what: &str, client: u64, server: u64) -> Result<(), BenchError> {
    if client != server {
        return Err(BenchError::new(format!("{what}: the client says {client}, the server {server}")));
    }
    Ok(())
}
