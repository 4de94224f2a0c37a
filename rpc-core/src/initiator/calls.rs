//! The caller's slots: every outstanding call has one, and no call id is ever given out for a second call.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{Hash, Hasher};

use crate::id::{Attempt, CallAttempt, CallId, Sequence, SlotId};
use crate::planted::{self, Bug};

/// Call ids of one session, at most one outstanding per slot.
///
/// A slot comes free by [`finish`](Calls::finish) and [`hand_back`](Calls::hand_back). A call of which nobody knows
/// what became of it is [quarantined](Calls::quarantine): its slot stays taken until it is
/// [settled](Calls::settled).
///
/// Where another process made the calls before, the [slots are resolved](Calls::resumed) first.
#[derive(Debug, Clone)]
pub struct Calls {
    slots: Vec<Slot>,
    /// Exactly the slots whose state is `Free`; the lowest first, so that few slots are used if few are needed and the
    /// server keeps few reply records.
    free: BinaryHeap<Reverse<SlotId>>,
    unresolved: usize,
    quarantined: usize,
    retired: usize,
}

#[derive(Debug, Clone, Hash)]
struct Slot {
    /// Last sequence that may have been admitted or settled. It never goes down (I5).
    used: Sequence,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Free,
    /// Another process made calls in it, and nobody knows how many.
    Unresolved,
    /// The acceptor is being asked how many.
    Resolving,
    /// The call with sequence `used + 1` is under way.
    Outstanding {
        attempt: Attempt,
    },
    /// The call with sequence `used + 1` was given up before its outcome was known.
    Quarantined {
        attempt: Attempt,
    },
    /// The two sides disagree about the slot: it is never used again.
    Retired,
}

/// The table was asked to do something with a call that it does not have in that state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call is not outstanding.
    #[error("call {0} is not outstanding")]
    NotOutstanding(CallId),
    /// The call is not quarantined.
    #[error("call {0} is not quarantined")]
    NotQuarantined(CallId),
    /// The slot is not being resolved.
    #[error("slot {0} is not being resolved")]
    NotResolving(SlotId),
    /// A call of which an attempt was sent cannot be handed back.
    #[error("call {0} was sent before")]
    WasSent(CallId),
}

