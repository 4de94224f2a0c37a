//! A store in memory.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Durability, Store, StoreError, Stored, WriteError};
use bytes::Bytes;

use crate::activity::{Key, Worker};
use crate::id::{Epoch, SessionId};
use crate::planted::{self, Bug};
use crate::record::{ActivityRecord, Change, SessionRecord, SlotRecord, Tombstone, Write};
use crate::transaction::{Transaction, Version, Versioned};

/// Keeps sessions until the process ends. For tests, and for servers whose sessions need not survive them.
///
/// Numbers begin at 1 in each new store: they are unique for the life of the store, and that is the process's.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Clone, Hash, Default)]
struct Inner {
    numbers_given: u64,
    sessions: BTreeMap<SessionId, Session>,
    activities: BTreeMap<Key, ActivityRecord>,
    values: BTreeMap<Bytes, Versioned>,
    /// Counts what transactions have committed.
    version: Version,
}

/// What is kept of a session: [`Stored`], without room for slots where none are kept.
#[derive(Debug, Clone, Hash)]
enum Session {
    Live(Epoch, Arc<SessionRecord>, Option<Box<Slots>>),
    Ended(Epoch, Box<Tombstone>),
}

/// In the order of their numbers.
#[derive(Debug, Clone, Hash, Default)]
struct Slots(Vec<SlotRecord>);

impl Session {
    fn epoch(&self) -> Epoch {
        match self {
            Self::Live(epoch, ..) | Self::Ended(epoch, _) => *epoch,
        }
    }

    fn stored(&self) -> Stored {
        match self {
            Self::Live(epoch, record, slots) => Stored::Live(
                *epoch,
                Arc::clone(record),
                slots.as_ref().map(|slots| slots.0.clone()).unwrap_or_default(),
            ),
            Self::Ended(epoch, tombstone) => Stored::Ended(*epoch, tombstone.clone()),
        }
    }
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

/// Another store with the same in it.
impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { inner: Mutex::new(self.lock().clone()) }
    }
}

/// Of what is in it.
impl Hash for MemoryStore {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lock().hash(state);
    }
}

impl Inner {
    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Write { session, epoch, change } = write;
        if let Change::ForgetActivity(key, call) = change {
            return self.forget_activity(key, Worker { session: *session, call: *call });
        }
        let stored = self.sessions.get(session);
        //= C-53
        if let Some(other) = stored.map(Session::epoch).filter(|stored| stored != epoch)
            && !planted::is(Bug::EpochNotCompared)
        {
            return Err(WriteError::Fenced { stored: other });
        }
        match change {
            Change::Create(_) if stored.is_some() => return Err(WriteError::Exists),
            Change::Create(record) => self.put(*session, Session::Live(*epoch, Arc::clone(record), None)),
            Change::Update(record) => *self.live(*session)?.1 = Arc::clone(record),
            Change::Claim(next) => {
                let (stored, ..) = self.live(*session)?;
                if *next <= *stored {
                    return Err(WriteError::Fenced { stored: *stored });
                }
                *stored = *next;
            }
            Change::Slot(slot) => self.live(*session)?.2.get_or_insert_default().put(slot),
            Change::Commit(slot, transaction) => {
                self.live(*session)?;
                self.apply(transaction)?;
                self.live(*session)?.2.get_or_insert_default().put(slot);
            }
            Change::Activity(activity, slot) => {
                let (_, _, slots) = self.live(*session)?;
                if let Some(slot) = slot {
                    slots.get_or_insert_default().put(slot);
                }
                self.activities.insert(activity.key.clone(), (**activity).clone());
            }
            // It asks for no session, and was answered above.
            Change::ForgetActivity(..) => {}
            Change::End(tombstone) => {
                self.live(*session)?;
                self.put(*session, Session::Ended(*epoch, tombstone.clone()));
            }
            Change::Forget => {
                self.sessions.remove(session).ok_or(WriteError::Missing)?;
            }
        }
        Ok(())
    }

    fn forget_activity(&mut self, key: &Key, worker: Worker) -> Result<(), WriteError> {
        if self.activities.get(key).is_none_or(|found| found.worker != worker) {
            return Err(WriteError::Missing);
        }
        self.activities.remove(key);
        Ok(())
    }

    fn put(&mut self, session: SessionId, stored: Session) {
        self.sessions.insert(session, stored);
    }

    fn live(&mut self, session: SessionId) -> Result<LiveParts<'_>, WriteError> {
        match self.sessions.get_mut(&session) {
            Some(Session::Live(epoch, record, slots)) => Ok((epoch, record, slots)),
            Some(Session::Ended(..)) | None => Err(WriteError::Missing),
        }
    }

    fn apply(&mut self, transaction: &Transaction) -> Result<(), WriteError> {
        let version = |key| self.values.get(key).map_or(Version::NONE, |value| value.version);
        if transaction.reads().any(|(key, read)| version(key) != read) && !planted::is(Bug::ReadsNotCompared)
        {
            return Err(WriteError::Conflict);
        }
        self.version.0 += 1;
        for (key, value) in transaction.writes() {
            match value {
                Some(value) => {
                    let versioned = Versioned { version: self.version, value: value.clone() };
                    self.values.insert(key.clone(), versioned);
                }
                None => {
                    self.values.remove(key);
                }
            }
        }
        Ok(())
    }
}

type LiveParts<'a> = (&'a mut Epoch, &'a mut Arc<SessionRecord>, &'a mut Option<Box<Slots>>);

impl Slots {
    fn put(&mut self, slot: &SlotRecord) {
        match self.0.binary_search_by_key(&slot.slot, |slot| slot.slot) {
            Ok(index) => self.0[index] = slot.clone(),
            Err(index) => self.0.insert(index, slot.clone()),
        }
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
        Ok(self.lock().sessions.get(&session).map(Session::stored))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        Ok(self.lock().values.get(key).cloned())
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        let mut inner = self.lock();
        Ok(batch.iter().map(|write| inner.write(write)).collect())
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let inner = self.lock();
        let found = inner.sessions.range((above, Bound::Unbounded)).take(limit);
        Ok(found.map(|(id, stored)| (*id, stored.stored())).collect())
    }

    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let inner = self.lock();
        let found = inner.activities.range::<Key, _>((above, Bound::Unbounded)).take(limit);
        Ok(found.map(|(_, activity)| activity.clone()).collect())
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
