//! Deliberate faults of the world around the core, each of which must break a named invariant: what finds none of them
//! shows nothing.

use rpc_core::session::Keeping;
use rpc_model::{Admission, Bounds, Fault, Scenario};
use stateright::{Checker, HasDiscoveries, Model};

const STORE: Keeping = Keeping::Store { idempotent: false };
const IDEMPOTENT: Keeping = Keeping::Store { idempotent: true };
const FAULTS: Bounds = Bounds {
    breaks: 1,
    duplicates: 1,
    crashes: 1,
    takeovers: 0,
    cancels: 1,
    deaths: 0,
    ends: 0,
    forgeries: 0,
};

/// Looks for a run that ends in a state without one of these invariants, and finds it within a million steps.
#[track_caller]
fn breaks(invariants: &[&'static str], scenario: Scenario) {
    let checker = Admission(scenario)
        .checker()
        .finish_when(HasDiscoveries::AnyOf(invariants.iter().copied().collect()))
        .target_state_count(1_000_000)
        .spawn_bfs()
        .join();
    let found: Vec<_> = checker.discoveries().into_keys().filter(|name| invariants.contains(name)).collect();
    assert!(
        !found.is_empty(),
        "{:?} is not found, among {} states",
        invariants,
        checker.unique_state_count()
    );
}

#[test]
fn a_store_that_does_not_compare_epochs() {
    let bounds = Bounds { breaks: 1, takeovers: 1, ..Bounds::default() };
    breaks(&["I7"], Scenario::new(&[STORE], bounds).with(Fault::EpochNotCompared));
    // Nobody but this fault lets a transaction of the old owner be committed beside that of the new one.
    breaks(&["I1", "I2"], Scenario::new(&[IDEMPOTENT], bounds).with(Fault::EpochNotCompared));
}

#[test]
fn a_handler_that_runs_before_its_intent_is_durable() {
    breaks(&["I1"], Scenario::new(&[STORE], FAULTS).with(Fault::DurableTooEarly));
}

#[test]
fn a_server_that_forgets_intents() {
    breaks(&["I1"], Scenario::new(&[STORE], FAULTS).with(Fault::IntentsForgotten));
}

#[test]
fn a_server_that_does_not_doubt_calls_of_memory() {
    let scenario = Scenario::new(&[Keeping::Memory], FAULTS).directly_connected();
    breaks(&["I1"], scenario.with(Fault::MemoryNotDoubted));
}

#[test]
fn a_fingerprint_that_does_not_cover_the_request() {
    let bounds = Bounds { breaks: 1, crashes: 1, forgeries: 1, ..Bounds::default() };
    breaks(&["I4"], Scenario::new(&[STORE], bounds).with(Fault::FingerprintOfNothing));
}

#[test]
fn a_reply_that_is_answered_before_it_is_recorded() {
    breaks(&["I2"], Scenario::new(&[IDEMPOTENT], FAULTS).with(Fault::ReplyBeforeRecord));
}

#[test]
fn an_id_of_a_cancelled_call_that_is_used_again() {
    breaks(&["I4"], Scenario::new(&[STORE, STORE], FAULTS).with(Fault::CancelledIdReused));
}

#[test]
fn attempts_that_are_not_counted() {
    let scenario = Scenario::new(&[Keeping::Memory], FAULTS).directly_connected();
    breaks(&["I1"], scenario.with(Fault::AttemptsNotCounted));
}

#[test]
fn a_lost_answer_that_counts_as_proof() {
    breaks(&["I3"], Scenario::new(&[STORE], FAULTS).with(Fault::LossIsProof));
}

#[test]
fn a_process_that_does_not_ask_how_far_the_slots_are() {
    let bounds = Bounds { deaths: 1, ..FAULTS };
    let scenario = Scenario::new(&[STORE, STORE], bounds).last_by_another_process(1);
    breaks(&["I3", "I4"], scenario.with(Fault::SlotsNotResolved));
}

#[test]
fn a_server_that_forgets_who_waits() {
    breaks(
        &["ends"],
        Scenario::new(&[STORE], Bounds { breaks: 1, ..Bounds::default() }).with(Fault::WaitersForgotten),
    );
}

#[test]
fn a_server_that_reads_the_session_before_it_claims_it() {
    let bounds = Bounds { breaks: 1, takeovers: 1, ..Bounds::default() };
    breaks(&["I1"], Scenario::new(&[STORE], bounds).with(Fault::ReadBeforeClaim));
}

/// Not a fault of ours, but where the promise of `record: MEMORY` ends: a first attempt that a proxy keeps while a later
/// one runs arrives at the next server, which takes it for a call that was never sent before (C-58).
#[test]
fn a_first_attempt_that_outlives_the_server_runs_again_where_only_memory_knew() {
    let bounds = Bounds { breaks: 1, crashes: 1, ..Bounds::default() };
    breaks(&["I1"], Scenario::new(&[Keeping::Memory], bounds));
}

/// The same of two servers that both think that they own the session: a call of memory writes nothing, so nothing fences
/// the old one.
#[test]
fn a_call_of_memory_runs_at_both_owners() {
    let bounds = Bounds { breaks: 1, takeovers: 1, ..Bounds::default() };
    breaks(&["I1"], Scenario::new(&[Keeping::Memory], bounds).directly_connected());
}
