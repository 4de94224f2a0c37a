//! Finds out how far the slots are in which another process made calls, as calls of this one want them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rpc_core::id::{Sequence, SlotId};
use rpc_core::initiator::resolution::{Progress, Question, Resolution, Told};
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{QueryRequest, QueryResponse};
use rpc_proto::status::Details;
use tokio::time::{sleep, timeout};

use crate::core::Core;
use crate::retry::Waits;

/// Slots asked about at the same time.
const AT_ONCE: usize = 8;
/// Longest time for one question.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions about one slot in a row. A server needs three; one that has ever another answer is asked less and less.
const IN_A_ROW: usize = 8;

/// A slot on its way to be resolved, and how long it waited for what runs in it.
struct Resolving {
    slot: Resolution,
    waits: Waits,
}

/// How far a row of questions came.
enum Row {
    /// The slot is resolved.
    End(SlotId, Sequence),
    /// A call of the other process runs in it.
    Held(Resolving),
}

/// Resolves slots while calls wait for them, each of those another one. What a call of the other process runs in is
/// asked about again with growing waits, while the next one is tried.
//= C-19
//= C-21
pub(super) async fn run(core: Arc<Core>) {
    let mut asked = FuturesUnordered::new();
    let mut held = FuturesUnordered::new();
    while core.slots.unresolved() > 0 {
        while asked.len() < AT_ONCE
            && let Some(slot) = core.slots.resolve(asked.len())
        {
            asked
                .push(ask(&core, Resolving { slot: Resolution::new(slot), waits: Waits::new(&core.chance) }));
        }
        tokio::select! {
            Some(row) = asked.next() => match row {
                Row::End(slot, last) => core.slots.resolved(slot, last),
                Row::Held(resolving) => held.push(pause(resolving)),
            },
            Some(resolving) = held.next(), if asked.len() < AT_ONCE => asked.push(ask(&core, resolving)),
            () = core.slots.wanted() => {}
            () = core.over.cancelled() => return,
        }
    }
}

async fn pause(mut resolving: Resolving) -> Resolving {
    sleep(resolving.waits.next()).await;
    resolving
}

/// Asks until the slot is resolved, or what runs in it is to be waited for. Questions without an answer are repeated.
async fn ask(core: &Core, mut resolving: Resolving) -> Row {
    let mut lost = Waits::new(&core.chance);
    for _ in 0..IN_A_ROW {
        let question = resolving.slot.question();
        let (told, last) = loop {
            match query(core, resolving.slot.slot(), question).await {
                Some(answer) => break answer,
                None => sleep(lost.next()).await,
            }
        };
        match resolving.slot.answered(told, last) {
            Progress::Ask => {}
            Progress::Wait => break,
            Progress::Resolved(last) => return Row::End(resolving.slot.slot(), last),
        }
    }
    Row::Held(resolving)
}

/// One question; `None` if it was not answered.
async fn query(core: &Core, slot: SlotId, question: Question) -> Option<(Told, Sequence)> {
    let Question { sequence, settle } = question;
    // What runs is not cancelled: the program may ask for its outcome, and nobody has given it up.
    let query =
        QueryRequest { slot: slot.0, sequence: sequence.0, settle, cancel: false, ..QueryRequest::default() };
    let (mut client, proofs) = core.client();
    match timeout(QUERY_TIMEOUT, client.query(query)).await.ok()? {
        Ok(answer) => told(sequence, answer.get_ref()),
        Err(status) => {
            core.note(&Details::of(&status), proofs);
            None
        }
    }
}

fn told(asked: Sequence, answer: &QueryResponse) -> Option<(Told, Sequence)> {
    let last = Sequence(answer.last_sequence);
    let told = match answer.state() {
        State::Absent => Told::Absent,
        State::NotExecuted => Told::NotExecuted,
        State::Running => Told::Running,
        State::Done | State::Forgotten => Told::Used,
        State::Unknown => Told::unknown(asked, last),
        // Of no call.
        State::Interrupted | State::Unspecified => return None,
    };
    Some((told, last))
}
