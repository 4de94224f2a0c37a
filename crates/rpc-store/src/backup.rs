//! A copy of a store in use.

use std::fs;
use std::path::Path;

use crate::check::{Report, check};
use crate::encode::{COMMITS_KEY, EncodeError, HEADER_KEY, NUMBERS_KEY, decode_counter, encode_counter};
use crate::engine::{Changes, Engine, EngineError, Medium};
use crate::error::OpenError;
use crate::inventory::Inventory;
use crate::layout::{Directory, Files};
use crate::open::{self, Beginning};
use crate::plan::COMMIT_BYTES_MAX;
use crate::store::EmbeddedStore;
use crate::witness::Witness;

/// Records in one commit of the copy, if they are small.
const CHUNK: usize = 1_024;
/// Numbers that a copy leaves out. The original goes on giving numbers after the copy was made, and whoever restores it
/// must not give them again (I8). A store that gives a million numbers a second needs twelve days to come this far.
const NUMBERS_SKIPPED: u64 = 1 << 40;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The directory is not empty.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// The store that was to be copied could not be read.
    #[error("cannot read the store: {0}")]
    Source(String),
    /// It is damaged, which it was not when it was opened. Such a store is not copied.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// It was to stop before it was complete.
    #[error("given up")]
    Stopped,
    /// Backups are not kept within the store: its directory would not be taken for one when it is opened again.
    #[error("{0} lies within the store")]
    WithinStore(String),
    /// The copy could not be made.
    #[error("cannot write the copy")]
    Target(#[from] OpenError),
}

impl EmbeddedStore {
    /// Copies the store as it is at this instant into the directory `to`, which is empty or missing, and
    /// [checks](check) the copy. Commits go on meanwhile.
    ///
    /// The copy is a store of its own with another [id](EmbeddedStore::id), and leaves out 2^40 session numbers. To restore
    /// it, open it in place of the original; what was acknowledged after it was made is lost then.
    ///
    /// Until the copy is complete and durable `to` holds no store, so an interrupted backup is never taken for one.
    ///
    /// # Errors
    ///
    /// The directory is not empty, the store cannot be read, or the copy cannot be written.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<Report, BackupError> {
        self.backup_while(to.as_ref(), &|| true)
    }

    /// The same, given up once `goes_on` answers false. It is asked between commits of the copy.
    pub(crate) fn backup_while(&self, to: &Path, goes_on: &dyn Fn() -> bool) -> Result<Report, BackupError> {
        if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(BackupError::NotEmpty(to.display().to_string()));
        }
        let directory = Directory::lock_or_create(to)?;
        let files = directory.begin()?;
        let commits = self.copy(&files, goes_on)?;
        let acknowledged = files.acknowledged();
        Witness::create(&acknowledged, commits).map_err(OpenError::io("create", &acknowledged))?;
        directory.finish(&files)?;
        drop(directory);
        let report = check(to)?;
        match report.damage.first() {
            Some(damage) => Err(OpenError::Damaged(damage.clone()).into()),
            None => Ok(report),
        }
    }

    /// Copies every record and says what the number of the last commit is.
    fn copy(&self, files: &Files, goes_on: &dyn Fn() -> bool) -> Result<u64, BackupError> {
        let id = open::random_id()?;
        // The store's own keys come first, and all are of one instant.
        let mut scan = self.engine.scan_all();
        let (mut numbers_given, mut commits) = (None, None);
        for _ in [COMMITS_KEY, HEADER_KEY, NUMBERS_KEY] {
            let Some(entry) = scan.next() else { break };
            let (key, value) = entry.map_err(source)?;
            match &*key {
                NUMBERS_KEY => numbers_given = decode_counter(NUMBERS_KEY, &value).ok(),
                COMMITS_KEY => commits = decode_counter(COMMITS_KEY, &value).ok(),
                _ => {}
            }
        }
        let damaged = |name| BackupError::Damaged(format!("the record {name}"));
        let numbers_given = numbers_given.ok_or_else(|| damaged("numbers"))?.saturating_add(NUMBERS_SKIPPED);
        let commits = commits.ok_or_else(|| damaged("commits"))?;
        // Commits go on counting where the original is: versions of values are their numbers, and must not come again.
        let beginning = Beginning { id, numbers_given, commit: commits + 1 };
        let mut copy = Copy {
            engine: open::begin(files, &beginning)?,
            commits: beginning.commit,
            chunk: Changes::new(),
            chunk_bytes: 0,
            goes_on,
        };
        let mut inventory = Inventory::new(commits);
        for entry in scan {
            let (key, value) = entry.map_err(source)?;
            // A damaged record is not carried into a fresh store.
            inventory.take(&key, &value).map_err(BackupError::Damaged)?;
            copy.push(&key, &value)?;
        }
        copy.write()?;
        Ok(copy.commits)
    }
}

/// The copy while it is written, some records at a time.
struct Copy<'a> {
    engine: Engine,
    commits: u64,
    chunk: Changes,
    chunk_bytes: usize,
    goes_on: &'a dyn Fn() -> bool,
}

impl Copy<'_> {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        self.chunk.push((key.to_vec(), Some(value.to_vec())));
        self.chunk_bytes += key.len() + value.len();
        let is_full = self.chunk.len() == CHUNK || self.chunk_bytes >= COMMIT_BYTES_MAX;
        if is_full { self.write() } else { Ok(()) }
    }

    /// Commits what waits.
    fn write(&mut self) -> Result<(), BackupError> {
        if !(self.goes_on)() {
            return Err(BackupError::Stopped);
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        if chunk.is_empty() {
            return Ok(());
        }
        let commits = self.commits + 1;
        let value = encode_counter(COMMITS_KEY, commits)
            .map_err(|error: EncodeError| OpenError::Engine(error.to_string()))?;
        chunk.push((COMMITS_KEY.to_vec(), Some(value)));
        self.engine.write(chunk).map_err(open::open_error)?;
        self.commits = commits;
        Ok(())
    }
}

fn source(error: EngineError) -> BackupError {
    match error {
        EngineError::Damaged(text) => BackupError::Damaged(text),
        EngineError::Failed(text) => BackupError::Source(text),
    }
}
