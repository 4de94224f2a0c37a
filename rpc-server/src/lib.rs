//! A gRPC server with sessions: numbered, leased, owned by an authenticated caller, with calls that run once.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod auth;
mod context;
pub mod layers;
mod methods;
pub mod net;
mod server;
mod service;
mod sessions;

pub use context::{ContextMissing, Deadline, SessionContext, SessionExt};
pub use methods::Unkept;
pub use rpc_core::config::{Limits, Range, Terms};
pub use rpc_core::store::{MemoryStore, Store};
pub use rpc_core::{error, id, negotiate, policy, principal, store};
pub use server::{Builder, Detached, Handle, Server, SessionStack, StackLayer, StartError, Undecided};
pub use sessions::{Entropy, SystemEntropy};
