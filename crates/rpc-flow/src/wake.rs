//! Who waits for a stream, and who is woken when its lock is free again.

use std::task::{Context, Waker};

/// The one task that waits for one thing.
#[derive(Debug, Default)]
pub(crate) struct Slot(Option<Waker>);

impl Slot {
    /// The calling task waits. One that waited before, which happens when a body changes hands, goes to `roused`: what
    /// the drop of a waker runs is as foreign as what its call does.
    pub(crate) fn wait(&mut self, cx: &Context<'_>, roused: &mut Roused) {
        if self.0.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return;
        }
        roused.add(self);
        self.0 = Some(cx.waker().clone());
    }
}

/// Tasks that are to be woken. Wakers run foreign code, so never under the lock.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Roused([Option<Waker>; Self::MAX]);

impl Roused {
    /// The application's two bodies and its points, the two ways of an attempt, and one task that was replaced.
    const MAX: usize = 6;

    pub(crate) fn add(&mut self, slot: &mut Slot) {
        let Some(waker) = slot.0.take() else { return };
        match self.0.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(waker),
            // Each slot is emptied once and filled once while the lock is held.
            None => debug_assert!(false, "more tasks than a stream has"),
        }
    }

    pub(crate) fn wake(self) {
        self.0.into_iter().flatten().for_each(Waker::wake);
    }
}
