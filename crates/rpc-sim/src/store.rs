//! A durable store that is simulated: memory for a medium, and time, failures and crashes that a seed decides.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rpc_core::activity::Key;
use rpc_core::id::SessionId;
use rpc_core::record::{ActivityRecord, Change, Write};
use rpc_core::store::{Durability, MemoryStore, Store, StoreError, Stored, WriteError};
use rpc_core::transaction::Versioned;
use rpc_server::{Committing, SimulatedStore};
use tokio::time::sleep;

use crate::random::Random;
use crate::witness::{Entry, Witness};

/// What a crash, a full disk and a busy one do to writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Each sync takes up to so many milliseconds more.
    pub slower_ms: u64,
    /// The next sync fails.
    pub fails: bool,
    /// In so many of 100 cases, a write that says what has not happened yet is refused.
    pub refused_percent: u64,
}

struct Inner {
    random: Random,
    weather: Weather,
    /// Who may write; an older one is shut out.
    mount: u64,
    /// The mount whose sync has failed.
    broken: Option<u64>,
}

/// The medium. It survives its servers.
pub struct Disk {
    synced: MemoryStore,
    inner: Mutex<Inner>,
    witness: Arc<Witness>,
}

impl Disk {
    /// An empty one.
    pub fn new(seed: u64, witness: Arc<Witness>) -> Arc<Self> {
        let random = Random::new(seed, 0xd15c);
        let inner = Inner { random, weather: Weather::default(), mount: 0, broken: None };
        Arc::new(Self { synced: MemoryStore::new(), inner: Mutex::new(inner), witness })
    }

    /// Opens it. Whoever had it open is shut out from this moment.
    pub fn mount(self: &Arc<Self>) -> Mount {
        let mut inner = self.lock();
        inner.mount += 1;
        let number = inner.mount;
        drop(inner);
        self.witness.event(|| format!("the store is open for the {number}. time"));
        Mount { disk: Arc::clone(self), number }
    }

    /// Changes what happens to the next writes.
    pub fn weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.lock().weather);
    }

    /// Whether a sync has failed since it was last opened.
    pub fn is_broken(&self) -> bool {
        let inner = self.lock();
        inner.broken == Some(inner.mount)
    }

    /// The application's value under a key.
    pub fn value(&self, key: &[u8]) -> Option<Versioned> {
        self.synced.get(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the writes as the rules of a store are.
    fn make(&self, mount: u64, batch: Vec<Write>) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        let refused = self.lock().weather.refused_percent;
        batch.into_iter().map(|write| self.make_one(mount, refused, write)).collect()
    }

    fn make_one(
        &self,
        mount: u64,
        refused_percent: u64,
        write: Write,
    ) -> Result<Result<(), WriteError>, StoreError> {
        if !write.change.has_happened() && self.lock().random.percent(refused_percent) {
            return Ok(Err(WriteError::Overloaded));
        }
        let answer = self.synced.commit(std::slice::from_ref(&write))?.remove(0);
        let told = || format!("mount {mount} writes {write:?}: {answer:?}");
        self.witness.note(told, |seen, order| {
            seen.journal.push(Entry { order, mount, write: write.clone(), answer: answer.clone() });
        });
        Ok(answer)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

/// The store as one server has it open.
#[derive(Clone)]
pub struct Mount {
    disk: Arc<Disk>,
    number: u64,
}

impl Mount {
    /// Who was shut out is refused whatever it writes, but in a session that its successor has claimed: nothing but the
    /// epoch keeps it from those, as with two servers that share a store.
    fn check_writes(&self, batch: &[Write]) -> Result<(), StoreError> {
        let checked = self.check();
        let is_claimed = |write: &Write| {
            let stored = self.disk.synced.load(write.session).ok().flatten();
            let names_epoch = !matches!(write.change, Change::ForgetActivity(..));
            names_epoch && stored.is_some_and(|stored| stored.epoch() > write.epoch)
        };
        if checked.is_err() && batch.iter().all(is_claimed) { Ok(()) } else { checked }
    }

    /// Whether this server is the one that may write.
    fn check(&self) -> Result<(), StoreError> {
        let inner = self.disk.lock();
        if inner.mount != self.number {
            return Err(StoreError::Closed("another server has opened it".into()));
        }
        if inner.broken == Some(self.number) {
            return Err(StoreError::Closed("a sync has failed".into()));
        }
        Ok(())
    }

    fn write_error(&self, batch: &mut InFlight) -> StoreError {
        batch.crash();
        // Of one that was shut out meanwhile, its successor knows nothing.
        let mut inner = self.disk.lock();
        if inner.mount == self.number {
            inner.broken = Some(self.number);
        }
        drop(inner);
        self.disk.witness.event(|| format!("a sync of mount {} fails", self.number));
        StoreError::Failed("the sync failed".into())
    }
}

/// Writes that were given to the medium and are not safe yet. Dropped before they are, that was a crash: the first few of
/// them may be there afterwards.
struct InFlight {
    mount: Mount,
    batch: Vec<Write>,
}

impl InFlight {
    fn crash(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() || self.mount.check_writes(&batch).is_err() {
            return;
        }
        let kept = {
            let mut inner = self.mount.disk.lock();
            let all = batch.len() as u64;
            // None and all are what happens mostly.
            match inner.random.within(0..4) {
                0 => inner.random.within(0..all + 1),
                1 => all,
                _ => 0,
            }
        };
        let kept = batch.into_iter().take(usize::try_from(kept).unwrap_or(usize::MAX));
        // Nobody is left to be told.
        let _ = self.mount.disk.make(self.mount.number, kept.collect());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Store for Mount {
    fn durability(&self) -> Durability {
        Durability::Durable
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        self.check()?;
        self.disk.synced.reserve_numbers(count)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        self.disk.synced.load(session)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.check()?;
        self.disk.synced.get(key)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        self.check_writes(batch)?;
        self.disk.make(self.number, batch.to_vec())
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        self.disk.synced.scan(after, limit)
    }

    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError> {
        self.disk.synced.scan_activities(after, limit)
    }
}

impl SimulatedStore for Mount {
    fn commit_in_time(&self, batch: Vec<Write>) -> Committing<'_> {
        Box::pin(async move {
            self.check_writes(&batch)?;
            let mut batch = InFlight { mount: self.clone(), batch };
            let (before, after, fails) = {
                let mut inner = self.disk.lock();
                let slower = inner.weather.slower_ms;
                let [before, after] = [0, 1].map(|_| inner.random.millis(0..4 + slower));
                (before, after, std::mem::take(&mut inner.weather.fails))
            };
            pause(before).await;
            if fails {
                return Err(self.write_error(&mut batch));
            }
            self.check_writes(&batch.batch)?;
            let answers = self.disk.make(self.number, std::mem::take(&mut batch.batch))?;
            pause(after).await;
            Ok(answers)
        })
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
