//! The embedded store: sessions survive a crash of the server, with nothing to install.
//!
//! [`EmbeddedStore`] is a directory. It implements [`rpc_core::store::Store`] and knows nothing else of sessions, of
//! gRPC or of tokio; its calls block for as long as the medium takes. Give it to a server, and one thread of that
//! server commits for all sessions: many writes, one sync.
//!
//! ```
//! use rpc_core::store::{Durability, Store};
//! use rpc_store::EmbeddedStore;
//!
//! # let directory = std::env::temp_dir().join(format!("rpc-store-doc-{}", std::process::id()));
//! let store = EmbeddedStore::open(&directory)?;
//! assert_eq!(store.durability(), Durability::Durable);
//! let numbers = store.reserve_numbers(1_000.try_into()?)?;
//! drop(store);
//!
//! let store = EmbeddedStore::open(&directory)?;
//! assert!(store.reserve_numbers(1.try_into()?)?.start >= numbers.end);
//! # drop(store);
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! - A commit returns after `fdatasync` has returned, and each of its writes is made whole or not at all: the effects of a
//!   transaction and the reply of its call are there together. Numbers are handed out after the reservation is durable.
//! - What was acknowledged is there after a crash of process or machine. Where it is not, or not as it was written,
//!   opening fails and says where: damage is never read as data.
//! - After the first failed write the store stays closed for writing until it is opened again. Reads go on.
//! - One process has the directory at a time.
//!
//! Formats, the order of steps, and what is *not* promised are in `docs/storage.md`.
//!
//! # For operators
//!
//! [`check`] verifies a store that no process uses, [`EmbeddedStore::backup`] copies one in use,
//! [`EmbeddedStore::statistics`] counts. A program whose server uses the store keeps a handle for that: an `Arc` of a store
//! is a store, too. With [`Backups`] the server lets operators do it from outside.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backup;
mod backups;
mod check;
mod contents;
#[cfg(test)]
mod crash;
mod encode;
mod engine;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod inventory;
mod journal;
mod layout;
mod manifest;
mod open;
mod plan;
mod read;
mod stats;
mod store;
#[cfg(test)]
#[path = "../tests/it/support.rs"]
mod support;
mod witness;

pub use backup::BackupError;
pub use backups::Backups;
pub use check::{Report, check};
pub use error::OpenError;
pub use store::EmbeddedStore;

#[doc(no_inline)]
pub use rpc_core::store::StoreError;
#[doc(no_inline)]
pub use rpc_core::store::operations::{
    BATCH_CLASSES, BackupName, Contents, Copied, OperationError, Operations, SinceOpen, Statistics, StoreId,
};
