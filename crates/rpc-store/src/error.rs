//! What opening a store can meet.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store cannot be opened. Nothing was changed, except where a store was being made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another handle of this one, has it open.
    #[error("the store {} is in use", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The directory holds something that is no store, or nothing and none was to be made. It is left alone.
    #[error("{} is no store", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// It was written by a version of this program that uses another format.
    #[error("the store has format version {found}, this program reads {supported}")]
    Version {
        /// The format of the store.
        found: u8,
        /// The format that is read and written here.
        supported: u8,
    },
    /// What is there is not what was written, or something that was acknowledged is missing. Restore a backup, and
    /// keep the damaged directory for who can read it.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The medium failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// The storage engine failed, and not because of what it read.
    #[error("the storage engine failed: {0}")]
    Engine(String),
}

impl OpenError {
    /// For `map_err`.
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
