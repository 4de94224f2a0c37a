//! What streams reserve of the memory that they may all take together.

use std::sync::{Arc, Mutex, PoisonError};

use rpc_core::budget::{Budget, BudgetExhausted, Share};

/// The budget of all streams of this server. A cheap clone.
#[derive(Debug, Clone)]
pub(crate) struct StreamMemory(Arc<Mutex<Budget>>);

/// What one stream has reserved. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    share: Share,
    of: StreamMemory,
}

impl StreamMemory {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Budget::new(bytes_max))))
    }

    /// Reserves for a stream of a session that has agreed on such windows.
    //= S-31
    pub(crate) fn reserve(&self, window_bytes_max: u64) -> Result<Reserved, BudgetExhausted> {
        let share = self.with(|budget| budget.reserve(window_bytes_max))?;
        Ok(Reserved { share, of: self.clone() })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Budget) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reserved {
    /// The window of each direction, in bytes.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.share.window_bytes()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.of.with(|budget| budget.give_back(&self.share));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let memory = StreamMemory::new(128 << 10);
        let reserved = memory.reserve(4 << 20).unwrap();
        assert_eq!(reserved.window_bytes(), 64 << 10);
        assert!(memory.reserve(1).is_err());
        drop(reserved);
        assert!(memory.reserve(1).is_ok());
    }
}
