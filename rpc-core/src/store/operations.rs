//! What operators do with a store that a server uses: count it, copy it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::StoreError;
use crate::error::Reason;

/// Classes of batch sizes: 1, 2, 3–4, 5–8, … , 513–1,024, more.
pub const BATCH_CLASSES: usize = 12;

/// Counts and copies a store while a server uses it.
///
/// # What callers may rely on
///
/// - A backup is of one instant, and what was committed until then is in it. Commits go on meanwhile.
/// - A backup is there under its name whole and durable, or not at all. No other one is changed by it.
/// - Where a backup lies is for the implementer to say; a name never leads out of there.
///
/// # What callers must do
///
/// As those of [`Store`](super::Store), the methods block for as long as the medium takes; call them where blocking is
/// harmless.
///
/// # What implementers must do
///
/// Make one backup at a time, and ask `goes_on` often enough that a backup that is to stop ends within seconds.
pub trait Operations: Send + Sync + 'static {
    /// What the store holds and did.
    ///
    /// # Errors
    ///
    /// The store cannot say. One that is closed for writing can: [`Statistics::closed`].
    fn statistics(&self) -> Result<Statistics, StoreError>;

    /// Copies the store under a name that is free, and verifies the copy. Once `goes_on` answers false, the backup is given
    /// up and nothing of it stays.
    ///
    /// # Errors
    ///
    /// As [`OperationError`] says. There is no backup of that name then, unless there was one before.
    fn backup(&self, name: &BackupName, goes_on: &dyn Fn() -> bool) -> Result<Copied, OperationError>;
}

/// The same operations, whoever has the handle.
impl<O: Operations + ?Sized> Operations for Arc<O> {
    fn statistics(&self) -> Result<Statistics, StoreError> {
        (**self).statistics()
    }

    fn backup(&self, name: &BackupName, goes_on: &dyn Fn() -> bool) -> Result<Copied, OperationError> {
        (**self).backup(name, goes_on)
    }
}

/// Why there is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// There is a backup of that name already.
    #[error("there is a backup of that name already")]
    NameTaken,
    /// Another backup is being made; they are made one at a time.
    #[error("another backup is being made")]
    Running,
    /// It was given up because nobody waits for it any more.
    #[error("the backup was given up")]
    Stopped,
    /// The store that was to be copied could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy could not be written, or was not what had been written when it was read again.
    #[error("the backup cannot be written: {0}")]
    Target(String),
}

impl OperationError {
    /// The stable reason for whoever asked.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NameTaken => Reason::BackupExists,
            Self::Running => Reason::BackupRunning,
            Self::Stopped => Reason::CallCancelled,
            Self::Store(error) => error.reason(),
            Self::Target(_) => Reason::BackupFailed,
        }
    }
}

/// What a backup is called: 1 to 64 characters, each an ASCII letter or digit, `.`, `_` or `-`, the first a letter or digit.
///
/// So it is one component of a path on every system, never hidden, never `..`, and never taken for an option of a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupName(Box<str>);

impl BackupName {
    /// Longest name, in characters.
    pub const LENGTH_MAX: usize = 64;

    /// A name of these rules.
    ///
    /// # Errors
    ///
    /// It breaks one of them.
    //= A-28
    pub fn new(name: &str) -> Result<Self, BackupNameInvalid> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let begins = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if begins && name.len() <= Self::LENGTH_MAX && name.bytes().all(is_known) {
            Ok(Self(name.into()))
        } else {
            Err(BackupNameInvalid)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was to be the name of a backup is none. It is not repeated here: it may come from a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a backup has 1 to 64 characters, letters, digits, `.`, `_` and `-`, and begins with a letter or digit"
)]
pub struct BackupNameInvalid;

