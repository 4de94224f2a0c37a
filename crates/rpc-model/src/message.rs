//! What is on its way between clients and servers.

use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{CallAttempt, CallId, Sequence};
use rpc_core::session::CallState;

/// An attempt of a planned call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Which planned call.
    pub call: usize,
    /// Which try.
    pub attempt: CallAttempt,
}

/// A question what became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// Which process asks.
    pub process: usize,
    /// Which of its questions.
    pub number: u8,
    /// Which call.
    pub id: CallId,
    /// As in `Query`.
    pub settle: bool,
    /// As in `Query`.
    pub cancel: bool,
}

/// The answer to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Said {
    /// The call ran: the number of the run that made this reply.
    Reply(u8),
    /// The call was begun, and nobody knows how far it came.
    Unknown,
    /// Refused.
    Refused(Reason, Outcome),
    /// This server does not have the session: the request was not looked at.
    Elsewhere,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// To the server at that place.
    Request(usize, Request),
    /// To the server at that place.
    Question(usize, Question),
    /// To the caller.
    Answer(Request, Said),
    /// To the process that asks: what became of the call, and the last sequence of its slot. `None`: ask again.
    Told(Question, Option<(CallState, Sequence)>),
}
