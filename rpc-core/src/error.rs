//! Reasons: the stable names under which the session protocol refuses something, and what a caller learns with them.
//!
//! A [`Reason`] is API: programs compare it, so a name never changes its meaning. Operations have error types of their
//! own; each of their variants names its reason here. [`Reason::code`] is the one table from reasons to gRPC codes.

use std::fmt;

/// The gRPC status codes that the session protocol uses, by their numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are gRPC's own")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Whether a call ran, as its caller is told. Never a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The call ran; what came with this is its recorded result.
    Done,
    /// The call did not run and never will.
    NotExecuted,
    /// The call may have run, in full or in part.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::NotExecuted => "not executed",
            Self::Unknown => "unknown",
        })
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $code:ident;)+) => {
        /// Why something was refused or failed. The name is stable; the text of a message is not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)+ }

        impl Reason {
            /// Every reason, in the order of the table in the protocol text.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name on the wire: `ErrorInfo.reason`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The gRPC code that goes with it.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code),+ }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }

            /// The reason with that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// The request carries no bearer token and no session.
    TokenMissing = "TOKEN_MISSING", Unauthenticated;
    /// The token is not one that this server accepts.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated;
    /// The token was valid once.
    TokenExpired = "TOKEN_EXPIRED", Unauthenticated;
    /// The authenticator could not decide.
    AuthUnavailable = "AUTH_UNAVAILABLE", Unavailable;
    /// The token lacks a scope that the method needs.
    ScopeMissing = "SCOPE_MISSING", PermissionDenied;
    /// The token that the session was opened or renewed with has expired; Renew with a fresh one.
    AuthorityExpired = "AUTHORITY_EXPIRED", Unauthenticated;
    /// A token of another principal was used to renew the session.
    PrincipalMismatch = "PRINCIPAL_MISMATCH", PermissionDenied;

    /// No such session for this caller: unknown, another's, ended, or the ticket is not its ticket.
    SessionUnknown = "SESSION_UNKNOWN", NotFound;
    /// The request names a session and carries no ticket.
    TicketMissing = "TICKET_MISSING", InvalidArgument;
    /// The method is protected and the call carries no session.
    SessionRequired = "SESSION_REQUIRED", FailedPrecondition;
    /// The method is protected and the call carries no call id.
    CallIdRequired = "CALL_ID_REQUIRED", FailedPrecondition;
    /// The session is being released and takes no new calls.
    SessionReleasing = "SESSION_RELEASING", FailedPrecondition;
    /// The session ended while the call was under way.
    SessionEnded = "SESSION_ENDED", Aborted;
    /// Another server owns the session now.
    SessionFenced = "SESSION_FENCED", Aborted;

    /// A header of the session protocol does not parse.
    HeaderInvalid = "HEADER_INVALID", InvalidArgument;
    /// A header of the session protocol came more than once.
    HeaderRepeated = "HEADER_REPEATED", InvalidArgument;
    /// A field of a request has a value that is never right.
    FieldInvalid = "FIELD_INVALID", InvalidArgument;

    /// None of the proposed versions is spoken here.
    VersionUnsupported = "VERSION_UNSUPPORTED", FailedPrecondition;
    /// A unit that the initiator requires is not offered here.
    UnitUnsupported = "UNIT_UNSUPPORTED", FailedPrecondition;
    /// Two units were required that exclude each other.
    UnitsContradict = "UNITS_CONTRADICT", InvalidArgument;
    /// The server's limits are below what the initiator accepts; they come with the refusal.
    BelowMinimum = "BELOW_MINIMUM", FailedPrecondition;
    /// The service is not offered here.
    ServiceUnknown = "SERVICE_UNKNOWN", FailedPrecondition;
    /// The service has another version here.
    ServiceVersion = "SERVICE_VERSION", FailedPrecondition;
    /// The two sides were built with different policy tables for the service.
    PolicyMismatch = "POLICY_MISMATCH", FailedPrecondition;
    /// The session was not granted this service.
    ServiceNotGranted = "SERVICE_NOT_GRANTED", PermissionDenied;
    /// The opening that this nonce names has ended.
    NonceUsed = "NONCE_USED", FailedPrecondition;

    /// The principal has as many sessions as it may.
    SessionsExhausted = "SESSIONS_EXHAUSTED", ResourceExhausted;
    /// The server has as many sessions as it may.
    ServerFull = "SERVER_FULL", ResourceExhausted;
    /// All slots are in use and none came free in time.
    SlotsExhausted = "SLOTS_EXHAUSTED", ResourceExhausted;
    /// The server runs as many calls as it may.
    CallsExhausted = "CALLS_EXHAUSTED", ResourceExhausted;
    /// The request message is over the bound.
    RequestTooLarge = "REQUEST_TOO_LARGE", ResourceExhausted;

    /// The slot is not one of the session's.
    SlotOutOfRange = "SLOT_OUT_OF_RANGE", OutOfRange;
    /// A later call uses the slot.
    CallStale = "CALL_STALE", FailedPrecondition;
    /// A call between this one and the slot's last is missing.
    CallMisordered = "CALL_MISORDERED", FailedPrecondition;
    /// The call id was used with another method or request.
    CallFalseRetry = "CALL_FALSE_RETRY", FailedPrecondition;
    /// A later attempt of the call has taken over.
    AttemptFenced = "ATTEMPT_FENCED", Aborted;
    /// The call was settled: it did not run and never will.
    CallSettled = "CALL_SETTLED", Aborted;
    /// The call ran, and its reply was over the bound and is no longer known.
    ExecutedReplyDropped = "EXECUTED_REPLY_DROPPED", FailedPrecondition;
    /// Other transactions changed what this one had read, each time that it was tried. It has had no effect.
    TransactionConflict = "TRANSACTION_CONFLICT", Aborted;
    /// The call was begun, and nobody knows how far it came.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unknown;
    /// The caller cancelled the call.
    CallCancelled = "CALL_CANCELLED", Cancelled;
    /// The deadline passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// The handler panicked.
    HandlerPanicked = "HANDLER_PANICKED", Internal;
    /// The two sides of the stream do not have the same messages.
    StreamDiverged = "STREAM_DIVERGED", DataLoss;
    /// The stream broke off before its end, and nobody will resume it.
    StreamIncomplete = "STREAM_INCOMPLETE", Aborted;
    /// The streams of the server take all the memory that they may.
    StreamsExhausted = "STREAMS_EXHAUSTED", ResourceExhausted;
    /// The handler works with sync points, and the call has none: its session lacks the unit resume.
    CheckpointsRequired = "CHECKPOINTS_REQUIRED", FailedPrecondition;
    /// The handler is to secure sync points, and reads past them.
    CheckpointsIgnored = "CHECKPOINTS_IGNORED", Internal;
    /// Another call works on the activity.
    ActivityBusy = "ACTIVITY_BUSY", FailedPrecondition;
    /// The activity stands at another sync point than the one to be resumed from; ask where.
    ActivityMoved = "ACTIVITY_MOVED", Aborted;
    /// The activity was taken over by another call.
    ActivityInterrupted = "ACTIVITY_INTERRUPTED", Aborted;
    /// The principal or the server has as many activities as it may.
    ActivitiesExhausted = "ACTIVITIES_EXHAUSTED", ResourceExhausted;
    /// The method works by dialog, and its caller reads no control frames or its session lacks the unit resume.
    DialogRequired = "DIALOG_REQUIRED", FailedPrecondition;
    /// What was asked needs a token of the dialog that the other side owns.
    DialogTokenMissing = "DIALOG_TOKEN_MISSING", FailedPrecondition;
    /// The other side did not answer in the dialog in time.
    DialogUnanswered = "DIALOG_UNANSWERED", Aborted;
    /// As many calls wait for the exclusive class as may.
    ExclusiveExhausted = "EXCLUSIVE_EXHAUSTED", ResourceExhausted;
    /// A protected method was sent something that is not one whole request message.
    RequestIncomplete = "REQUEST_INCOMPLETE", InvalidArgument;

    /// No such method here.
    MethodUnknown = "METHOD_UNKNOWN", Unimplemented;
    /// The server is draining and takes no new work.
    Draining = "DRAINING", Unavailable;
    /// Calls that still run, or a token that the other side owns, keep the session from being released.
    ReleaseRefused = "RELEASE_REFUSED", FailedPrecondition;
    /// The store could not keep what the answer rests on.
    StoreUnavailable = "STORE_UNAVAILABLE", Unavailable;
    /// The store holds a record that is not what was written.
    StoreDamaged = "STORE_DAMAGED", DataLoss;
    /// There is a backup of that name already.
    BackupExists = "BACKUP_EXISTS", FailedPrecondition;
    /// Another backup is being made; they are made one at a time.
    BackupRunning = "BACKUP_RUNNING", ResourceExhausted;
    /// The backup could not be written, or not read again as it was written; nothing of it is left.
    BackupFailed = "BACKUP_FAILED", Internal;
    /// The connection was lost, or none could be made.
    TransportLost = "TRANSPORT_LOST", Unavailable;
    /// The peer sent what the protocol does not allow.
    ProtocolViolated = "PROTOCOL_VIOLATED", Internal;
    /// A layer of the session stack is missing.
    LayerMissing = "LAYER_MISSING", Internal;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_finds_it_again() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
            assert!(
                reason.name().len() <= 63
                    && reason.name().bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            );
            assert!(reason.meaning().ends_with('.'), "{reason}: {:?}", reason.meaning());
            assert_ne!(reason.code(), Code::Ok);
        }
        assert_eq!(Reason::from_name("session_unknown"), None);
    }
}
