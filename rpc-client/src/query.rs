//! Asking what became of a call.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rpc_core::id::CallId;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{QueryRequest, QueryResponse, Reply};
use rpc_proto::status::Details;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::core::Core;
use crate::error::lost;
use crate::retry::Waits;

/// How long a question is repeated.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a call, as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallState {
    /// It has not arrived, and still may.
    Absent,
    /// It did not run and never will.
    NotExecuted,
    /// It runs.
    Running,
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

pub(crate) async fn ask(core: &Core, call: CallId) -> Result<CallState, Box<Status>> {
    let until = Instant::now() + PATIENCE;
    let mut waits = Waits::default();
    loop {
        core.check_life(None)?;
        let (mut client, proofs) = core.client();
        let query = QueryRequest { slot: call.slot.0, sequence: call.sequence.0, ..QueryRequest::default() };
        let status = match timeout_at(until, client.query(query)).await {
            Ok(Ok(answer)) => return read(answer.into_inner()),
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

fn read(answer: QueryResponse) -> Result<CallState, Box<Status>> {
    Ok(match answer.state() {
        State::Absent => CallState::Absent,
        State::NotExecuted => CallState::NotExecuted,
        State::Running => CallState::Running,
        State::Done => CallState::Done(reply(answer.reply.unwrap_or_default())),
        State::Unknown => CallState::Unknown,
        State::Forgotten => CallState::Forgotten,
        State::Unspecified | State::Interrupted => {
            let message = "the answer does not say what became of the call";
            return Err(Box::new(crate::error::refusal(
                rpc_core::error::Reason::ProtocolViolated,
                message,
                None,
            )));
        }
    })
}

fn reply(reply: Reply) -> RecordedReply {
    RecordedReply {
        code: Code::from_i32(i32::try_from(reply.code).unwrap_or(Code::Unknown as i32)),
        message: reply.message,
        response: reply.response,
        dropped: reply.dropped,
    }
}
