//! Activities: named work that outlives the session and the process that began it.

use bytes::Bytes;
use rpc_core::activity::Name;
use rpc_core::error::Reason;
use rpc_core::negotiate::Unit;
use rpc_core::stream::secured::Resumption;
use rpc_flow::Checkpoints;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{QueryRequest, QueryResponse};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::core::Core;
use crate::error::refusal;
use crate::query::{self, RecordedReply, resumption};
use crate::retry::Waits;

/// Where an activity stands, as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActivityState {
    /// Nothing is known of it: it was never begun, or is forgotten.
    Absent,
    /// A call works on it.
    Running,
    /// No call works on it, and the next one can go on from here.
    Interrupted(Box<Resumption>),
    /// Its call succeeded, and this is the reply.
    Done(RecordedReply),
}

/// An activity that nobody works on any more, and what there is to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ActivityResume {
    /// All of it: it was never begun, or is forgotten. The call is to be made with these.
    New(Checkpoints),
    /// What follows the last secured points, which these know. The call is to be made with them.
    Interrupted(Checkpoints),
    /// Nothing: its call succeeded, and this is the reply. To do it again, make a call with
    /// [`Checkpoints::of_activity`].
    Done(RecordedReply),
}

/// Asks where the activity stands. Changes nothing.
pub(crate) async fn ask(core: &Core, name: &[u8]) -> Result<ActivityState, Box<Status>> {
    let answer = question(core, name, false).await?;
    Ok(match answer.state() {
        State::Absent => ActivityState::Absent,
        State::Running => ActivityState::Running,
        State::Interrupted => ActivityState::Interrupted(resumption(answer)?),
        State::Done => ActivityState::Done(query::reply(answer)),
        State::Unspecified | State::NotExecuted | State::Unknown | State::Forgotten => {
            return Err(query::violated("the answer does not say where the activity stands"));
        }
    })
}

/// Ends the call that works on the activity, if there is one, and says from where another can go on.
pub(crate) async fn resume(core: &Core, name: &[u8]) -> Result<ActivityResume, Box<Status>> {
    let until = Instant::now() + query::PATIENCE;
    let mut waits = Waits::new(&core.chance);
    loop {
        let answer = question(core, name, true).await?;
        let activity = Bytes::copy_from_slice(name);
        return Ok(match answer.state() {
            State::Absent => ActivityResume::New(Checkpoints::of_activity(activity, None)),
            State::Interrupted => {
                let resumption = *resumption(answer)?;
                ActivityResume::Interrupted(Checkpoints::of_activity(activity, Some(resumption)))
            }
            State::Done => ActivityResume::Done(query::reply(answer)),
            State::Running if Instant::now() < until => {
                sleep(waits.next()).await;
                continue;
            }
            State::Running => {
                let message = "the call that works on the activity does not end";
                return Err(Box::new(refusal(Reason::ActivityBusy, message, None)));
            }
            State::Unspecified | State::NotExecuted | State::Unknown | State::Forgotten => {
                return Err(query::violated("the answer does not say where the activity stands"));
            }
        });
    }
}

/// Ends the call that works on the activity, if there is one, and has the activity forgotten.
pub(crate) async fn discard(core: &Core, name: &[u8]) -> Result<(), Box<Status>> {
    let until = Instant::now() + query::PATIENCE;
    let mut waits = Waits::new(&core.chance);
    check(core, name)?;
    let activity = Bytes::copy_from_slice(name);
    let asked = QueryRequest { activity, discard: true, ..QueryRequest::default() };
    loop {
        match query::ask(core, &asked).await?.state() {
            State::Absent => return Ok(()),
            State::Running if Instant::now() < until => sleep(waits.next()).await,
            State::Running => {
                let message = "the call that works on the activity does not end";
                return Err(Box::new(refusal(Reason::ActivityBusy, message, None)));
            }
            State::Unspecified
            | State::NotExecuted
            | State::Unknown
            | State::Forgotten
            | State::Interrupted
            | State::Done => {
                return Err(query::violated("the activity is there although it was discarded"));
            }
        }
    }
}

/// Asks once it is clear that there can be an answer. With `interrupt`, a call that works on the activity is ended first.
async fn question(core: &Core, name: &[u8], interrupt: bool) -> Result<QueryResponse, Box<Status>> {
    check(core, name)?;
    let activity = Bytes::copy_from_slice(name);
    query::ask(core, &QueryRequest { activity, interrupt, ..QueryRequest::default() }).await
}

/// Whether an activity of this name may be worked on in the session.
pub(crate) fn check(core: &Core, name: &[u8]) -> Result<(), Box<Status>> {
    if let Err(error) = Name::new(Bytes::copy_from_slice(name)) {
        return Err(Box::new(refusal(Reason::FieldInvalid, error.to_string(), None)));
    }
    if !core.agreement.units.contains(Unit::Activity) {
        let message = "the session was opened without the unit activity";
        return Err(Box::new(refusal(Reason::UnitUnsupported, message, None)));
    }
    Ok(())
}
