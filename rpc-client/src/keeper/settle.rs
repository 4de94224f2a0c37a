//! Settles calls that were given up, so that their slots come free again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use rpc_core::error::Reason;
use rpc_core::id::{CallId, Sequence};
use rpc_core::planted::{self, Bug};
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{QueryRequest, QueryResponse};
use rpc_proto::status::Details;
use tokio::time::{sleep, timeout};

use crate::core::Core;
use crate::retry::Waits;

/// Questions under way at the same time.
const AT_ONCE: usize = 8;
/// Longest time for one question.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks about each call in quarantine until it is settled: once when it is given up, and again with growing waits while
/// it runs or the server cannot be reached.
//= C-38
pub(super) async fn run(core: Arc<Core>) {
    let mut asked = BTreeSet::new();
    let mut waits = Waits::new(&core.chance);
    if planted::is(Bug::QuarantineForEver) {
        return core.over.cancelled().await;
    }
    loop {
        let quarantined: Vec<_> = core.slots.quarantined().into_iter().map(|attempt| attempt.call).collect();
        asked.retain(|call| quarantined.contains(call));
        let new: Vec<_> = quarantined.iter().copied().filter(|call| !asked.contains(call)).collect();
        if !new.is_empty() {
            ask(&core, &new).await;
            asked.extend(new);
            continue;
        }
        if quarantined.is_empty() {
            waits.reset();
            tokio::select! {
                () = core.slots.given_up() => continue,
                () = core.over.cancelled() => return,
            }
        }
        tokio::select! {
            // Only the new ones are asked about: what still runs would be asked too often.
            () = core.slots.given_up() => {}
            () = sleep(waits.next()) => asked.clear(),
            () = core.over.cancelled() => return,
        }
    }
}

async fn ask(core: &Core, calls: &[CallId]) {
    futures_util::stream::iter(calls).for_each_concurrent(AT_ONCE, |call| settle(core, *call)).await;
}

async fn settle(core: &Core, call: CallId) {
    let Some(answer) = query(core, call).await else { return };
    let last = Sequence(answer.last_sequence);
    match answer.state() {
        State::NotExecuted | State::Done | State::Unknown | State::Forgotten => {
            core.slots.settled(call, last);
        }
        // This server does not know the call before this one, which ended as *unknown* at another server. It is used up
        // first, or this one could never be the next.
        State::Absent if last.next() < call.sequence => {
            let _ = query(core, CallId { sequence: last.next(), ..call }).await;
        }
        State::Running | State::Absent | State::Interrupted | State::Unspecified => {}
    }
}

/// One question, which settles the call if it has not arrived, and stops it if it runs; `None` if it was not answered.
async fn query(core: &Core, call: CallId) -> Option<QueryResponse> {
    let (mut client, proofs) = core.client();
    let query = QueryRequest {
        slot: call.slot.0,
        sequence: call.sequence.0,
        settle: true,
        cancel: true,
        ..QueryRequest::default()
    };
    match timeout(QUERY_TIMEOUT, client.query(query)).await.ok()? {
        Ok(answer) => Some(answer.into_inner()),
        Err(status) => {
            let details = Details::of(&status);
            core.note(&details, proofs);
            if details.reason == Some(Reason::CallMisordered) {
                core.slots.retire(call);
            }
            None
        }
    }
}
