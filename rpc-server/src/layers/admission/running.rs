//! How many calls run at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts calls up to a bound.
#[derive(Debug, Clone)]
pub(super) struct Running {
    count: Arc<AtomicUsize>,
    max: usize,
}

/// The place of one call. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<AtomicUsize>);

impl Running {
    pub(super) fn new(max: usize) -> Self {
        Self { count: Arc::default(), max }
    }

    /// A place, unless all are taken.
    pub(super) fn enter(&self) -> Option<Permit> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(&self.count));
        (before < self.max).then_some(permit)
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let running = Running::new(2);
        let first = running.enter().unwrap();
        let _second = running.enter().unwrap();
        assert!(running.enter().is_none());
        assert!(running.enter().is_none(), "a refusal takes no place");
        drop(first);
        assert!(running.enter().is_some());
    }
}
