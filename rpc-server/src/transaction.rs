//! What the handler of an EXACTLY_ONCE method reads and writes: `request.transaction()?`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rpc_core::error::Reason;
use rpc_core::store::StoreError;
use rpc_core::transaction::{self as core, Version};
use rpc_proto::status::Refusal;
use tonic::Status;

use crate::sessions::Values;

/// The transaction of one call: keys and values of the application, in the store of the server. A cheap clone.
///
/// What the handler writes is committed together with its reply, or not at all: after a crash of the server at any moment
/// the call either has had its effects and its reply is known, or has had none and runs again. If another call has
/// meanwhile changed what this one read, the handler is run again, with a transaction of its own; so it must do nothing
/// else that lasts. All transactions of a store are serializable.
///
/// A handler that ends with an error has no effects: its error is the recorded reply, and what it wrote is dropped.
///
/// # Bounds
///
/// Keys have 1 to 1,024 bytes, values up to 256 KiB. One transaction reads and writes up to 1,024 keys, and writes up to
/// 1 MiB.
#[derive(Clone)]
pub struct Transaction {
    shared: Arc<Shared>,
}

struct Shared {
    values: Values,
    /// `None` when the handler has ended.
    open: Mutex<Option<core::Transaction>>,
}

/// Why a transaction does not do what it is asked. Becomes a [`Status`] by `?`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Key or value are out of bounds, or it is too much.
    #[error(transparent)]
    Bounds(#[from] core::TransactionError),
    /// The store failed.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The handler has ended, and with it the transaction.
    #[error("the call of this transaction has ended")]
    Ended,
}

impl From<TransactionError> for Status {
    fn from(error: TransactionError) -> Self {
        match &error {
            TransactionError::Bounds(_) => Self::resource_exhausted(error.to_string()),
            TransactionError::Store(_) => {
                Refusal::new(Reason::StoreUnavailable, "the store cannot be read").into_status()
            }
            TransactionError::Ended => Self::internal(error.to_string()),
        }
    }
}

impl Transaction {
    pub(crate) fn new(values: Values) -> Self {
        Self { shared: Arc::new(Shared { values, open: Mutex::new(Some(core::Transaction::new())) }) }
    }

    /// The value under `key`, with what this transaction itself has written; `None` if there is none.
    ///
    /// # Errors
    ///
    /// See [`TransactionError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, TransactionError> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let written = self.with(|open| Ok(open.written(&key)))?;
        if let Some(written) = written {
            return Ok(written);
        }
        let found = self.shared.values.get(key.clone()).await?;
        let version = found.as_ref().map_or(Version::NONE, |found| found.version);
        self.with(|open| Ok(open.read(key, version)?))?;
        Ok(found.map(|found| found.value))
    }

    /// Writes `value` under `key`.
    ///
    /// # Errors
    ///
    /// See [`TransactionError`]; the transaction is as it was.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), TransactionError> {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.with(|open| Ok(open.write(key, Some(value.into()))?))
    }

    /// Removes what is under `key`, if anything is.
    ///
    /// # Errors
    ///
    /// See [`TransactionError`]; the transaction is as it was.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<(), TransactionError> {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.with(|open| Ok(open.write(key, None)?))
    }

    /// The handler has ended: what it has read and written.
    pub(crate) fn end(&self) -> core::Transaction {
        self.lock().take().unwrap_or_default()
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut core::Transaction) -> Result<T, TransactionError>,
    ) -> Result<T, TransactionError> {
        act(self.lock().as_mut().ok_or(TransactionError::Ended)?)
    }

    fn lock(&self) -> MutexGuard<'_, Option<core::Transaction>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transaction").field(&*self.lock()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rpc_core::store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn it_reads_what_it_wrote_and_ends_with_its_call() {
        let transaction = Transaction::new(Values::of(Arc::new(MemoryStore::new())));
        assert_eq!(transaction.get("alice").await, Ok(None));
        transaction.put("alice", "10").unwrap();
        assert_eq!(transaction.get("alice").await, Ok(Some("10".into())));
        transaction.remove("alice").unwrap();
        assert_eq!(transaction.get("alice").await, Ok(None));
        assert!(matches!(transaction.put("", "x"), Err(TransactionError::Bounds(_))));
        assert!(!format!("{transaction:?}").contains("alice"));
        let ended = transaction.end();
        assert_eq!(ended.reads().count(), 1);
        assert_eq!(ended.writes().count(), 1);
        assert_eq!(transaction.get("alice").await, Err(TransactionError::Ended));
        assert_eq!(transaction.put("alice", "1"), Err(TransactionError::Ended));
    }
}
