//! The storage engine, fjall, and all we ask of it.

use std::any::Any;
use std::io;
use std::ops::Bound;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::thread;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice};
use rpc_core::planted::{self, Bug};

use crate::encode::KeyRange;

/// Writes kept in memory before they become a table. Also about what a start has to read again.
const MEMTABLE_BYTES: u64 = 32 << 20;
/// Journals kept at most before their records are forced into tables.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// Blocks of tables kept in memory.
const CACHE_BYTES: u64 = 32 << 20;
/// One flushes, one compacts.
const WORKERS: usize = 2;
/// Memtables that wait to become tables, and tables that wait to be merged, at which a commit waits. Below the engine's
/// own bounds of 4 and 30 runs: there it waits for its workers for ever, also when they have ended with an error.
const SEALED_MAX: usize = 3;
const UNMERGED_MAX: usize = 24;
/// The engine tells nobody when a worker is done.
const WORKERS_POLL: Duration = Duration::from_millis(1);
/// There is one keyspace: one journal order, one memtable, and no table that holds back another's journals.
const KEYSPACE: &str = "records";

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// What it read is not what it wrote.
    #[error("{0}")]
    Damaged(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Keys with what they become; `None`: nothing. Each key once.
pub(crate) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Where a commit goes. A seam: tests put a medium that fails in the engine's place.
pub(crate) trait Medium: Send {
    /// Makes all changes or none, and returns when they are durable.
    fn write(&mut self, changes: Changes) -> Result<(), EngineError>;
}

/// The engine, open. Clones are handles of the same.
#[derive(Clone)]
pub(crate) struct Engine {
    // Before the database: the last handle of a keyspace must not outlive it.
    records: Keyspace,
    database: Database,
}

impl Engine {
    /// Opens what is there.
    pub(crate) fn open(path: &Path) -> Result<Self, EngineError> {
        // The engine makes a new database wherever it misses this file. An existing store never becomes an empty one.
        for file in ["version", "lock", "keyspaces"] {
            if !path.join(file).exists() {
                return Err(EngineError::Damaged(format!("{} is missing", path.join(file).display())));
            }
        }
        Self::start(path, None)
    }

    /// Makes a new one.
    pub(crate) fn create(path: &Path) -> Result<Self, EngineError> {
        Self::start(path, Some(KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)))
    }

    /// With `options` the keyspace of the records is made, without it is there.
    fn start(path: &Path, options: Option<KeyspaceCreateOptions>) -> Result<Self, EngineError> {
        guarded(|| {
            let database = Database::builder(path)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(WORKERS)
                .manual_journal_persist(true)
                .open()?;
            if options.is_none() && !database.keyspace_exists(KEYSPACE) {
                return Ok(None);
            }
            let records = database.keyspace(KEYSPACE, || options.unwrap_or_default())?;
            Ok(Some(Self { records, database }))
        })?
        .ok_or_else(|| EngineError::Damaged("the keyspace of the records is missing".into()))
    }

    /// Waits while the workers are behind, and fails if one has.
    fn wait_for_workers(&self) -> Result<(), EngineError> {
        while self.records.sealed_memtable_count() >= SEALED_MAX
            || self.records.l0_table_count() >= UNMERGED_MAX
        {
            // Writes nothing, and asks whether the engine still would.
            guarded(|| self.database.persist(PersistMode::Buffer))?;
            thread::sleep(WORKERS_POLL);
        }
        Ok(())
    }

    /// Moves all records into tables, for tests of those.
    #[cfg(test)]
    pub(crate) fn flush(&self) {
        self.records.rotate_memtable_and_wait().unwrap();
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Slice>, EngineError> {
        guarded(|| self.records.get(key))
    }

    /// The keys and values of the range at this instant.
    pub(crate) fn scan(&self, range: KeyRange) -> Scan {
        Scan { iter: self.database.snapshot().range(&self.records, range) }
    }

    /// All keys and values at this instant.
    pub(crate) fn scan_all(&self) -> Scan {
        self.scan((Bound::Unbounded, Bound::Unbounded))
    }

    /// How many journals there are.
    pub(crate) fn journals(&self) -> usize {
        self.database.journal_count()
    }
}

impl Medium for Engine {
    /// `fdatasync` is enough: a journal's size is set and synced when it is made, or belongs to what `fdatasync` keeps.
    fn write(&mut self, changes: Changes) -> Result<(), EngineError> {
        self.wait_for_workers()?;
        let sync = if planted::is(Bug::SyncSkipped) { PersistMode::Buffer } else { PersistMode::SyncData };
        let mut batch = self.database.batch().durability(Some(sync));
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.records, key, value),
                None => batch.remove(&self.records, key),
            }
        }
        guarded(|| batch.commit())
    }
}

/// A run over the records.
pub(crate) struct Scan {
    iter: fjall::Iter,
}

impl Iterator for Scan {
    type Item = Result<(Slice, Slice), EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        guarded(|| self.iter.next().map(fjall::Guard::into_inner).transpose()).transpose()
    }
}

/// The engine panics on some kinds of damage, in its assertions and where a number it read does not fit. To us that is
/// damage like any other: the caller refuses the store, or closes it for writing.
fn guarded<T>(call: impl FnOnce() -> fjall::Result<T>) -> Result<T, EngineError> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify(error)),
        Err(panic) => Err(EngineError::Damaged(format!("the storage engine panicked: {}", text_of(&*panic)))),
    }
}

fn classify(error: fjall::Error) -> EngineError {
    let text = error.to_string();
    let failed = match &error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            !is_damage(error.kind())
        }
        fjall::Error::Poisoned | fjall::Error::KeyspaceDeleted | fjall::Error::Locked => true,
        _ => false,
    };
    if failed { EngineError::Failed(text) } else { EngineError::Damaged(text) }
}

/// Whether the file is to blame and not the medium: it is gone, too short, or holds what cannot be.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
    )
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
