//! One attempt of a call whose request and response are kept whole.

use http::Request;
use rpc_core::initiator::outcome::Fate;
use tonic::Status;
use tonic::body::Body;

use super::body::{broken, unanswered};
use super::reply::{Broken, Reply};
use super::retrying::Limits;
use crate::core::Core;
use crate::deadline;
use crate::net::{SendError, SendOptions};

/// How one attempt ended.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one; a box would cost every call")]
pub(super) enum Attempted {
    /// A whole response came.
    Answered(Reply),
    /// None came, and this is known of the attempt.
    Unanswered(Fate, Box<Status>),
    /// The response is larger than this many bytes.
    TooLarge(usize),
    /// The deadline passed first.
    DeadlinePassed,
    /// The session ended first.
    SessionGone,
}

/// Sends one attempt and waits for its whole response, the deadline, or the end of the session.
pub(super) async fn attempt(core: &Core, request: Box<Request<Body>>, limits: Limits) -> Attempted {
    tokio::select! {
        // The exchange first: it knows of a passed deadline whether the request was sent.
        biased;
        attempted = exchange(core, request, limits) => attempted,
        () = deadline::passed(limits.deadline) => Attempted::DeadlinePassed,
        () = core.over.cancelled() => Attempted::SessionGone,
    }
}

async fn exchange(core: &Core, request: Box<Request<Body>>, limits: Limits) -> Attempted {
    let options = SendOptions { deadline: Some(limits.give_up_at), wait_for_ready: None };
    let response = match core.net.send_boxed(request, options).await {
        Ok(response) => response,
        Err(error) => {
            let fate = match &error {
                SendError::NotSent { .. } => Fate::NeverSent,
                SendError::NotProcessed { .. } => Fate::NotProcessed,
                // A wildcard must be, the enum may grow; doubt is on the safe side.
                _ => Fate::MayHaveArrived,
            };
            return Attempted::Unanswered(fate, Box::new(unanswered(error, None)));
        }
    };
    match Reply::read(response, core.settings.response_bytes_max).await {
        Ok(reply) => Attempted::Answered(reply),
        Err(Broken::Lost(error)) => {
            Attempted::Unanswered(Fate::MayHaveArrived, Box::new(broken(error, None)))
        }
        Err(Broken::TooLarge(bytes_max)) => Attempted::TooLarge(bytes_max),
    }
}
