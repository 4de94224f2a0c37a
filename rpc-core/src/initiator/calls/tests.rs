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

#[test]
fn slots_of_another_process_are_free_when_they_are_resolved() {
    let mut calls = Calls::resumed(3);
    assert_eq!((calls.begin(), calls.unresolved_count(), calls.outstanding_count()), (None, 3, 0));
    let slots: Vec<_> = std::iter::from_fn(|| calls.resolve()).collect();
    assert_eq!(slots, [SlotId(0), SlotId(1), SlotId(2)]);
    calls.resolved(SlotId(1), Sequence(7)).unwrap();
    assert_eq!(calls.resolved(SlotId(1), Sequence(9)), Err(CallError::NotResolving(SlotId(1))));
    assert_eq!(calls.begin(), Some(call(1, 8)));
    assert_eq!(calls.begin(), None);
    calls.resolved(SlotId(0), Sequence(u64::MAX)).unwrap();
    assert_eq!((calls.begin(), calls.retired_count(), calls.unresolved_count()), (None, 1, 1));
    calls.finish(call(1, 8)).unwrap();
    assert_eq!((calls.begin(), calls.outstanding_count()), (Some(call(1, 9)), 1));
    assert_eq!(calls.resolved(SlotId(7), Sequence(0)), Err(CallError::NotResolving(SlotId(7))));
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
                assert!(self.spent.iter().all(|old| old.slot != begun.slot || old.sequence < begun.sequence));
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
