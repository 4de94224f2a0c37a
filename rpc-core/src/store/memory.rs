//! A store in memory.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Durability, Store, StoreError, Stored, WriteError};
use crate::id::SessionId;
use crate::record::{Change, Write};

/// Keeps sessions until the process ends. For tests, and for servers whose sessions need not survive them.
///
/// Numbers begin at 1 in each new store: they are unique for the life of the store, and that is the process's.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    numbers_given: u64,
    sessions: BTreeMap<SessionId, Stored>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A panic while the lock was held cannot leave a half-made write behind: each is one insertion or removal.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Write { session, epoch, change } = write;
        let stored = self.sessions.get(session);
        //= C-53
        if let Some(other) = stored.map(Stored::epoch).filter(|stored| stored != epoch) {
            return Err(WriteError::Fenced { stored: other });
        }
        match (change, stored) {
            (Change::Create(record), None) => self.put(*session, Stored::Live(*epoch, record.clone())),
            (Change::Create(_), Some(_)) => return Err(WriteError::Exists),
            (Change::Update(record), Some(Stored::Live(..))) => {
                self.put(*session, Stored::Live(*epoch, record.clone()));
            }
            (Change::End(tombstone), Some(Stored::Live(..))) => {
                self.put(*session, Stored::Ended(*epoch, tombstone.clone()));
            }
            (Change::Forget, Some(_)) => {
                self.sessions.remove(session);
            }
            (Change::Update(_) | Change::End(_), Some(Stored::Ended(..)) | None) | (Change::Forget, None) => {
                return Err(WriteError::Missing);
            }
        }
        Ok(())
    }

    fn put(&mut self, session: SessionId, stored: Stored) {
        self.sessions.insert(session, stored);
    }
}

impl Store for MemoryStore {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        let mut inner = self.lock();
        //= I8
        let first = inner.numbers_given + 1;
        let end = first.checked_add(u64::from(count.get())).ok_or(StoreError::NumbersExhausted)?;
        inner.numbers_given = end - 1;
        Ok(first..end)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        Ok(self.lock().sessions.get(&session).cloned())
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        let mut inner = self.lock();
        Ok(batch.iter().map(|write| inner.write(write)).collect())
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let inner = self.lock();
        let found = inner.sessions.range((above, Bound::Unbounded)).take(limit);
        Ok(found.map(|(id, stored)| (*id, stored.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_suite() {
        super::super::suite::run(MemoryStore::new);
    }

    #[test]
    fn numbers_run_out_with_an_error() {
        let store = MemoryStore::new();
        store.lock().numbers_given = u64::MAX - 2;
        let count = NonZeroU32::new(2).unwrap();
        assert_eq!(store.reserve_numbers(count), Err(StoreError::NumbersExhausted));
        assert_eq!(store.reserve_numbers(NonZeroU32::MIN), Ok(u64::MAX - 1..u64::MAX));
    }
}