/// Tells one store from another. Random, made when the store is; a backup is another store and has its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// The store that `Display` has named so: 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|id| Self(id.to_be_bytes()))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a store holds. Bytes are those of the records, their keys included: what is on the medium besides are older
/// versions, journals and the engine's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Sessions that live.
    pub sessions_live: u64,
    /// Sessions that have ended and are remembered.
    pub sessions_ended: u64,
    /// Bytes of both.
    pub session_bytes: u64,
    /// Slots that remember a call.
    pub slots: u64,
    /// Bytes of these: intents and replies.
    pub slot_bytes: u64,
    /// Activities, whether or not a call works on them.
    pub activities: u64,
    /// Bytes of these: states and replies.
    pub activity_bytes: u64,
    /// Values of the application.
    pub values: u64,
    /// Bytes of these.
    pub value_bytes: u64,
}

/// What a store holds and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Which store it is.
    pub id: StoreId,
    /// What it holds.
    pub contents: Contents,
    /// Session numbers handed out or reserved since the store was made.
    pub numbers_given: u64,
    /// Commits since the store was made, reservations of numbers among them.
    pub commits: u64,
    /// Bytes that its files take.
    pub bytes_on_disk: u64,
    /// Journals that are kept for records not yet in tables.
    pub journals: u64,
    /// Why nothing is written any more; `None`: the store is open.
    pub closed: Option<String>,
    /// What was done since it was opened.
    pub since_open: SinceOpen,
}

/// What a store did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinceOpen {
    /// Syncs, one for each commit that changed something.
    pub syncs: u64,
    /// Writes that were made.
    pub writes: u64,
    /// Writes that were refused: fenced, existing, missing, in conflict or too large.
    pub writes_refused: u64,
    /// Time spent in commits.
    pub commit_time: Duration,
    /// The longest commit.
    pub commit_time_max: Duration,
    /// The largest batch, in writes made.
    pub batch_writes_max: u64,
    /// How many commits were of each [class](BATCH_CLASSES) of size.
    pub batch_classes: [u64; BATCH_CLASSES],
}

/// A backup that was made and verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Which store the copy is.
    pub id: StoreId,
    /// What it holds.
    pub contents: Contents,
    /// Session numbers that it will not hand out.
    pub numbers_given: u64,
    /// Commits since the original was made, those of the copy added.
    pub commits: u64,
    /// Bytes that its files take.
    pub bytes_on_disk: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test A-28
    #[test]
    fn a_name_is_one_component_of_a_path() {
        let longest = "a".repeat(64);
        for name in ["a", "0", "nightly", "2026-02-03T04.05", "A_b-c.d", "a..b", &longest] {
            assert_eq!(BackupName::new(name).unwrap().as_str(), name);
        }
        let too_long = "a".repeat(65);
        for name in [
            "", ".", "..", ".hidden", "-rf", "_a", "../x", "a/b", "/etc", "a\\b", "C:", "a b", "ä", "a\0",
            "a\n", "a%2f", &too_long,
        ] {
            assert_eq!(BackupName::new(name), Err(BackupNameInvalid), "{name:?}");
        }
    }

    #[test]
    fn every_error_has_its_reason() {
        let failed = StoreError::Failed("x".into());
        for (error, reason) in [
            (OperationError::NameTaken, Reason::BackupExists),
            (OperationError::Running, Reason::BackupRunning),
            (OperationError::Stopped, Reason::CallCancelled),
            (OperationError::Store(failed), Reason::StoreUnavailable),
            (OperationError::Store(StoreError::Damaged("x".into())), Reason::StoreDamaged),
            (OperationError::Target("x".into()), Reason::BackupFailed),
        ] {
            assert_eq!(error.reason(), reason);
        }
    }

    #[test]
    fn a_store_is_named_by_hexadecimal_digits() {
        let mut id = StoreId::default();
        id.0[15] = 0xa5;
        assert_eq!(id.to_string(), "000000000000000000000000000000a5");
        assert_eq!(StoreId::parse(&id.to_string()), Some(id));
        for other in ["", "a5", "000000000000000000000000000000A5", "+00000000000000000000000000000a5"] {
            assert_eq!(StoreId::parse(other), None);
        }
    }
}
