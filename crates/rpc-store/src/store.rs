//! The store itself: one writer, many readers.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use rpc_core::activity::Key;
use rpc_core::id::SessionId;
use rpc_core::planted::{self, Bug};
use rpc_core::record::{ActivityRecord, Write};
use rpc_core::store::operations::{Contents, SinceOpen, Statistics, StoreId};
use rpc_core::store::{Durability, Store, StoreError, Stored, WriteError};
use rpc_core::transaction::Versioned;

use crate::encode::{
    COMMITS_KEY, NUMBERS_KEY, activities_above, activity_key, decode_value, encode_counter, is_value_key,
    range_above, range_of, value_key,
};
use crate::engine::{Changes, Engine, Medium};
use crate::error::OpenError;
use crate::inventory::value_name;
use crate::layout::{Directory, Files};
use crate::open::{self, Recovered};
use crate::plan::Plan;
use crate::read::{Sessions, read_activity};
use crate::stats::committed;
use crate::witness::Witness;

/// A store in a directory.
///
/// Its methods block; see [`Store`]. Dropping it closes the directory: nothing that was acknowledged is lost by that,
/// and nothing is waited for but the engine's threads.
pub struct EmbeddedStore {
    pub(crate) id: StoreId,
    pub(crate) engine: Engine,
    writer: Mutex<Writer>,
    files: Files,
    // Last, so that the directory is given back when the engine has left it.
    directory: Directory,
}

/// What belongs to the one who commits.
struct Writer {
    medium: Box<dyn Medium>,
    witness: Witness,
    /// Why nothing is written any more.
    closed: Option<String>,
    numbers_given: u64,
    commits: u64,
    contents: Contents,
    since_open: SinceOpen,
}

