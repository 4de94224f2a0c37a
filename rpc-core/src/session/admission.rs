//! What a protected call asks for and what it gets.

use crate::error::{Outcome, Reason};
use crate::id::{Attempt, CallAttempt, CallId, Fingerprint, Sequence, SlotId};
use crate::planted::{self, Bug};
use crate::policy::{Cancellation, Delivery, MethodPolicy, Record};
use crate::record::Reply;

/// Where a call's record is kept, by the policy of its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeping {
    /// In memory: it does not survive the server.
    Memory,
    /// In the store: the intent before the handler runs, the reply before it is answered.
    Store {
        /// The handler may run again where the store knows that the call was begun, and not how far it came.
        idempotent: bool,
    },
    /// In the store, with the points that both sides of the stream have secured: a handler that the server did not bring
    /// to its end begins again there.
    Stream,
    /// In the store, the reply together with the effects: what was not committed has not happened, and runs again.
    Transaction,
}

impl Keeping {
    /// What a policy asks for.
    pub fn of(policy: &MethodPolicy) -> Self {
        match (policy.delivery, policy.record) {
            (Delivery::ExactlyOnce, _) => Self::Transaction,
            (Delivery::AtMostOnce, Record::Durable) => Self::Store { idempotent: policy.idempotent },
            (Delivery::AtMostOnce, Record::Memory) | (Delivery::Plain | Delivery::AtLeastOnce, _) => {
                Self::Memory
            }
        }
    }

    /// Whether a call that was begun by a server that is gone runs again; `streams`: it has a place to go on from.
    pub(super) fn runs_again(self, streams: bool) -> bool {
        match self {
            Self::Memory => false,
            Self::Store { idempotent } => idempotent || planted::is(Bug::BegunRunsAgain),
            Self::Stream => streams,
            Self::Transaction => true,
        }
    }
}

/// A protected call that asks to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Admit {
    /// Which try of which call.
    pub attempt: CallAttempt,
    /// Of its method and request, or of its method alone where the request [streams](Self::streams).
    pub fingerprint: Fingerprint,
    /// Its request is not known when it is admitted: only its number tells a first attempt from a retry.
    pub streams: bool,
    /// Of its method's policy.
    pub cancellation: Cancellation,
    /// Of its method's policy.
    pub keeping: Keeping,
}

/// What a protected call gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It is admitted: run the handler, then `complete` or `abandon` the call.
    Run,
    /// The same, once [`Effect::Dispatch`](super::Effect::Dispatch) says that the store knows of it.
    RunWhenRecorded,
    /// It runs already: wait until it no longer does, and ask again.
    Attach,
    /// It ran: this was the reply.
    Replay(Reply),
    /// It ran, and only the status of its reply was kept.
    ReplyDropped(Reply),
    /// It was begun, and nobody knows how far it came.
    Unknown,
}

impl Admission {
    /// Whether a handler is to run that did not before.
    pub(super) fn starts(&self) -> bool {
        matches!(self, Self::Run | Self::RunWhenRecorded)
    }
}

/// Why a protected call is not admitted. Nothing ran and nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AdmitError {
    /// The session has fewer slots.
    #[error("slot {slot} is out of range, the session has {slots}")]
    SlotOutOfRange {
        /// The slot asked for.
        slot: SlotId,
        /// How many there are.
        slots: u32,
    },
    /// A later call uses the slot.
    #[error("call {call} is stale, the slot has reached {last}")]
    Stale {
        /// The call.
        call: CallId,
        /// The last sequence of the slot.
        last: Sequence,
    },
    /// A call before this one is missing, or still runs.
    #[error("call {call} is out of order, the slot has reached {last}")]
    Misordered {
        /// The call.
        call: CallId,
        /// The last sequence of the slot.
        last: Sequence,
    },
    /// The call id was used with another method or request.
    #[error("call {0} was made with another method or request")]
    FalseRetry(CallId),
    /// A later attempt has taken over.
    #[error("attempt {attempt} was fenced by attempt {latest}")]
    Fenced {
        /// This one.
        attempt: Attempt,
        /// The latest.
        latest: Attempt,
    },
    /// The call was settled and will never run.
    #[error("call {0} was settled and will never run")]
    Settled(CallId),
    /// The session takes no new calls.
    #[error("the session is being released")]
    Releasing,
    /// No connection carries the session any more, the one that the call came on included.
    #[error("the connection of the call was lost")]
    Lingering,
    /// The session ended while the call was on its way.
    #[error("the session has ended")]
    Ended,
    /// The store failed while it was to keep what is asked for; what it has kept is found when it is opened again.
    #[error("the store failed to record call {0}")]
    NotRecorded(CallId),
    /// The session was opened without the unit of protected calls.
    #[error("the session was opened without the unit exactly-once")]
    UnitOff,
}

impl AdmitError {
    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::SlotOutOfRange { .. } => Reason::SlotOutOfRange,
            Self::Stale { .. } => Reason::CallStale,
            Self::Misordered { .. } => Reason::CallMisordered,
            Self::FalseRetry(_) => Reason::CallFalseRetry,
            Self::Fenced { .. } => Reason::AttemptFenced,
            Self::Settled(_) => Reason::CallSettled,
            Self::Releasing => Reason::SessionReleasing,
            Self::Lingering => Reason::TransportLost,
            Self::Ended => Reason::SessionEnded,
            Self::NotRecorded(_) => Reason::StoreUnavailable,
            Self::UnitOff => Reason::UnitUnsupported,
        }
    }

    /// Whether the call ran, as far as this refusal of `attempt` tells.
    ///
    /// Only the settled call is known not to have run whatever was tried. Of the others a first attempt did not, and
    /// before a later one an earlier may have.
    //= C-25
    //= C-26
    pub fn outcome(&self, attempt: Attempt) -> Outcome {
        match self {
            Self::Settled(_) => Outcome::NotExecuted,
            Self::Stale { .. } | Self::Fenced { .. } | Self::NotRecorded(_) => Outcome::Unknown,
            Self::SlotOutOfRange { .. }
            | Self::Misordered { .. }
            | Self::FalseRetry(_)
            | Self::Releasing
            | Self::Lingering
            | Self::Ended
            | Self::UnitOff => refused_before_admission(attempt),
        }
    }
}

/// Whether a call ran that was refused before the slots were asked.
pub fn refused_before_admission(attempt: Attempt) -> Outcome {
    if attempt == Attempt(0) { Outcome::NotExecuted } else { Outcome::Unknown }
}
