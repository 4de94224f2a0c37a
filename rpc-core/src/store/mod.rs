//! The store: what it must do, what operators do with it, and the one that forgets when the process ends.

mod memory;
pub mod operations;
mod shared;
#[cfg(any(test, feature = "testing"))]
pub mod suite;

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

pub use memory::MemoryStore;

use crate::activity::Key;
use crate::error::Reason;
use crate::id::{Epoch, SessionId};
use crate::record::{ActivityRecord, SessionRecord, SlotRecord, Tombstone, Write};
use crate::transaction::Versioned;

/// What survives the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Nothing.
    Volatile,
    /// Everything that a commit was answered for.
    Durable,
}

/// A session as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stored {
    /// It lives, under this epoch, and its slots remember this: each slot once, ascending.
    Live(Epoch, Arc<SessionRecord>, Vec<SlotRecord>),
    /// It has ended and is remembered for the retention time.
    Ended(Epoch, Box<Tombstone>),
}

impl Stored {
    /// The epoch of the server that owns, or owned, the session.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Live(epoch, ..) | Self::Ended(epoch, _) => *epoch,
        }
    }
}

/// Why one write of a batch was not made. The others are not affected.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WriteError {
    /// The stored epoch is another: a different server owns the session.
    #[error("fenced: the stored epoch is {stored}")]
    Fenced {
        /// The epoch in the store.
        stored: Epoch,
    },
    /// The number is in use already, or was.
    #[error("the session exists already")]
    Exists,
    /// There is no such session, or it has ended.
    #[error("no such session")]
    Missing,
    /// Another transaction has changed what this one has read: run the call again.
    #[error("another transaction has changed what this one has read")]
    Conflict,
    /// The store was not asked, because too many writes wait for it. Later ones may be made.
    #[error("too many writes wait for the store")]
    Overloaded,
    /// The store failed; see [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WriteError {
    /// The stable reason for whoever waits for the write.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Fenced { .. } => Reason::SessionFenced,
            Self::Conflict => Reason::TransactionConflict,
            Self::Exists | Self::Missing | Self::Overloaded | Self::Store(_) => Reason::StoreUnavailable,
        }
    }
}

/// Why the store as a whole does not do what it is asked. After the first of these it stays closed for writing until
/// it is opened again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// It was closed, or an earlier write failed.
    #[error("the store is closed: {0}")]
    Closed(String),
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// What was read is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// All numbers are used up.
    #[error("the store has no numbers left")]
    NumbersExhausted,
}

impl StoreError {
    /// The stable reason for an operator who asked the store itself.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Damaged(_) => Reason::StoreDamaged,
            Self::Closed(_) | Self::Failed(_) | Self::NumbersExhausted => Reason::StoreUnavailable,
        }
    }
}

/// Keeps sessions, and activities, which outlive them.
///
/// # What callers may rely on
///
/// - A number is handed out once in the life of the store, also when it is reserved and never used (I8).
/// - When [`commit`](Store::commit) returns, each write that was answered `Ok` is as safe as
///   [`durability`](Store::durability) says, and seen by every later `load` and `scan`.
/// - Writes of one batch to one session are made in their order; a write is made only while the stored epoch is the
///   writer's (I7), checked in the same transaction as the effect. A claim raises the epoch for the writes after it; one
///   that would leave it or lower it is refused with [`WriteError::Fenced`].
/// - Transactions of one batch are made in its order: one that has read what an earlier one writes is refused.
/// - A write that was answered with an error has no effect, now or later; except that after [`StoreError::Failed`] it
///   may have one, which is why the store then stays closed until it is opened again.
///
/// # What callers must do
///
/// The methods block for as long as the medium takes; call them where blocking is harmless. One thread that commits
/// for all sessions gives group commit: one sync for everything that waits.
///
/// # What implementers must do
///
/// Pass the suite (`store::suite`, feature `testing`), and return from `commit` only after the sync has returned. Never answer from memory what a failed
/// sync was to keep.
pub trait Store: Send + Sync + 'static {
    /// What survives the end of the process.
    fn durability(&self) -> Durability;

    /// Hands out `count` numbers that were never handed out before; the range never contains 0.
    ///
    /// # Errors
    ///
    /// The store failed or has no numbers left.
    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError>;

    /// What the store has of a session; `None` if it never had it, or has forgotten it.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError>;

    /// The application's value under `key`, as it was last committed.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError>;

    /// Makes the writes of a batch, each for itself, and answers each in its place.
    ///
    /// # Errors
    ///
    /// The store failed: nothing of the batch may be relied on.
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError>;

    /// Sessions with a number above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError>;

    /// Activities behind `after`, in an order of the store's own that is always the same; at most `limit`.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError>;
}
