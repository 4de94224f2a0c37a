//! A copy of a store in use.

use std::fs;
use std::ops::Bound;
use std::path::Path;

use crate::check::{Report, check};
use crate::encode::{
    COMMITS_KEY, EncodeError, HEADER_KEY, NUMBERS_KEY, decode_counter, decode_session, encode_counter,
    session_of,
};
use crate::engine::{Changes, EngineError, Medium};
use crate::error::OpenError;
use crate::layout::Directory;
use crate::open::{self, Beginning};
use crate::store::EmbeddedStore;
use crate::witness::Witness;

/// Records in one commit of the copy.
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
    /// The store that was to be copied could not be read, or is damaged.
    #[error("cannot read the store: {0}")]
    Source(String),
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
        let to = to.as_ref();
        if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(BackupError::NotEmpty(to.display().to_string()));
        }
        let directory = Directory::lock_or_create(to)?;
        let files = directory.begin()?;
        let commits = self.copy(&files)?;
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

    /// Copies every record and says how many commits that took.
    fn copy(&self, files: &crate::layout::Files) -> Result<u64, BackupError> {
        let id = open::random_id()?;
        // The store's own keys come first, and all are of one instant.
        let mut scan = self.engine.scan(Bound::Unbounded);
        let mut numbers_given = None;
        for _ in [COMMITS_KEY, HEADER_KEY, NUMBERS_KEY] {
            let Some(entry) = scan.next() else { break };
            let (key, value) = entry.map_err(source)?;
            if &*key == NUMBERS_KEY {
                numbers_given = decode_counter(NUMBERS_KEY, &value).ok();
            }
        }
        let numbers_given =
            numbers_given.ok_or_else(|| BackupError::Source("the record numbers is damaged".into()))?;
        let numbers_given = numbers_given.saturating_add(NUMBERS_SKIPPED);
        let mut copy = open::begin(files, &Beginning { id, numbers_given })?;
        let mut commits = 1;
        let mut chunk = Changes::with_capacity(CHUNK + 1);
        for entry in scan {
            let (key, value) = entry.map_err(source)?;
            // A damaged record is not carried into a fresh store.
            match session_of(&key).map(|session| (session, decode_session(session, &value))) {
                Some((_, Ok(_))) => chunk.push((key.to_vec(), Some(value.to_vec()))),
                Some((session, Err(error))) => {
                    return Err(BackupError::Source(format!("the record of session {session}: {error}")));
                }
                None => return Err(BackupError::Source(format!("the key \"{}\"", key.escape_ascii()))),
            }
            if chunk.len() == CHUNK {
                commits += 1;
                write(&mut copy, std::mem::take(&mut chunk), commits)?;
            }
        }
        if !chunk.is_empty() {
            commits += 1;
            write(&mut copy, chunk, commits)?;
        }
        Ok(commits)
    }
}

fn write(copy: &mut impl Medium, mut chunk: Changes, commits: u64) -> Result<(), BackupError> {
    let value = encode_counter(COMMITS_KEY, commits)
        .map_err(|error: EncodeError| OpenError::Engine(error.to_string()))?;
    chunk.push((COMMITS_KEY.to_vec(), Some(value)));
    Ok(copy.write(chunk).map_err(open::open_error)?)
}

fn source(error: EngineError) -> BackupError {
    BackupError::Source(error.to_string())
}