impl Calls {
    /// A table of `slots` slots in which no call was made yet.
    pub fn new(slots: u32) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot { used: Sequence::default(), state: State::Free }).collect(),
            free: (0..slots).map(|slot| Reverse(SlotId(slot))).collect(),
            unresolved: 0,
            quarantined: 0,
            retired: 0,
        }
    }

    /// A table of `slots` slots in which a process that is gone made calls. Each is [resolved](Self::resolve) before it is
    /// free for the first time.
    pub fn resumed(slots: u32) -> Self {
        let unresolved = || Slot { used: Sequence::default(), state: State::Unresolved };
        Self {
            slots: (0..slots).map(|_| unresolved()).collect(),
            free: BinaryHeap::new(),
            unresolved: slots as usize,
            quarantined: 0,
            retired: 0,
        }
    }

    /// Takes the lowest slot of which nobody has asked how far it is; `None` if there is none. Whoever takes it resolves
    /// it: [`Resolution`](super::resolution::Resolution) knows how.
    pub fn resolve(&mut self) -> Option<SlotId> {
        let (id, slot) = (0..).zip(&mut self.slots).find(|(_, slot)| slot.state == State::Unresolved)?;
        slot.state = State::Resolving;
        Some(SlotId(id))
    }

    /// Nothing up to `last` runs in the slot any more, and the next call has the sequence after it. If there is none, the
    /// slot is retired.
    ///
    /// # Errors
    ///
    /// The slot is not being resolved.
    pub fn resolved(&mut self, id: SlotId, last: Sequence) -> Result<(), CallError> {
        let slot = self.slots.get_mut(id.0 as usize).filter(|slot| slot.state == State::Resolving);
        let slot = slot.ok_or(CallError::NotResolving(id))?;
        slot.used = last;
        self.unresolved -= 1;
        if last.0 == u64::MAX {
            slot.state = State::Retired;
            self.retired += 1;
        } else {
            slot.state = State::Free;
            self.free.push(Reverse(id));
        }
        Ok(())
    }

    /// Takes the lowest free slot for a new call; `None` if there is none.
    //= C-19
    //= C-21
    pub fn begin(&mut self) -> Option<CallId> {
        let Reverse(id) = self.free.pop()?;
        let slot = self.slots.get_mut(id.0 as usize)?;
        slot.state = State::Outstanding { attempt: Attempt::default() };
        Some(CallId { slot: id, sequence: slot.used.next() })
    }

    /// The number of the call's next attempt, after one that may have arrived.
    ///
    /// # Errors
    ///
    /// The call is not outstanding.
    //= C-20
    pub fn retry(&mut self, call: CallId) -> Result<Attempt, CallError> {
        let slot = self.slot(call).ok_or(CallError::NotOutstanding(call))?;
        let State::Outstanding { attempt } = &mut slot.state else {
            return Err(CallError::NotOutstanding(call));
        };
        *attempt = attempt.next();
        Ok(*attempt)
    }

    /// The outcome of the call is known, and its sequence is used up.
    ///
    /// # Errors
    ///
    /// The call is not outstanding.
    pub fn finish(&mut self, call: CallId) -> Result<(), CallError> {
        self.outstanding(call)?;
        self.release(call, call.sequence);
        Ok(())
    }

    /// It is proven that the call was not admitted: the next call of the slot gets its sequence.
    ///
    /// # Errors
    ///
    /// The call is not outstanding, or has a later attempt than the first: the earlier one may arrive yet.
    //= C-21
    pub fn hand_back(&mut self, call: CallId) -> Result<(), CallError> {
        if self.outstanding(call)? > Attempt::default() && !planted::is(Bug::CancelledSlotReused) {
            return Err(CallError::WasSent(call));
        }
        // `used` stays, it was never raised for this call.
        let used = Sequence(call.sequence.0 - 1);
        self.release(call, used);
        Ok(())
    }

    /// The caller gave the call up and its outcome is not known: slot and sequence stay taken until it is settled.
    ///
    /// # Errors
    ///
    /// The call is not outstanding.
    //= C-38
    //= C-39
    pub fn quarantine(&mut self, call: CallId) -> Result<(), CallError> {
        let attempt = self.outstanding(call)?;
        if let Some(slot) = self.slot(call) {
            slot.state = State::Quarantined { attempt };
        }
        self.quarantined += 1;
        Ok(())
    }

    /// The acceptor has answered what became of the quarantined call; `last` is the last sequence it has used in the
    /// slot. If that leaves no sequence for another call, the slot is retired.
    ///
    /// # Errors
    ///
    /// The call is not quarantined.
    pub fn settled(&mut self, call: CallId, last: Sequence) -> Result<(), CallError> {
        if last.0 == u64::MAX {
            return self.retire(call);
        }
        self.leave_quarantine(call)?;
        self.release(call, call.sequence.max(last));
        Ok(())
    }

    /// The acceptor does not agree that the quarantined call is the slot's next: the slot is given up for the rest of
    /// the session, since no call id in it is safe.
    ///
    /// # Errors
    ///
    /// The call is not quarantined.
    pub fn retire(&mut self, call: CallId) -> Result<(), CallError> {
        self.leave_quarantine(call)?;
        if let Some(slot) = self.slot(call) {
            slot.state = State::Retired;
        }
        self.retired += 1;
        Ok(())
    }

    /// The quarantined calls in the order of their slots, each with its last attempt.
    pub fn quarantine_list(&self) -> impl Iterator<Item = CallAttempt> + '_ {
        (0..).zip(&self.slots).filter_map(|(id, slot)| match slot.state {
            State::Quarantined { attempt } => {
                Some(CallAttempt { call: CallId { slot: SlotId(id), sequence: slot.used.next() }, attempt })
            }
            State::Free
            | State::Unresolved
            | State::Resolving
            | State::Outstanding { .. }
            | State::Retired => None,
        })
    }

    /// Slots that a new call could take now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Calls under way.
    pub fn outstanding_count(&self) -> usize {
        self.slots.len() - self.free.len() - self.unresolved - self.quarantined - self.retired
    }

    /// Slots of which it is not known yet how far another process came in them.
    pub fn unresolved_count(&self) -> usize {
        self.unresolved
    }

    /// Calls given up and not settled yet.
    pub fn quarantined_count(&self) -> usize {
        self.quarantined
    }

    /// Slots given up for the rest of the session.
    pub fn retired_count(&self) -> usize {
        self.retired
    }

    /// The slot of `call` if that call is the one that the slot is taken for.
    fn slot(&mut self, call: CallId) -> Option<&mut Slot> {
        self.slots.get_mut(call.slot.0 as usize).filter(|slot| slot.used.next() == call.sequence)
    }

    fn outstanding(&mut self, call: CallId) -> Result<Attempt, CallError> {
        match self.slot(call).map(|slot| slot.state) {
            Some(State::Outstanding { attempt }) => Ok(attempt),
            Some(
                State::Free
                | State::Unresolved
                | State::Resolving
                | State::Quarantined { .. }
                | State::Retired,
            )
            | None => Err(CallError::NotOutstanding(call)),
        }
    }

    fn leave_quarantine(&mut self, call: CallId) -> Result<(), CallError> {
        match self.slot(call).map(|slot| slot.state) {
            Some(State::Quarantined { .. }) => {
                self.quarantined -= 1;
                Ok(())
            }
            Some(
                State::Free
                | State::Unresolved
                | State::Resolving
                | State::Outstanding { .. }
                | State::Retired,
            )
            | None => Err(CallError::NotQuarantined(call)),
        }
    }

    //= I5
    fn release(&mut self, call: CallId, used: Sequence) {
        if let Some(slot) = self.slot(call) {
            debug_assert!(used >= slot.used, "a slot's sequence went down");
            slot.used = used;
            slot.state = State::Free;
            self.free.push(Reverse(call.slot));
        }
    }
}

impl Hash for Calls {
    /// Which slots are free is told by the slots.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slots.hash(state);
    }
}

#[cfg(test)]
mod tests;
