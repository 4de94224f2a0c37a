//! What went wrong, in words, as JSON, and as an exit code.

use std::error::Error;

use rpc_store::{BackupError, OpenError, StoreError};
use serde_json::{Value, json};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Failure {
    /// The store cannot be opened.
    Open(#[from] OpenError),
    /// It cannot be copied.
    Backup(#[from] BackupError),
    /// It was opened and fails.
    Store(#[from] StoreError),
}

impl Failure {
    /// One line: what, why, and what to do if that is known.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        match self.advice() {
            Some(advice) => format!("{text}. {advice}"),
            None => text,
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "error": { "kind": self.kind().0, "message": self.text() } })
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.kind().1
    }

    fn advice(&self) -> Option<&'static str> {
        match self.exit_code() {
            1 => Some("Restore a backup, and keep the damaged directory"),
            3 => Some("Stop the server first; a server that runs makes its own backups"),
            _ => None,
        }
    }

    /// A stable name and the exit code.
    fn kind(&self) -> (&'static str, u8) {
        match self {
            Self::Open(error) | Self::Backup(BackupError::Target(error)) => of_open(error),
            Self::Backup(BackupError::NotEmpty(_)) => ("not-empty", 4),
            // It was verified when it was opened, so this is news.
            Self::Backup(BackupError::Source(_)) | Self::Store(StoreError::Damaged(_)) => ("damaged", 1),
            Self::Backup(_) | Self::Store(_) => ("failed", 6),
        }
    }
}

fn of_open(error: &OpenError) -> (&'static str, u8) {
    match error {
        OpenError::Damaged(_) => ("damaged", 1),
        OpenError::InUse { .. } => ("in-use", 3),
        OpenError::NotAStore { .. } => ("not-a-store", 4),
        OpenError::Version { .. } => ("version", 5),
        _ => ("failed", 6),
    }
}
