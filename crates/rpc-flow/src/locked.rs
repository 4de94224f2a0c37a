//! A state under its lock, and what follows a change when the lock is free again.

use std::sync::PoisonError;

use crate::sync::{Mutex, MutexGuard, watch};
use crate::wake::Roused;

/// A state that many threads change, with tasks that wait for it and others that look on.
///
/// What is said to either is collected under the lock and said without it, since wakers run foreign code.
pub(crate) struct Locked<T: Guarded> {
    state: Mutex<T>,
    views: watch::Sender<T::View>,
}

/// What is behind the lock.
pub(crate) trait Guarded {
    /// What those see who look on.
    type View: Snapshot;

    /// Who is to be woken since this was asked last.
    fn take_roused(&mut self) -> Roused;

    /// What is to be seen, newer than all before.
    fn view(&mut self) -> Self::View;
}

/// One look at a state.
pub(crate) trait Snapshot: Default {
    /// Whether this is newer than `last`, and differs.
    fn replaces(&self, last: &Self) -> bool;
}

impl<T: Guarded> Locked<T> {
    pub(crate) fn new(state: T) -> Self {
        Self { state: Mutex::new(state), views: watch::Sender::new(T::View::default()) }
    }

    /// Changes the state, and then tells whom it concerns.
    ///
    /// The lock is held for `act` only, which must not call into the application, the transport or a waker.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        // A panic within the core is a bug that was reported where it happened; the state has no half steps that matter
        // more than that.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        let roused = state.take_roused();
        // Under the lock: who begins to look on after this was asked takes the lock after this change, and sees it.
        let view = (self.views.receiver_count() > 0).then(|| state.view());
        drop(state);
        roused.wake();
        if let Some(view) = view {
            self.publish(view);
        }
        result
    }

    /// Looks on from now, beginning with the present state.
    pub(crate) fn watch(&self) -> watch::Receiver<T::View> {
        let views = self.views.subscribe();
        self.with(|_| {});
        views
    }

    /// The state, if nobody holds it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.state.try_lock().ok()
    }

    fn publish(&self, view: T::View) {
        // Two threads may come here in another order than they had the lock.
        self.views.send_if_modified(|last| {
            let is_news = view.replaces(last);
            if is_news {
                *last = view;
            }
            is_news
        });
    }
}
