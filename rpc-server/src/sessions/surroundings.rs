//! What sessions take from outside of the process: randomness, the time of day, and a store that is a simulation's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use rpc_core::record::Write;
use rpc_core::store::{Store, StoreError, WriteError};

use super::ticket::{Entropy, SystemEntropy};
use crate::auth::WallClock;

/// A commit that takes its time.
pub type Committing<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Result<(), WriteError>>, StoreError>> + Send + 'a>>;

/// A store that blocks no thread, and whose commits take time all the same: that of the runtime. For simulations, in which
/// the thread that other durable stores get would not repeat.
///
/// All that [`Store`] promises holds. A server commits by [`commit_in_time`](Self::commit_in_time) only, one batch at a
/// time, in a task of the runtime on which it was built.
pub trait SimulatedStore: Store {
    /// As [`Store::commit`]: answers when the medium has the writes.
    ///
    /// # Cancel safety
    ///
    /// Dropped with its runtime. It must be as if the machine had crashed at that moment.
    fn commit_in_time(&self, batch: Vec<Write>) -> Committing<'_>;
}

/// Where sessions get what is not theirs. The default is what the system has.
pub(crate) struct Surroundings {
    pub(crate) entropy: Box<dyn Entropy>,
    /// Tells when the authority of adopted sessions ends.
    pub(crate) wall: Box<dyn WallClock>,
    /// The store once more, where it is a simulation's.
    pub(crate) simulated: Option<Arc<dyn SimulatedStore>>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { entropy: Box::new(SystemEntropy), wall: Box::new(SystemTime::now), simulated: None }
    }
}
