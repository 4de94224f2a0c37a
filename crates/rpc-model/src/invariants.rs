//! What must hold in every state.

use rpc_core::session::Keeping;
use stateright::Property;

use crate::client::Told;
use crate::ledger::Truth;
use crate::model::Admission;
use crate::scenario::Planned;
use crate::state::State;

/// All of them, by the numbers of the protocol.
pub(crate) fn all() -> Vec<Property<Admission>> {
    vec![
        Property::always("I1", i1_effects_at_most_once),
        Property::always("I2", i2_ok_is_true_and_every_answer_the_same),
        Property::always("I3", i3_not_executed_never_runs),
        Property::always("I4", i4_one_request_for_each_id),
        Property::always("I5", i5_sequences_never_fall),
        Property::always("I6", i6_memory_is_bounded),
        Property::always("I7", i7_writes_are_fenced),
        Property::always("I8", i8_an_ended_session_admits_nothing),
        Property::eventually("ends", every_call_ends),
    ]
}

fn truths<'a>(model: &'a Admission, state: &'a State) -> impl Iterator<Item = (&'a Planned, &'a Truth)> {
    model.0.calls.iter().zip(&state.ledger.calls)
}

/// How often a call had its effect.
fn effects(planned: &Planned, truth: &Truth) -> u8 {
    match planned.keeping {
        Keeping::Transaction => truth.commits,
        Keeping::Memory | Keeping::Store { .. } | Keeping::Stream => truth.runs,
    }
}

/// Not of idempotent methods: they may run again.
pub(crate) fn i1_effects_at_most_once(model: &Admission, state: &State) -> bool {
    let once = truths(model, state).all(|(planned, truth)| {
        planned.keeping == Keeping::Store { idempotent: true } || effects(planned, truth) <= 1
    });
    let commits: u8 = state.ledger.calls.iter().map(|truth| truth.commits).sum();
    once && state.disk.count().1 == commits
}

pub(crate) fn i2_ok_is_true_and_every_answer_the_same(model: &Admission, state: &State) -> bool {
    let told_the_truth = |call: &crate::client::Call| {
        let (planned, truth) = (&model.0.calls[call.planned], &state.ledger.calls[call.planned]);
        match (call.told, planned.keeping) {
            (Some(Told::Done(run)), Keeping::Store { idempotent: true }) => truth.runs >= run,
            (Some(Told::Done(run)), Keeping::Transaction) => truth.committed == Some(run),
            (Some(Told::Done(run)), Keeping::Memory | Keeping::Store { .. } | Keeping::Stream) => {
                truth.runs == 1 && run == 1
            }
            (Some(Told::NotExecuted | Told::Unknown) | None, _) => true,
        }
    };
    !state.ledger.answers_differ
        && state.processes().flat_map(crate::client::Process::calls).all(told_the_truth)
}

pub(crate) fn i3_not_executed_never_runs(model: &Admission, state: &State) -> bool {
    state.processes().flat_map(crate::client::Process::calls).all(|call| {
        call.told != Some(Told::NotExecuted)
            || effects(&model.0.calls[call.planned], &state.ledger.calls[call.planned]) == 0
    })
}

pub(crate) fn i4_one_request_for_each_id(_: &Admission, state: &State) -> bool {
    // They are in the order of the ids.
    state.ledger.identities.windows(2).all(|pair| pair[0].0 != pair[1].0)
}

pub(crate) fn i5_sequences_never_fall(_: &Admission, state: &State) -> bool {
    !state.ledger.sequence_fell
}

pub(crate) fn i6_memory_is_bounded(model: &Admission, state: &State) -> bool {
    let slots = model.0.slots as usize;
    let held = |server: &crate::server::Server| server.session().reply_bytes();
    state.servers.iter().flatten().all(|server| held(server) <= slots)
        && state.disk.records(crate::server::number()) <= slots
}

pub(crate) fn i7_writes_are_fenced(_: &Admission, state: &State) -> bool {
    !state.ledger.epoch_ignored
}

pub(crate) fn i8_an_ended_session_admits_nothing(_: &Admission, state: &State) -> bool {
    !state.ledger.ended_goes_on
}

/// Every caller is told something, and no slot stays in quarantine while the session lives.
pub(crate) fn every_call_ends(_: &Admission, state: &State) -> bool {
    let is_last = state.number + 1 == state.gone.len() + 1;
    is_last && state.process.is_done() && (state.ledger.ended || !state.process.has_quarantined())
}
