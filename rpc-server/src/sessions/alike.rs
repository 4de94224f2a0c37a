//! What many sessions have in common is kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Different ones that are remembered at a time. A server's clients are of a few kinds; sessions of any further kind have
/// their own.
const KINDS_MAX: usize = 64;

/// Values that are equal in most sessions, such as what was agreed on.
///
/// Locked where a session is opened, and by no call.
#[derive(Debug)]
pub(super) struct Alike<T: ?Sized>(Mutex<HashSet<Arc<T>>>);

impl<T: ?Sized + Eq + Hash> Alike<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// The one that others have that is equal to `value`, or `value` itself.
    ///
    /// One that nobody has any more is forgotten when the next new one comes.
    pub(super) fn share(&self, value: Arc<T>) -> Arc<T> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kinds.get(&value) {
            return Arc::clone(known);
        }
        kinds.retain(|kind| Arc::strong_count(kind) > 1);
        if kinds.len() < KINDS_MAX {
            kinds.insert(Arc::clone(&value));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_are_the_same() {
        let alike = Alike::<str>::new();
        let first = alike.share(Arc::from("a"));
        assert!(Arc::ptr_eq(&first, &alike.share(Arc::from("a"))));
        assert_eq!(*alike.share(Arc::from("b")), *"b");
        assert_eq!(Arc::strong_count(&first), 2);
    }

    #[test]
    fn what_nobody_has_is_forgotten_and_what_is_over_the_bound_is_not_remembered() {
        let alike = Alike::<usize>::new();
        for n in 0..1_000 {
            alike.share(Arc::new(n));
        }
        assert_eq!(alike.0.lock().unwrap().len(), 1);
        let held: Vec<_> = (0..100).map(|n| alike.share(Arc::new(n))).collect();
        assert_eq!(alike.0.lock().unwrap().len(), KINDS_MAX);
        assert!(!Arc::ptr_eq(&held[99], &alike.share(Arc::new(99))), "it has its own");
        assert!(Arc::ptr_eq(&held[3], &alike.share(Arc::new(3))));
    }
}
