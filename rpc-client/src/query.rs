//! Asking what became of a call.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rpc_core::error::Reason;
use rpc_core::id::CallId;
use rpc_core::stream::secured::Resumption;
use rpc_proto::frames::resumption_from_wire;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{QueryRequest, QueryResponse, Reply};
use rpc_proto::status::Details;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::core::Core;
use crate::error::{lost, refusal};
use crate::retry::Waits;

/// How long a question is repeated.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a call, as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallState {
    /// It has not arrived, and still may.
    Absent,
    /// It waits for its turn among the calls of its exclusive class. It has not run, and will not if it is given up.
    Waiting {
        /// How many calls of the class run or wait before it, at least 1.
        behind: u32,
    },
    /// It did not run and never will.
    NotExecuted,
    /// It runs. A stream with checkpoints is secured so far; nothing is where the call is no such stream.
    Running(Box<Resumption>),
    /// It ran, and this is its reply.
    Done(RecordedReply),
    /// It was begun, and nobody knows how far it came.
    Unknown,
    /// A later call uses its slot, and nothing is remembered.
    Forgotten,
}

/// A reply that a server remembers. `Debug` shows the size of the response only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedReply {
    /// The gRPC code.
    pub code: Code,
    /// The status message; empty if the call succeeded.
    pub message: String,
    /// The response message, encoded; empty if the call failed.
    pub response: Bytes,
    /// The response was over the bound, and only its status is known.
    pub dropped: bool,
}

impl fmt::Debug for RecordedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedReply")
            .field("code", &self.code)
            .field("response_bytes", &self.response.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

/// Asks what became of a call.
pub(crate) async fn call(core: &Core, call: CallId) -> Result<CallState, Box<Status>> {
    let query = QueryRequest { slot: call.slot.0, sequence: call.sequence.0, ..QueryRequest::default() };
    let answer = ask(core, &query).await?;
    Ok(match answer.state() {
        //= D-44
        State::Absent if answer.waits_behind > 0 => CallState::Waiting { behind: answer.waits_behind },
        State::Absent => CallState::Absent,
        State::NotExecuted => CallState::NotExecuted,
        State::Running => CallState::Running(resumption(answer)?),
        State::Done => CallState::Done(reply(answer)),
        State::Unknown => CallState::Unknown,
        State::Forgotten => CallState::Forgotten,
        State::Unspecified | State::Interrupted => {
            return Err(violated("the answer does not say what became of the call"));
        }
    })
}

/// Asks until there is an answer, or none is to be expected.
pub(crate) async fn ask(core: &Core, query: &QueryRequest) -> Result<QueryResponse, Box<Status>> {
    let until = Instant::now() + PATIENCE;
    let mut waits = Waits::new(&core.chance);
    loop {
        core.check_life(None)?;
        let (mut client, proofs) = core.client();
        let status = match timeout_at(until, client.query(query.clone())).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => return Err(Box::new(lost(format!("no answer within {PATIENCE:?}"), None))),
        };
        let details = Details::of(&status);
        core.note(&details, proofs);
        let again = status.code() == Code::Unavailable || core.has_newer_ticket(proofs);
        let wait = waits.next_after(&details, status.metadata().as_ref());
        match wait.filter(|wait| again && Instant::now() + *wait < until) {
            Some(wait) => sleep(wait).await,
            None => return Err(Box::new(status)),
        }
    }
}

/// From where the call or activity can go on.
pub(crate) fn resumption(answer: QueryResponse) -> Result<Box<Resumption>, Box<Status>> {
    let at = resumption_from_wire(answer.resumption);
    at.map(Box::new).map_err(|_| violated("the answer states points that cannot be"))
}

/// The reply of the answer.
pub(crate) fn reply(answer: QueryResponse) -> RecordedReply {
    let Reply { code, message, response, dropped } = answer.reply.unwrap_or_default();
    let code = Code::from_i32(i32::try_from(code).unwrap_or(Code::Unknown as i32));
    RecordedReply { code, message, response, dropped }
}

/// The status for an answer that cannot be used.
pub(crate) fn violated(message: &str) -> Box<Status> {
    Box::new(refusal(Reason::ProtocolViolated, message, None))
}