impl EmbeddedStore {
    /// Opens the store in the directory `path`, or makes one if the directory is empty or missing.
    ///
    /// Opening is recovery, the same after a crash and after an orderly end: journals, header and every record are
    /// verified before the first call is answered. A million sessions take some seconds; `tracing` reports progress.
    ///
    /// # Errors
    ///
    /// By variant of [`OpenError`]. A store that is refused as damaged is not repaired: restore a backup.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let directory = Directory::lock_or_create(path.as_ref())?;
        let (files, recovered) = open::open_or_create(&directory)?;
        Ok(Self::start(directory, files, recovered))
    }

    /// The same for a store that is there: never makes one.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and [`OpenError::NotAStore`] for a directory that is empty or missing.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let (directory, files) = open::existing(path.as_ref())?;
        let recovered = open::recover_sound(&files)?;
        Ok(Self::start(directory, files, recovered))
    }

    fn start(directory: Directory, files: Files, recovered: Recovered) -> Self {
        let contents = recovered.found.contents;
        tracing::info!(
            store = %recovered.id,
            path = %directory.path().display(),
            live = contents.sessions_live,
            ended = contents.sessions_ended,
            slots = contents.slots,
            values = contents.values,
            commits = recovered.commits,
            "the store is open"
        );
        Self {
            id: recovered.id,
            writer: Mutex::new(Writer {
                medium: Box::new(recovered.engine.clone()),
                witness: recovered.witness,
                closed: None,
                numbers_given: recovered.numbers_given,
                commits: recovered.commits,
                contents,
                since_open: SinceOpen::default(),
            }),
            engine: recovered.engine,
            files,
            directory,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Which store this is.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// What the store holds and did. Waits for a commit under way.
    ///
    /// # Errors
    ///
    /// A commit has panicked.
    pub fn statistics(&self) -> Result<Statistics, StoreError> {
        // Walks through the directory: not while commits wait.
        let bytes_on_disk = self.files.bytes_on_disk();
        let writer = self.lock()?;
        Ok(Statistics {
            id: self.id,
            contents: writer.contents,
            numbers_given: writer.numbers_given,
            commits: writer.commits,
            bytes_on_disk,
            journals: self.engine.journals() as u64,
            closed: writer.closed.clone(),
            since_open: writer.since_open,
        })
    }

    /// For tests of media that fail, or that are watched.
    #[cfg(test)]
    pub(crate) fn replace_medium(&self, medium: Box<dyn Medium>) {
        self.lock().unwrap().medium = medium;
    }

    /// A panic within a commit leaves nobody knowing how far it came: then the store is closed like after a failed write.
    fn lock(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        self.writer.lock().map_err(|_| StoreError::Closed("a commit panicked".into()))
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("id", &self.id)
            .field("path", &self.directory.path())
            .finish_non_exhaustive()
    }
}

impl Store for EmbeddedStore {
    fn durability(&self) -> Durability {
        Durability::Durable
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        let mut writer = self.lock()?;
        writer.check_open()?;
        //= I8
        let first = writer.numbers_given.checked_add(1).ok_or(StoreError::NumbersExhausted)?;
        let end = first.checked_add(u64::from(count.get())).ok_or(StoreError::NumbersExhausted)?;
        let value =
            encode_counter(NUMBERS_KEY, end - 1).map_err(|error| StoreError::Failed(error.to_string()))?;
        if !planted::is(Bug::NumbersNotStored) {
            writer.commit(vec![(NUMBERS_KEY.to_vec(), Some(value))], 0)?;
        }
        writer.numbers_given = end - 1;
        Ok(first..end)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        let mut sessions = Sessions::new(self.engine.scan(range_of(session)));
        Ok(sessions.next().transpose()?.map(|(_, stored)| stored))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        if !is_value_key(key) {
            return Ok(None);
        }
        let Some(value) = self.engine.get(&value_key(key))? else { return Ok(None) };
        match decode_value(key, &value) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(StoreError::Damaged(format!("{}: {error}", value_name(key)))),
        }
    }

    /// A batch that is too large for one commit becomes several, each of whole writes. If one of them fails, those
    /// before it stay.
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        // One lock around reading what writes rest on and writing: nobody writes between the two (I7).
        let mut writer = self.lock()?;
        writer.check_open()?;
        let mut answers = Vec::with_capacity(batch.len());
        while answers.len() < batch.len() {
            let mut plan = Plan::new(&self.engine, writer.commits + 1);
            plan.take(&batch[answers.len()..]).inspect_err(|error| writer.close(error))?;
            let planned = plan.finish(writer.contents);
            let writes = planned.answers.iter().filter(|answer| answer.is_ok()).count() as u64;
            writer.since_open.writes_refused += planned.answers.len() as u64 - writes;
            if !planned.changes.is_empty() {
                writer.commit(planned.changes, writes)?;
                writer.contents = planned.contents;
            }
            answers.extend(planned.answers);
        }
        Ok(answers)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        Sessions::new(self.engine.scan(range_above(after))).take(limit).collect()
    }

    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError> {
        let after = after.map(activity_key).transpose();
        let after = after.map_err(|error| StoreError::Failed(error.to_string()))?;
        let entries = self.engine.scan(activities_above(after)).take(limit);
        entries
            .map(|entry| entry.map_err(StoreError::from).and_then(|(key, value)| read_activity(&key, &value)))
            .collect()
    }
}

impl Writer {
    fn check_open(&self) -> Result<(), StoreError> {
        self.closed.as_ref().map_or(Ok(()), |why| Err(StoreError::Closed(why.clone())))
    }

    /// From here on nothing is written: what the medium holds now is only known after opening again.
    fn close(&mut self, error: &StoreError) {
        tracing::error!(%error, "the store is closed for writing");
        self.closed = Some(error.to_string());
    }

    /// Makes the changes durable as the next commit: sync, then witness, then the answer.
    fn commit(&mut self, changes: Changes, writes: u64) -> Result<(), StoreError> {
        let begun = Instant::now();
        let done = self.try_commit(changes).inspect_err(|error| self.close(error));
        committed(&mut self.since_open, if done.is_ok() { writes } else { 0 }, begun.elapsed());
        done
    }

    fn try_commit(&mut self, mut changes: Changes) -> Result<(), StoreError> {
        let commits = self.commits + 1;
        let value =
            encode_counter(COMMITS_KEY, commits).map_err(|error| StoreError::Failed(error.to_string()))?;
        changes.push((COMMITS_KEY.to_vec(), Some(value)));
        self.medium.write(changes).map_err(|error| StoreError::Failed(error.to_string()))?;
        self.commits = commits;
        self.witness
            .write(commits)
            .map_err(|error| StoreError::Failed(format!("cannot note a commit: {error}")))
    }
}

#[cfg(test)]
mod tests;
