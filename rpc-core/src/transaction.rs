//! What the handler of an EXACTLY_ONCE call reads and writes: its own keys and values, committed together with the reply
//! of the call or not at all.
//!
//! Transactions are optimistic: each remembers what it has read, and is refused at its commit if another has changed
//! that since. The call is then run again. So all transactions of a store are serializable, in the order of their commits.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use bytes::Bytes;

/// Longest key, in bytes. A key has at least one.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// Most keys that one transaction reads or writes.
pub const KEYS_MAX: usize = 1_024;
/// Most bytes of keys and values that one transaction writes.
pub const WRITE_BYTES_MAX: usize = 1 << 20;

/// Which commit wrote a value; the store counts them. 0: there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl Version {
    /// Of a key that has no value.
    pub const NONE: Self = Self(0);
}

/// A value with its version. `Debug` shows no bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Versioned {
    /// Which commit wrote it.
    pub version: Version,
    /// The value.
    pub value: Bytes,
}

impl fmt::Debug for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Versioned({}, <{} bytes>)", self.version.0, self.value.len())
    }
}

/// Why a key or value is not taken into a transaction. The transaction is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// No bytes, or over [`KEY_BYTES_MAX`].
    #[error("a key of {0} bytes, allowed are 1 to {KEY_BYTES_MAX}")]
    Key(usize),
    /// Over [`VALUE_BYTES_MAX`].
    #[error("a value of {0} bytes, allowed are {VALUE_BYTES_MAX}")]
    Value(usize),
    /// Over [`KEYS_MAX`].
    #[error("more than {KEYS_MAX} keys in one transaction")]
    Keys,
    /// Over [`WRITE_BYTES_MAX`].
    #[error("more than {WRITE_BYTES_MAX} bytes written by one transaction")]
    Bytes,
}

/// What one call has read and is going to write. `Debug` shows counts.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Transaction {
    reads: BTreeMap<Bytes, Version>,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    write_bytes: usize,
}

impl Transaction {
    /// One that has read and written nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the transaction has itself written under `key`: `Some(None)` if it has removed it; `None` if the store is to
    /// be asked.
    pub fn written(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.writes.get(key).cloned()
    }

    /// The store was asked for `key` and has this version. What was read first counts.
    ///
    /// # Errors
    ///
    /// The key is too long, or there are too many.
    pub fn read(&mut self, key: Bytes, version: Version) -> Result<(), TransactionError> {
        let full = self.reads.len() + self.writes.len() >= KEYS_MAX;
        check_key(&key)?;
        if let Entry::Vacant(place) = self.reads.entry(key) {
            if full {
                return Err(TransactionError::Keys);
            }
            place.insert(version);
        }
        Ok(())
    }

    /// Writes `value` under `key`; `None` removes it.
    ///
    /// # Errors
    ///
    /// Key or value are too long, or it is too much.
    pub fn write(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), TransactionError> {
        check_key(&key)?;
        let length = value.as_ref().map_or(0, Bytes::len);
        if length > VALUE_BYTES_MAX {
            return Err(TransactionError::Value(length));
        }
        let is_new = !self.writes.contains_key(&key);
        if is_new && self.reads.len() + self.writes.len() >= KEYS_MAX {
            return Err(TransactionError::Keys);
        }
        let before = self.writes.get(&key).map_or(0, |value| cost(&key, value.as_ref()));
        let bytes = self.write_bytes - before + cost(&key, value.as_ref());
        if bytes > WRITE_BYTES_MAX {
            return Err(TransactionError::Bytes);
        }
        self.write_bytes = bytes;
        self.writes.insert(key, value);
        Ok(())
    }

    /// The call ended with an error: it has no effects, and what it has read still has to be so.
    pub fn forget_writes(&mut self) {
        self.writes.clear();
        self.write_bytes = 0;
    }

    /// Bytes of what it writes.
    pub fn bytes(&self) -> usize {
        self.write_bytes
    }

    /// What it has read, in the order of the keys.
    pub fn reads(&self) -> impl Iterator<Item = (&Bytes, Version)> {
        self.reads.iter().map(|(key, version)| (key, *version))
    }

    /// What it writes, in the order of the keys.
    pub fn writes(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.writes.iter().map(|(key, value)| (key, value.as_ref()))
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction(<{} reads>, <{} writes>)", self.reads.len(), self.writes.len())
    }
}

fn check_key(key: &[u8]) -> Result<(), TransactionError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(TransactionError::Key(key.len())) } else { Ok(()) }
}

fn cost(key: &[u8], value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_transaction_sees_what_it_wrote() {
        let mut transaction = Transaction::new();
        assert_eq!(transaction.written(b"alice"), None);
        transaction.write(bytes("alice"), Some(bytes("10"))).unwrap();
        transaction.write(bytes("bob"), None).unwrap();
        assert_eq!(transaction.written(b"alice"), Some(Some(bytes("10"))));
        assert_eq!(transaction.written(b"bob"), Some(None));
    }

    #[test]
    fn what_was_read_first_counts() {
        let mut transaction = Transaction::new();
        transaction.read(bytes("alice"), Version(3)).unwrap();
        transaction.read(bytes("alice"), Version(4)).unwrap();
        assert_eq!(transaction.reads().collect::<Vec<_>>(), [(&bytes("alice"), Version(3))]);
    }

    #[test]
    fn it_is_bounded_and_a_refusal_changes_nothing() {
        let mut transaction = Transaction::new();
        assert_eq!(transaction.write(Bytes::new(), None), Err(TransactionError::Key(0)));
        let long = Bytes::from(vec![0; KEY_BYTES_MAX + 1]);
        assert_eq!(transaction.read(long, Version::NONE), Err(TransactionError::Key(KEY_BYTES_MAX + 1)));
        let large = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
        let refused = TransactionError::Value(VALUE_BYTES_MAX + 1);
        assert_eq!(transaction.write(bytes("k"), Some(large)), Err(refused));
        assert_eq!(transaction, Transaction::new());
        let value = Bytes::from(vec![0; VALUE_BYTES_MAX]);
        for key in ["a", "b", "c"] {
            transaction.write(bytes(key), Some(value.clone())).unwrap();
        }
        assert_eq!(transaction.write(bytes("d"), Some(value.clone())), Err(TransactionError::Bytes));
        // Written over, the old value costs nothing any more.
        transaction.write(bytes("c"), None).unwrap();
        transaction.write(bytes("d"), Some(value)).unwrap();
        for key in transaction.writes.len()..KEYS_MAX {
            transaction.read(Bytes::from(format!("r{key}")), Version::NONE).unwrap();
        }
        assert_eq!(transaction.read(bytes("more"), Version::NONE), Err(TransactionError::Keys));
        assert_eq!(transaction.write(bytes("more"), None), Err(TransactionError::Keys));
        assert_eq!(transaction.read(bytes("r4"), Version::NONE), Ok(()), "it was read before");
    }
}
