//! Verification of a store that nobody uses.

use std::path::Path;

use rpc_core::store::operations::{Contents, Copied, StoreId};

use crate::error::OpenError;
use crate::open;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Which store it is.
    pub id: StoreId,
    /// What it holds, damaged records left out.
    pub contents: Contents,
    /// Session numbers handed out or reserved since the store was made.
    pub numbers_given: u64,
    /// Commits since the store was made.
    pub commits: u64,
    /// Bytes that its files take.
    pub bytes_on_disk: u64,
    /// Records that are not what was written. Not 0: [`EmbeddedStore::open`](crate::EmbeddedStore::open) refuses.
    pub damaged: u64,
    /// Where: the first hundred of them, in words.
    pub damage: Vec<String>,
}

impl Report {
    /// Whether the store can be opened.
    pub fn is_sound(&self) -> bool {
        self.damaged == 0
    }
}

impl From<&Report> for Copied {
    /// What is told of a sound copy.
    fn from(report: &Report) -> Self {
        let Report { id, contents, numbers_given, commits, bytes_on_disk, damaged: _, damage: _ } = report;
        Self {
            id: *id,
            contents: *contents,
            numbers_given: *numbers_given,
            commits: *commits,
            bytes_on_disk: *bytes_on_disk,
        }
    }
}

/// Reads everything in the store at `path` and verifies it, as opening does, and goes on after the first damaged record.
///
/// Like opening, it cuts off a commit that a crash left half in the journal; records stay as they are.
///
/// # Errors
///
/// There is no store, it is in use, or it is damaged so that its records cannot be reached.
pub fn check(path: impl AsRef<Path>) -> Result<Report, OpenError> {
    let (_directory, files) = open::existing(path.as_ref())?;
    let recovered = open::recover(&files)?;
    Ok(Report {
        id: recovered.id,
        contents: recovered.found.contents,
        numbers_given: recovered.numbers_given,
        commits: recovered.commits,
        bytes_on_disk: files.bytes_on_disk(),
        damaged: recovered.found.damaged,
        damage: recovered.found.damage,
    })
}
