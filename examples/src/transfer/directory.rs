//! The archive on the disk: one directory, in which each file has its name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claims::Claims;
use super::mark::{Announced, Mark, blocking};
use super::name::Name;
use super::part::{Hold, Part, Place};
use super::source::Source;
use super::trouble::Trouble;

/// Most files that one answer names.
pub const LISTED_MAX: usize = 1_000;

/// The archive's directory. Cheap to clone; every clone is the same archive.
///
/// One program at a time may write to it: names are claimed in its memory. The server has the store beside it for itself.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    claims: Claims,
}

impl Directory {
    /// Opens the archive in this directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub async fn open(path: PathBuf) -> Result<Self, Trouble> {
        blocking(move || {
            fs::create_dir_all(&path)?;
            Ok(Self { path, claims: Claims::default() })
        })
        .await
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to receive a file.
    ///
    /// # Errors
    ///
    /// [`Trouble::Busy`] after ten seconds in which somebody else was sending one of that name; [`Trouble::Exists`]; the
    /// disk's.
    pub async fn begin(&self, announced: Announced) -> Result<Part, Trouble> {
        Part::begin(self.place(&announced.name).await?, announced).await
    }

    /// Goes on with a file that was received up to the mark.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin), and [`Trouble::Lost`] if the disk does not have what the mark says.
    pub async fn resume(&self, mark: Mark) -> Result<Part, Trouble> {
        Part::resume(self.place(&mark.announced.name).await?, mark).await
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// [`Trouble::Missing`]; the disk's.
    pub async fn source(&self, name: Name) -> Result<Source, Trouble> {
        Source::open(&self.path.join(name.as_str()), name, false).await
    }

    /// The first thousand files whose names come after this one, with their sizes. Memory does not grow with the
    /// directory.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub async fn files_after(&self, after: String) -> Result<BTreeMap<Name, u64>, Trouble> {
        let path = self.path.clone();
        blocking(move || {
            let mut found = BTreeMap::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let Ok(name) = Name::of(Path::new(&entry.file_name())) else { continue };
                if name.as_str() <= after.as_str() {
                    continue;
                }
                // A file may go while the directory is read.
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                if metadata.is_file() {
                    found.insert(name, metadata.len());
                }
                if found.len() > LISTED_MAX {
                    found.pop_last();
                }
            }
            Ok(found)
        })
        .await
    }

    async fn place(&self, name: &Name) -> Result<Place, Trouble> {
        let claim = self.claims.claim(name).await?;
        let (part, target) = (self.path.join(name.part()), self.path.join(name.as_str()));
        Ok(Place { part, target, hold: Hold::Claim(Arc::new(claim)) })
    }
}
