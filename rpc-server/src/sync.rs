//! By what threads wait for each other, where `rpc-loom` tries the code with all their orders: it has its own for this.

pub(crate) use tokio::runtime::Handle;
pub(crate) use tokio::sync::{oneshot, watch};
pub(crate) use tokio_util::task::TaskTracker;
