//! One store for the server and for the bank: the sessions and the money are in the same place.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use rpc_core::activity::Key;
use rpc_core::id::SessionId;
use rpc_core::record::{ActivityRecord, Write};
use rpc_core::store::{Durability, Store, StoreError, Stored, WriteError};
use rpc_core::transaction::Versioned;
use rpc_store::EmbeddedStore;

/// The embedded store in many hands. A cheap clone.
#[derive(Clone)]
pub struct Shared {
    store: Arc<EmbeddedStore>,
    committed: Arc<dyn Fn(&EmbeddedStore) + Send + Sync>,
}

impl Shared {
    /// This store.
    pub fn new(store: EmbeddedStore) -> Self {
        Self { store: Arc::new(store), committed: Arc::new(|_| ()) }
    }

    /// Calls `then` each time something was committed, before anybody is answered.
    #[must_use]
    pub fn when_committed(mut self, then: impl Fn(&EmbeddedStore) + Send + Sync + 'static) -> Self {
        self.committed = Arc::new(then);
        self
    }
}

impl Store for Shared {
    fn durability(&self) -> Durability {
        self.store.durability()
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        self.store.reserve_numbers(count)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        self.store.load(session)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.store.get(key)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        let written = self.store.commit(batch)?;
        (self.committed)(&self.store);
        Ok(written)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        self.store.scan(after, limit)
    }

    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError> {
        self.store.scan_activities(after, limit)
    }
}
