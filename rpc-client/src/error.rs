//! What can go wrong with a session, and what a failed call says about itself.

use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{CallId, SessionId};
use rpc_proto::headers::SESSION_CALL;
use rpc_proto::pb::session::v1::ServerLimits;
use rpc_proto::status::{Details, Refusal};
use tonic::{Code, Status};

use crate::credentials::BoxError;
use crate::net::SetupError;
use crate::saved::SavedError;

/// Why a session was not opened, or not gone on with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The target is not a URI.
    #[error("target {target:?}")]
    Target {
        /// What was given.
        target: String,
        /// What is wrong with it.
        #[source]
        source: http::uri::InvalidUri,
    },
    /// Token and ticket would be readable for everybody on the way.
    #[error("{host} is not a loopback address and the target says http: use https, or `dangerous_plaintext`")]
    Plaintext {
        /// The host of the target.
        host: String,
    },
    /// The target or its TLS settings cannot work. Nothing was dialled.
    #[error("session cannot be set up")]
    Setup(#[from] SetupError),
    /// There is no token.
    #[error("no credentials")]
    Credentials(#[source] BoxError),
    /// No answer came before the time to open was up. The source is the last failure: of a dial, TLS included, or the
    /// status of the last try.
    #[error("no answer before the time to open was up")]
    Unreachable(#[source] BoxError),
    /// The server does not want this session.
    #[error("refused: {message}")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// Why; `None` if what answered does not speak the session protocol.
        reason: Option<Reason>,
        /// The same for people.
        message: String,
        /// What the server would have agreed to, where a negotiation failed.
        limits: Option<Box<ServerLimits>>,
    },
    /// The server does not grant a service that the builder names, and the session was given up again; or a saved session
    /// was not granted it, or not as this program was built.
    #[error("service {service} was not granted: {reason}")]
    Service {
        /// Its full name.
        service: String,
        /// Why not.
        reason: Reason,
    },
    /// The saved session is no more: nobody went on with it for longer than its linger, or it was ended. What became of
    /// calls whose answers did not come is *unknown*.
    #[error("session {number} is gone: {reason}")]
    Gone {
        /// Its number.
        number: SessionId,
        /// What the server says. SESSION_UNKNOWN covers all that it does not tell apart.
        reason: Reason,
    },
    /// The saved session is of another server, which is the only one that may see its ticket.
    #[error("the session was saved at {saved}, not at {target}")]
    Elsewhere {
        /// Where it was opened.
        saved: String,
        /// The builder's target.
        target: String,
    },
    /// The session cannot be kept in its file. One that was opened for it was given up again.
    #[error("the session is not saved")]
    Saved(#[from] SavedError),
    /// The answer is not one that the protocol allows.
    #[error("the answer breaks the protocol: {0}")]
    Protocol(&'static str),
}

/// Why a session was not released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Calls still run and the server keeps the session as it was.
    #[error("calls still run")]
    Refused,
    /// The server owns the release token, and nothing was asked:
    /// [`please_release`](crate::Session::please_release).
    #[error("the server owns the release token")]
    TokenMissing,
    /// Calls did not end in time, and the server aborted the session.
    #[error("calls did not end in time, the session was aborted")]
    Aborted,
    /// The session had ended before.
    #[error("the session had ended before: {0}")]
    Ended(Reason),
    /// Nobody knows. The session ends with its lease at the latest; to release it again is safe.
    #[error("no answer to the release")]
    Unanswered(#[source] Box<Status>),
}

/// What a status of a session's call says beside its code.
pub trait OutcomeExt {
    /// Whether the call ran. Every error that the session reports of a protected call, or of a stream with checkpoints,
    /// has an outcome; `None` means that the status is of another plain call, or was made above the session, as when a
    /// reply does not decode.
    fn outcome(&self) -> Option<Outcome>;

    /// The session protocol's reason; `None` for what a handler said.
    fn reason(&self) -> Option<Reason>;

    /// The call that failed, if it is one that has an outcome, to [ask](crate::Session::query) about it.
    fn call(&self) -> Option<CallId>;
}

impl OutcomeExt for Status {
    fn outcome(&self) -> Option<Outcome> {
        Details::of(self).outcome
    }

    fn reason(&self) -> Option<Reason> {
        Details::of(self).reason
    }

    fn call(&self) -> Option<CallId> {
        let text = self.metadata().get(SESSION_CALL.as_str())?.to_str().ok()?;
        text.parse::<rpc_core::id::CallAttempt>().ok().map(|attempt| attempt.call)
    }
}

/// The status of a call of which an attempt was lost, or which could not be sent.
pub(crate) fn lost(message: impl Into<String>, outcome: Option<Outcome>) -> Status {
    refusal(Reason::TransportLost, message, outcome)
}

pub(crate) fn refusal(reason: Reason, message: impl Into<String>, outcome: Option<Outcome>) -> Status {
    let refusal = Refusal::new(reason, message);
    match outcome {
        Some(outcome) => refusal.outcome(outcome),
        None => refusal,
    }
    .into_status()
}
