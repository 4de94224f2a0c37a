//! The caller's slots: every outstanding call has one, and no call id is ever given out for a second call.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::id::{Attempt, CallAttempt, CallId, Sequence, SlotId};

/// Call ids of one session, at most one outstanding per slot.
///
/// A slot comes free by [`finish`](Calls::finish) and [`hand_back`](Calls::hand_back). A call of which nobody knows
/// what became of it is [quarantined](Calls::quarantine): its slot stays taken until it is
/// [settled](Calls::settled).
#[derive(Debug)]
pub struct Calls {
    slots: Vec<Slot>,
    /// Exactly the slots whose state is `Free`; the lowest first, so that few slots are used if few are needed and the
    /// server keeps few reply records.
    free: BinaryHeap<Reverse<SlotId>>,
    quarantined: usize,
    retired: usize,
}

#[derive(Debug)]
struct Slot {
    /// Last sequence that may have been admitted or settled. It never goes down (I5).
    used: Sequence,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
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
            quarantined: 0,
            retired: 0,
        }
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
        if self.outstanding(call)? > Attempt::default() {
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
            State::Free | State::Outstanding { .. } | State::Retired => None,
        })
    }

    /// Slots that a new call could take now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Calls under way.
    pub fn outstanding_count(&self) -> usize {
        self.slots.len() - self.free.len() - self.quarantined - self.retired
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
            Some(State::Free | State::Quarantined { .. } | State::Retired) | None => {
                Err(CallError::NotOutstanding(call))
            }
        }
    }

    fn leave_quarantine(&mut self, call: CallId) -> Result<(), CallError> {
        match self.slot(call).map(|slot| slot.state) {
            Some(State::Quarantined { .. }) => {
                self.quarantined -= 1;
                Ok(())
            }
            Some(State::Free | State::Outstanding { .. } | State::Retired) | None => {
                Err(CallError::NotQuarantined(call))
            }
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn call(slot: u32, sequence: u64) -> CallId {
        CallId { slot: SlotId(slot), sequence: Sequence(sequence) }
    }

    //= test C-19
    #[test]
    fn the_lowest_free_slot_is_taken_and_a_full_table_says_so() {
        let mut calls = Calls::new(2);
        assert_eq!(calls.begin(), Some(call(0, 1)));
        assert_eq!(calls.begin(), Some(call(1, 1)));
        assert_eq!(calls.begin(), None);
        calls.finish(call(1, 1)).unwrap();
        calls.finish(call(0, 1)).unwrap();
        assert_eq!(calls.begin(), Some(call(0, 2)));
        assert_eq!((calls.free(), calls.outstanding_count(), calls.quarantined_count()), (1, 1, 0));
    }

    //= test C-20
    #[test]
    fn attempts_of_one_call_count_up() {
        let mut calls = Calls::new(1);
        let first = calls.begin().unwrap();
        assert_eq!(calls.retry(first), Ok(Attempt(1)));
        assert_eq!(calls.retry(first), Ok(Attempt(2)));
        assert_eq!(calls.retry(call(0, 2)), Err(CallError::NotOutstanding(call(0, 2))));
        assert_eq!(calls.retry(call(7, 1)), Err(CallError::NotOutstanding(call(7, 1))));
    }

    //= test C-21
    #[test]
    fn a_call_that_was_not_admitted_leaves_its_sequence_to_the_next() {
        let mut calls = Calls::new(1);
        let first = calls.begin().unwrap();
        calls.hand_back(first).unwrap();
        assert_eq!(calls.begin(), Some(first));
        calls.retry(first).unwrap();
        assert_eq!(calls.hand_back(first), Err(CallError::WasSent(first)));
        calls.finish(first).unwrap();
        assert_eq!(calls.begin(), Some(call(0, 2)));
    }

    //= test C-38
    //= test C-39
    #[test]
    fn a_quarantined_slot_is_not_given_out_before_it_is_settled() {
        let mut calls = Calls::new(1);
        let first = calls.begin().unwrap();
        calls.quarantine(first).unwrap();
        assert_eq!(calls.begin(), None);
        assert_eq!(calls.finish(first), Err(CallError::NotOutstanding(first)));
        assert_eq!(calls.quarantine_list().map(|q| q.call).collect::<Vec<_>>(), [first]);
        calls.settled(first, Sequence(1)).unwrap();
        assert_eq!(calls.settled(first, Sequence(1)), Err(CallError::NotQuarantined(first)));
        assert_eq!(calls.begin(), Some(call(0, 2)));
    }

    #[test]
    fn a_settled_slot_goes_on_after_what_the_acceptor_has_seen() {
        let mut calls = Calls::new(1);
        let first = calls.begin().unwrap();
        calls.quarantine(first).unwrap();
        calls.settled(first, Sequence(5)).unwrap();
        assert_eq!(calls.begin(), Some(call(0, 6)));
    }

    #[test]
    fn an_acceptor_that_claims_the_last_sequence_costs_the_slot_and_no_panic() {
        let mut calls = Calls::new(1);
        let first = calls.begin().unwrap();
        calls.quarantine(first).unwrap();
        calls.settled(first, Sequence(u64::MAX)).unwrap();
        assert_eq!((calls.begin(), calls.retired_count()), (None, 1));
    }

    #[test]
    fn a_retired_slot_is_gone() {
        let mut calls = Calls::new(2);
        let first = calls.begin().unwrap();
        calls.quarantine(first).unwrap();
        calls.retire(first).unwrap();
        assert_eq!(calls.retire(first), Err(CallError::NotQuarantined(first)));
        assert_eq!((calls.retired_count(), calls.quarantined_count(), calls.outstanding_count()), (1, 0, 0));
        assert_eq!(calls.begin(), Some(call(1, 1)));
        assert_eq!(calls.begin(), None);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Begin,
        Retry(prop::sample::Index),
        Finish(prop::sample::Index),
        HandBack(prop::sample::Index),
        Quarantine(prop::sample::Index),
        Settle(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            3 => Just(Step::Begin),
            1 => index().prop_map(Step::Retry),
            2 => index().prop_map(Step::Finish),
            1 => index().prop_map(Step::HandBack),
            1 => index().prop_map(Step::Quarantine),
            1 => index().prop_map(Step::Settle),
        ]
    }

    /// The obvious model: what is outstanding with its attempt, what is quarantined, which ids are spent.
    #[derive(Default)]
    struct Model {
        outstanding: BTreeMap<CallId, u32>,
        quarantined: BTreeSet<CallId>,
        spent: BTreeSet<CallId>,
    }

    impl Model {
        fn some_outstanding(&self, index: prop::sample::Index) -> Option<CallId> {
            let all: Vec<_> = self.outstanding.keys().copied().collect();
            (!all.is_empty()).then(|| *index.get(&all))
        }

        fn step(&mut self, calls: &mut Calls, slots: usize, step: Step) {
            match step {
                Step::Begin => {
                    let taken = self.outstanding.len() + self.quarantined.len();
                    let begun = calls.begin();
                    assert_eq!(begun.is_some(), taken < slots);
                    let Some(begun) = begun else { return };
                    assert!(!self.spent.contains(&begun), "{begun} was used before");
                    assert!(
                        self.spent.iter().all(|old| old.slot != begun.slot || old.sequence < begun.sequence)
                    );
                    assert_eq!(self.outstanding.insert(begun, 0), None);
                }
                Step::Retry(index) => {
                    let Some(call) = self.some_outstanding(index) else { return };
                    let attempt = self.outstanding.get_mut(&call).unwrap();
                    *attempt += 1;
                    assert_eq!(calls.retry(call), Ok(Attempt(*attempt)));
                }
                Step::Finish(index) => {
                    let Some(call) = self.some_outstanding(index) else { return };
                    calls.finish(call).unwrap();
                    self.outstanding.remove(&call);
                    self.spent.insert(call);
                }
                Step::HandBack(index) => {
                    let Some(call) = self.some_outstanding(index) else { return };
                    let unsent = self.outstanding[&call] == 0;
                    assert_eq!(calls.hand_back(call).is_ok(), unsent);
                    if unsent {
                        self.outstanding.remove(&call);
                    }
                }
                Step::Quarantine(index) => {
                    let Some(call) = self.some_outstanding(index) else { return };
                    calls.quarantine(call).unwrap();
                    self.outstanding.remove(&call);
                    self.quarantined.insert(call);
                }
                Step::Settle(index) => {
                    let all: Vec<_> = self.quarantined.iter().copied().collect();
                    if all.is_empty() {
                        return;
                    }
                    let call = *index.get(&all);
                    calls.settled(call, call.sequence).unwrap();
                    self.quarantined.remove(&call);
                    self.spent.insert(call);
                }
            }
        }
    }

    proptest! {
        //= test I5
        #[test]
        fn the_table_does_what_the_model_does(slots in 1usize..5, steps in prop::collection::vec(step(), 0..120)) {
            let mut calls = Calls::new(u32::try_from(slots).unwrap());
            let mut model = Model::default();
            for step in steps {
                model.step(&mut calls, slots, step);
                prop_assert_eq!(calls.outstanding_count(), model.outstanding.len());
                prop_assert_eq!(calls.quarantined_count(), model.quarantined.len());
                let listed: BTreeSet<_> = calls.quarantine_list().map(|q| q.call).collect();
                prop_assert_eq!(&listed, &model.quarantined);
                prop_assert_eq!(calls.free() + model.outstanding.len() + model.quarantined.len(), slots);
            }
        }
    }
}
