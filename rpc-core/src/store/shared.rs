//! A store that a program keeps a handle on while a server uses it.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use super::{Durability, Store, StoreError, Stored, WriteError};
use crate::activity::Key;
use crate::id::SessionId;
use crate::record::{ActivityRecord, Write};
use crate::transaction::Versioned;

/// The same store, whoever has the handle.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn durability(&self) -> Durability {
        (**self).durability()
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        (**self).reserve_numbers(count)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        (**self).load(session)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        (**self).get(key)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        (**self).commit(batch)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        (**self).scan(after, limit)
    }

    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError> {
        (**self).scan_activities(after, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryStore, suite};
    use super::*;

    #[test]
    fn a_shared_store_passes_the_suite() {
        suite::run(|| Arc::new(MemoryStore::new()));
        suite::run(|| -> Arc<dyn Store> { Arc::new(MemoryStore::new()) });
    }
}
