//! The application's values in the store, read where that blocks nobody.

use std::sync::Arc;

use bytes::Bytes;
use rpc_core::store::{Durability, Store, StoreError};
use rpc_core::transaction::Versioned;

/// Reads values of the application. A cheap clone.
#[derive(Clone)]
pub(crate) enum Values {
    /// The store answers from memory: it is asked on the spot.
    AtHand(Arc<dyn Store>),
    /// It may wait for a medium: it is asked on a thread that may block.
    Blocking(Arc<dyn Store>),
}

impl Values {
    /// Those of a store.
    pub(crate) fn of(store: Arc<dyn Store>) -> Self {
        match store.durability() {
            Durability::Volatile => Self::AtHand(store),
            Durability::Durable => Self::Blocking(store),
        }
    }

    /// Those of a store that answers from memory whatever it says of its durability.
    pub(crate) fn at_hand(store: Arc<dyn Store>) -> Self {
        Self::AtHand(store)
    }

    /// The value under `key`, as it was last committed.
    ///
    /// # Errors
    ///
    /// The store failed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn get(&self, key: Bytes) -> Result<Option<Versioned>, StoreError> {
        match self {
            Self::AtHand(store) => store.get(&key),
            Self::Blocking(store) => {
                let store = Arc::clone(store);
                let read = tokio::task::spawn_blocking(move || store.get(&key)).await;
                read.map_err(|_| StoreError::Failed("it panicked".into()))?
            }
        }
    }
}
