//! One class: the call that has it, and those that wait.

use std::collections::BTreeMap;

use super::{Caller, Place};
use crate::time::Timestamp;

/// A call whose handler has not begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) caller: Caller,
    pub(super) deadline: Timestamp,
    /// The visit of its latest attempt; `None`: that is gone, and the place waits for the next.
    pub(super) visitor: Option<u64>,
}

#[derive(Debug, Default)]
enum Holder {
    #[default]
    Nobody,
    /// It has the class and is to begin.
    Granted(Place, Waiter),
    /// Its handler has begun, by this visit.
    Begun(u64),
}

/// The queue of one class. Where somebody waits who is there, somebody has the class.
#[derive(Debug, Default)]
pub(super) struct Queue {
    holder: Holder,
    waiters: BTreeMap<Place, Waiter>,
}

impl Queue {
    pub(super) fn grant(&mut self, place: Place, waiter: Waiter) {
        self.holder = Holder::Granted(place, waiter);
    }

    /// The first that waits and is there has the class.
    pub(super) fn grant_next(&mut self) -> Option<(Place, Timestamp)> {
        let place = *self.waiters.iter().find(|(_, waiter)| waiter.visitor.is_some())?.0;
        let waiter = self.waiters.remove(&place)?;
        self.grant(place, waiter);
        Some((place, waiter.deadline))
    }

    pub(super) fn wait(&mut self, place: Place, waiter: Waiter) {
        self.waiters.insert(place, waiter);
    }

    /// The visitor's handler begins, if it has the class.
    pub(super) fn begin(&mut self, place: Place, visitor: u64) -> Option<Waiter> {
        let waiter = self.take_granted(place, visitor)?;
        self.holder = Holder::Begun(visitor);
        Some(waiter)
    }

    /// The handler that this visitor began has ended. False if it is another.
    pub(super) fn end(&mut self, visitor: u64) -> bool {
        let Holder::Begun(of) = self.holder else { return false };
        if of == visitor {
            self.holder = Holder::Nobody;
        }
        of == visitor
    }

    /// The visitor's connection is gone.
    pub(super) fn step_aside(&mut self, place: Place, visitor: u64) {
        if let Some(waiter) = self.waiters.get_mut(&place)
            && waiter.visitor == Some(visitor)
        {
            waiter.visitor = None;
        }
    }

    /// Takes the class from the visitor, whose handler has not begun.
    pub(super) fn take_granted(&mut self, place: Place, visitor: u64) -> Option<Waiter> {
        match &self.holder {
            Holder::Granted(_, waiter) if waiter.visitor == Some(visitor) => self.remove_granted(place),
            Holder::Granted(..) | Holder::Nobody | Holder::Begun(_) => None,
        }
    }

    /// Takes the class from whoever has the place, if its handler has not begun.
    pub(super) fn remove_granted(&mut self, place: Place) -> Option<Waiter> {
        let Holder::Granted(of, waiter) = self.holder else { return None };
        if of != place {
            return None;
        }
        self.holder = Holder::Nobody;
        Some(waiter)
    }

    /// A later attempt has the place that has the class. False if that is another.
    pub(super) fn replace_granted(&mut self, place: Place, by: Waiter) -> bool {
        let is_granted = self.is_granted(place);
        if is_granted {
            self.grant(place, by);
        }
        is_granted
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Waiter> {
        self.waiters.remove(&place)
    }

    /// Who has the place, if the handler has not begun.
    pub(super) fn caller(&self, place: Place) -> Option<Caller> {
        self.waiter(place).map(|waiter| waiter.caller)
    }

    /// Whether this visitor has the place, and its handler has not begun.
    pub(super) fn is_visited(&self, place: Place, visitor: u64) -> bool {
        self.waiter(place).is_some_and(|waiter| waiter.visitor == Some(visitor))
    }

    /// Whether the place has the class, and its handler has not begun.
    pub(super) fn is_granted(&self, place: Place) -> bool {
        matches!(self.holder, Holder::Granted(of, _) if of == place)
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.holder, Holder::Nobody)
    }

    /// Whether nobody has or wants the class.
    pub(super) fn is_unused(&self) -> bool {
        self.is_free() && self.waiters.is_empty()
    }

    pub(super) fn waiting(&self) -> u32 {
        u32::try_from(self.waiters.len()).unwrap_or(u32::MAX)
    }

    /// How many run or wait before the place; 0 if nobody waits there.
    pub(super) fn before(&self, place: Place) -> u32 {
        if !self.waiters.contains_key(&place) {
            return 0;
        }
        let before = self.waiters.range(..place).count() + usize::from(!self.is_free());
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn waiter(&self, place: Place) -> Option<&Waiter> {
        match &self.holder {
            Holder::Granted(of, waiter) if *of == place => Some(waiter),
            Holder::Granted(..) | Holder::Nobody | Holder::Begun(_) => self.waiters.get(&place),
        }
    }
}
