//! The two ends of a session: in order, and now.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{CallId, Sequence, SlotId};
use rpc_core::negotiate::Unit;
use rpc_core::record::Summary;
use rpc_core::stream::position::Position;
use rpc_core::stream::secured::Resumption;
use rpc_proto::frames::resumption_from_wire;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{self as pb, AbortRequest, AbortedCall, ReleaseRequest};
use rpc_proto::status::Details;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::core::{Core, Proofs};
use crate::error::{ReleaseError, lost};
use crate::retry::Waits;
use crate::state::{End, Life};

/// How long calls that run are waited for, at this side and then at the server.
const RELEASE_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for one answer: what the server waits, and the way there and back.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an end is asked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// What streams get that still run when the session has ended.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// Longest reason of an abort, in bytes.
const REASON_BYTES_MAX: usize = 128;

/// What became of a call that was under way when its session was aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallFate {
    /// The call.
    pub call: CallId,
    /// Whether it ran.
    pub outcome: Outcome,
    /// Of a stream with checkpoints: what both sides had secured.
    pub resumption: Option<Box<Resumption>>,
}

/// Releases the session when nobody else is at that.
pub(crate) async fn release_alone(core: &Core) -> Result<Summary, ReleaseError> {
    let _one = core.ending.lock().await;
    release(core).await
}

/// Releases the session. The caller sees to it that there is one at a time.
pub(crate) async fn release(core: &Core) -> Result<Summary, ReleaseError> {
    match *core.life.borrow() {
        Life::Ended(End::Released) => return Ok(core.summary.get().copied().unwrap_or_default()),
        Life::Ended(End::Aborted) => return Err(ReleaseError::Ended(Reason::SessionEnded)),
        Life::Ended(End::Told(reason)) => return Err(ReleaseError::Ended(reason)),
        Life::Active | Life::Releasing => {}
    }
    //= D-21
    if !core.parting.may_release() {
        return Err(ReleaseError::TokenMissing);
    }
    let releasing = Releasing::begin(core);
    let until = Instant::now() + RELEASE_WAIT;
    // What the server has sent it cannot know to be secured here: the program is to have all of it.
    //= D-22
    if timeout_at(until, core.slots.idle()).await.is_err() {
        return Err(late(core, releasing).await);
    }
    let asked = repeat(core, |core| {
        let wait = until.saturating_duration_since(Instant::now());
        let wait = prost_types::Duration::try_from(wait).ok();
        let (mut client, proofs) = core.client();
        Box::pin(async move { (client.release(ReleaseRequest { wait }).await, proofs) })
    });
    //= L-23
    let Some(answer) = asked.await? else {
        core.end(End::Told(Reason::SessionUnknown));
        return Err(ReleaseError::Ended(Reason::SessionUnknown));
    };
    let summary = summary(answer.into_inner().summary.unwrap_or_default());
    let _ = core.summary.set(summary);
    core.end(End::Released);
    Ok(summary)
}

/// Calls are not at their end in time: the session goes on where that was agreed on, and is aborted where it was not.
//= L-21
//= L-22
async fn late(core: &Core, releasing: Releasing<'_>) -> ReleaseError {
    // The one who wants it aborts the session in time.
    let is_asked = core.parting.wanted().borrow().is_some();
    if is_asked || core.agreement.units.contains(Unit::NegotiatedRelease) {
        drop(releasing);
        return ReleaseError::Refused;
    }
    match abort(core, "calls were not at their end in time for the release").await {
        Ok(_) => ReleaseError::Aborted,
        Err(error) => error,
    }
}

fn summary(answer: pb::Summary) -> Summary {
    let pb::Summary { calls, calls_done, calls_failed, calls_unknown, requests, responses } = answer;
    let position = |position: Option<pb::Position>| {
        position.map_or(Position::ORIGIN, |pb::Position { messages, bytes }| Position { messages, bytes })
    };
    Summary {
        calls,
        done: calls_done,
        failed: calls_failed,
        unknown: calls_unknown,
        requests: position(requests),
        responses: position(responses),
    }
}

