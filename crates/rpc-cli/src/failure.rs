//! What went wrong, in words, as JSON, and as an exit code.

use std::error::Error;
use std::path::PathBuf;

use rpc_core::error::Reason;
use rpc_proto::status::Details;
use rpc_store::{BackupError, OpenError, StoreError};
use serde_json::{Value, json};
use tonic::Status;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be copied.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It was opened and fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was asked makes no sense.
    #[error("{0}")]
    Arguments(String),
    /// The file of the token is not to be had, or is not kept secret.
    #[error("the token file {}: {why}", path.display())]
    TokenFile { path: PathBuf, why: String },
    /// Certificates or the key.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server cannot be reached, or its answer makes no sense.
    #[error("the server: {0}")]
    Server(String),
    /// The server refuses.
    #[error("the server: {}", said(.0))]
    Refused(Status),
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
        let mut error = json!({ "kind": self.kind().0, "message": self.text() });
        if let Some(reason) = self.reason() {
            error["reason"] = json!(reason.name());
        }
        json!({ "error": error })
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.kind().1
    }

    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(status) => Details::of(status).reason,
            _ => None,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        match (self.exit_code(), self.reason()) {
            (1, _) => Some("Restore a backup, and keep the damaged directory"),
            (3, _) => Some("Stop the server first, or ask it with --server"),
            (_, Some(Reason::ScopeMissing)) => Some("Its issuer must give the token the scope session.admin"),
            (_, Some(Reason::MethodUnknown)) => {
                Some("Its program lets nobody ask for that: see `Builder::operations`")
            }
            _ => None,
        }
    }

    /// A stable name and the exit code.
    fn kind(&self) -> (&'static str, u8) {
        match self {
            Self::Open(error) | Self::Backup(BackupError::Target(error)) => of_open(error),
            Self::Backup(BackupError::NotEmpty(_)) => ("not-empty", 4),
            // It was verified when it was opened, so this is news.
            Self::Backup(BackupError::Damaged(_)) | Self::Store(StoreError::Damaged(_)) => ("damaged", 1),
            Self::Backup(_) | Self::Store(_) => ("failed", 6),
            Self::Arguments(_) => ("arguments", 2),
            Self::TokenFile { .. } => ("token-file", 2),
            Self::Tls(_) => ("tls", 2),
            Self::Server(_) => ("unreachable", 7),
            Self::Refused(status) => of_refusal(status),
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

fn of_refusal(status: &Status) -> (&'static str, u8) {
    match Details::of(status).reason {
        Some(Reason::StoreDamaged) => ("damaged", 1),
        Some(Reason::FieldInvalid) => ("arguments", 2),
        Some(Reason::BackupExists) => ("exists", 4),
        Some(Reason::StoreUnavailable | Reason::BackupFailed) => ("failed", 6),
        Some(Reason::BackupRunning) => ("running", 7),
        Some(_) => ("refused", 7),
        // Not the server's own words: something on the way to it.
        None => ("unreachable", 7),
    }
}

/// What a server said, without what would spoil the line: it may be any server.
fn said(status: &Status) -> String {
    let text: String = status.message().chars().filter(|char| !char.is_control()).take(500).collect();
    match Details::of(status).reason {
        Some(reason) => format!("{text} ({reason})"),
        None => format!("{text} ({:?})", status.code()),
    }
}
