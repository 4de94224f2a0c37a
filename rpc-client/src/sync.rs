//! By what threads wait for each other, where `rpc-loom` tries the code with all their orders: it has its own for this.

pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use tokio::sync::{Notify, Semaphore};
pub(crate) use tokio::time::timeout_at;
