//! The store itself: one writer, many readers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Bound, Range};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use rpc_core::id::{Epoch, SessionId};
use rpc_core::record::{Change, Write};
use rpc_core::store::{Durability, Store, StoreError, Stored, WriteError};

use crate::encode::{
    COMMITS_KEY, EncodeError, NUMBERS_KEY, StoreId, decode_session, encode_counter, encode_ended,
    encode_live, session_key, session_of,
};
use crate::engine::{Changes, Engine, EngineError, Medium};
use crate::error::OpenError;
use crate::layout::{Directory, Files};
use crate::open;
use crate::stats::{Activity, Statistics};
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
    live: u64,
    ended: u64,
    activity: Activity,
}

/// What a session is to the next write of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Live(Epoch),
    Ended(Epoch),
}

/// What a batch comes to.
struct Plan {
    touched: BTreeMap<SessionId, Touched>,
    answers: Vec<Result<(), WriteError>>,
}

/// A session that a batch has touched.
struct Touched {
    before: State,
    now: State,
    /// What its record becomes; `None` within: it goes. `None` without: no write was made.
    value: Option<Option<Vec<u8>>>,
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
        let (directory, files, recovered) = open::at(path.as_ref())?;
        tracing::info!(
            store = %recovered.id,
            path = %directory.path().display(),
            live = recovered.found.live,
            ended = recovered.found.ended,
            commits = recovered.commits,
            "the store is open"
        );
        Ok(Self {
            id: recovered.id,
            writer: Mutex::new(Writer {
                medium: Box::new(recovered.engine.clone()),
                witness: recovered.witness,
                closed: None,
                numbers_given: recovered.numbers_given,
                commits: recovered.commits,
                live: recovered.found.live,
                ended: recovered.found.ended,
                activity: Activity::default(),
            }),
            engine: recovered.engine,
            files,
            directory,
        })
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
            sessions_live: writer.live,
            sessions_ended: writer.ended,
            numbers_given: writer.numbers_given,
            commits: writer.commits,
            bytes_on_disk,
            journals: self.engine.journals(),
            closed: writer.closed.clone(),
            since_open: writer.activity,
        })
    }

    /// A panic within a commit leaves nobody knowing how far it came: then the store is closed like after a failed write.
    fn lock(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        self.writer.lock().map_err(|_| StoreError::Closed("a commit panicked".into()))
    }

    /// The session as it was last committed.
    fn read(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        let value = self.engine.get(&session_key(session)).map_err(read_error)?;
        value.map(|value| decode(session, &value)).transpose()
    }

    /// What the batch makes of each session it names, with the answer to each of its writes.
    fn plan(&self, batch: &[Write]) -> Result<Plan, StoreError> {
        let mut touched = BTreeMap::new();
        let mut answers = Vec::with_capacity(batch.len());
        for write in batch {
            let touched = match touched.entry(write.session) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let before = State::of(self.read(write.session)?.as_ref());
                    entry.insert(Touched { before, now: before, value: None })
                }
            };
            answers.push(touched.write(write));
        }
        Ok(Plan { touched, answers })
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
        writer.commit(vec![(NUMBERS_KEY.to_vec(), Some(value))], 0)?;
        writer.numbers_given = end - 1;
        Ok(first..end)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        self.read(session)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        // One lock around reading the epochs and writing what rests on them: nobody writes between the two (I7).
        let mut writer = self.lock()?;
        writer.check_open()?;
        let Plan { touched, answers } = self.plan(batch).inspect_err(|error| writer.close(error))?;
        let writes = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
        writer.activity.writes_refused += answers.len() as u64 - writes;
        let (live, ended) = writer.counts_after(&touched);
        let changes: Changes = touched
            .into_iter()
            .filter_map(|(session, touched)| Some((session_key(session).to_vec(), touched.value?)))
            .collect();
        if !changes.is_empty() {
            writer.commit(changes, writes)?;
            (writer.live, writer.ended) = (live, ended);
        }
        Ok(answers)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        // Below every session's key and above the store's own.
        let first = [1];
        let key = after.map(session_key);
        let bound = key.as_ref().map_or(Bound::Included(&first[..]), |key| Bound::Excluded(&key[..]));
        self.engine
            .scan(bound)
            .take(limit)
            .map(|entry| {
                let (key, value) = entry.map_err(read_error)?;
                let session = session_of(&key)
                    .ok_or_else(|| StoreError::Damaged(format!("key \"{}\"", key.escape_ascii())))?;
                Ok((session, decode(session, &value)?))
            })
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
        self.activity.committed(if done.is_ok() { writes } else { 0 }, begun.elapsed());
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

    /// How many sessions live and have ended once the batch is made.
    fn counts_after(&self, touched: &BTreeMap<SessionId, Touched>) -> (u64, u64) {
        let (mut live, mut ended) = (self.live, self.ended);
        for Touched { before, now, .. } in touched.values() {
            match before {
                State::Absent => {}
                State::Live(_) => live -= 1,
                State::Ended(_) => ended -= 1,
            }
            match now {
                State::Absent => {}
                State::Live(_) => live += 1,
                State::Ended(_) => ended += 1,
            }
        }
        (live, ended)
    }
}

impl State {
    fn of(stored: Option<&Stored>) -> Self {
        match stored {
            None => Self::Absent,
            Some(Stored::Live(epoch, _)) => Self::Live(*epoch),
            Some(Stored::Ended(epoch, _)) => Self::Ended(*epoch),
        }
    }
}

impl Touched {
    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Write { session, epoch, change } = write;
        //= C-53, I7
        match self.now {
            State::Live(stored) | State::Ended(stored) if stored != *epoch => {
                return Err(WriteError::Fenced { stored });
            }
            State::Live(_) | State::Ended(_) | State::Absent => {}
        }
        let (now, value) = match (change, self.now) {
            (Change::Create(record), State::Absent) | (Change::Update(record), State::Live(_)) => {
                (State::Live(*epoch), Some(encode_live(*session, *epoch, record).map_err(too_large)?))
            }
            (Change::End(tombstone), State::Live(_)) => {
                (State::Ended(*epoch), Some(encode_ended(*session, *epoch, tombstone).map_err(too_large)?))
            }
            (Change::Forget, State::Live(_) | State::Ended(_)) => (State::Absent, None),
            (Change::Create(_), State::Live(_) | State::Ended(_)) => return Err(WriteError::Exists),
            (Change::Update(_) | Change::End(_), State::Ended(_) | State::Absent)
            | (Change::Forget, State::Absent) => return Err(WriteError::Missing),
        };
        self.now = now;
        self.value = Some(value);
        Ok(())
    }
}

fn decode(session: SessionId, value: &[u8]) -> Result<Stored, StoreError> {
    decode_session(session, value)
        .map_err(|error| StoreError::Damaged(format!("the record of session {session}: {error}")))
}

/// Only this one write is refused: the store is well, the record is not one for it.
fn too_large(error: EncodeError) -> WriteError {
    WriteError::Store(StoreError::Failed(error.to_string()))
}

fn read_error(error: EngineError) -> StoreError {
    match error {
        EngineError::Damaged(text) => StoreError::Damaged(text),
        EngineError::Failed(text) => StoreError::Failed(text),
    }
}

#[cfg(test)]
mod tests;