/// Aborts the session. The caller sees to it that there is one at a time.
pub(crate) async fn abort(core: &Core, reason: &str) -> Result<Vec<CallFate>, ReleaseError> {
    match *core.life.borrow() {
        Life::Ended(End::Told(reason)) => return Err(ReleaseError::Ended(reason)),
        Life::Ended(End::Released | End::Aborted) => return Ok(Vec::new()),
        Life::Active | Life::Releasing => {}
    }
    let mut end = REASON_BYTES_MAX.min(reason.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    let _ending = Releasing::begin(core);
    let answer = repeat(core, |core| {
        let (mut client, proofs) = core.client();
        let request = AbortRequest { reason: reason.to_owned() };
        Box::pin(async move { (client.abort(request).await, proofs) })
    });
    let calls = answer.await?.map(|answer| answer.into_inner().calls).unwrap_or_default();
    core.end(End::Aborted);
    Ok(calls.iter().filter_map(fate).collect())
}

fn fate(call: &AbortedCall) -> Option<CallFate> {
    let outcome = match call.state() {
        State::Done => Outcome::Done,
        State::NotExecuted => Outcome::NotExecuted,
        State::Unknown
        | State::Running
        | State::Absent
        | State::Forgotten
        | State::Interrupted
        | State::Unspecified => Outcome::Unknown,
    };
    let sequence = (call.sequence > 0).then_some(Sequence(call.sequence))?;
    // What is no place is as good as none: the session is over either way.
    let resumption = call.resumption.as_ref().and_then(|at| resumption_from_wire(Some(at.clone())).ok());
    let call = CallId { slot: SlotId(call.slot), sequence };
    Some(CallFate { call, outcome, resumption: resumption.map(Box::new) })
}

/// A question under way, and what it was stamped with. In a box, so that an end can be asked for by a task of its own: the
/// compiler does not see that of an `AsyncFn`.
type Asking<T> = Pin<Box<dyn Future<Output = (Result<T, Status>, Proofs)> + Send>>;

/// Asks for an end until it is answered. `None`: the answer was lost, and the session is gone since (L-23).
//= L-23
async fn repeat<T>(core: &Core, ask: impl Fn(&Core) -> Asking<T>) -> Result<Option<T>, ReleaseError> {
    let until = Instant::now() + PATIENCE;
    let mut waits = Waits::new(&core.chance);
    let mut may_have_arrived = false;
    loop {
        let answer_by = until.min(Instant::now() + ANSWER_TIMEOUT);
        let status = match timeout_at(answer_by, ask(core)).await {
            Ok((Ok(answer), _)) => return Ok(Some(answer)),
            Ok((Err(status), proofs)) => {
                let details = Details::of(&status);
                if let Some(end) = ended(core, &details, proofs, may_have_arrived) {
                    return end;
                }
                may_have_arrived |= details.outcome != Some(Outcome::NotExecuted);
                let again = status.code() == Code::Unavailable || core.has_newer_ticket(proofs);
                if !again {
                    return Err(ReleaseError::Unanswered(Box::new(status)));
                }
                status
            }
            Err(_) => {
                may_have_arrived = true;
                lost(format!("no answer within {ANSWER_TIMEOUT:?}"), Some(Outcome::Unknown))
            }
        };
        let wait = waits.next();
        if Instant::now() + wait >= until {
            return Err(ReleaseError::Unanswered(Box::new(status)));
        }
        sleep(wait).await;
    }
}

/// What an answer says about the end of the session; `None` if nothing.
fn ended<T>(
    core: &Core,
    details: &Details,
    proofs: Proofs,
    may_have_arrived: bool,
) -> Option<Result<Option<T>, ReleaseError>> {
    if details.reason == Some(Reason::ReleaseRefused) {
        return Some(Err(ReleaseError::Refused));
    }
    let reason = core.end_in(details, proofs)?;
    if reason == Reason::SessionUnknown && may_have_arrived {
        return Some(Ok(None));
    }
    core.end(End::Told(reason));
    let aborted = reason == Reason::SessionEnded;
    Some(Err(if aborted { ReleaseError::Aborted } else { ReleaseError::Ended(reason) }))
}

/// The session takes no new calls while this lives; then it does again, unless it has ended.
struct Releasing<'a>(&'a Core);

impl<'a> Releasing<'a> {
    fn begin(core: &'a Core) -> Self {
        core.life.send_if_modified(|life| step(life, Life::Active, Life::Releasing));
        Self(core)
    }
}

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        self.0.life.send_if_modified(|life| step(life, Life::Releasing, Life::Active));
    }
}

fn step(life: &mut Life, from: Life, to: Life) -> bool {
    let taken = *life == from;
    if taken {
        *life = to;
    }
    taken
}
