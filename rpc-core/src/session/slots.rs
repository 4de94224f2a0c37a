//! Slots: where a call is admitted once, and its reply is remembered until the next call uses the place.
//!
//! The rules are those of NFSv4.1 (RFC 8881, 2.10.6), with three repairs: a retry is told from another call by the
//! server's own fingerprint, a retry of a running call waits for it instead of being sent away, and a call that has
//! not arrived can be settled so that it never runs.

use bytes::Bytes;

use crate::error::{Outcome, Reason};
use crate::id::{Attempt, CallAttempt, CallId, Epoch, Fingerprint, Sequence, SlotId};
use crate::policy::Cancellation;
use crate::record::Reply;

/// The slots of one session, acceptor's side. Slots are made when they are first used.
#[derive(Debug)]
pub(super) struct Slots {
    slots_max: u32,
    reply_bytes_max: u32,
    running: u32,
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    last: Sequence,
    attempt: Attempt,
    phase: Phase,
}

/// What is known of the last call of a slot.
#[derive(Debug, Default)]
enum Phase {
    /// There was none.
    #[default]
    Unused,
    /// Its handler runs.
    Running { fingerprint: Fingerprint, epoch: Epoch, cancellation: Cancellation },
    /// It ran.
    Done { fingerprint: Fingerprint, kept: Kept },
    /// It was begun, and nobody knows how far it came.
    Unknown { fingerprint: Fingerprint },
    /// It never ran and never will.
    Settled,
}

/// What is kept of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole(Reply),
    /// It was over the bound: the status only, in a reply without message.
    StatusOnly(Reply),
}

/// A protected call that asks to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admit {
    /// Which try of which call.
    pub attempt: CallAttempt,
    /// Of its method and request.
    pub fingerprint: Fingerprint,
    /// Of its method's policy.
    pub cancellation: Cancellation,
}

/// What a protected call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is admitted: run the handler, then `complete` or `abandon` the call.
    Run,
    /// It runs already: wait until it no longer does, and ask again.
    Attach,
    /// It ran: this was the reply.
    Replay(Reply),
    /// It ran, and only the status of its reply was kept.
    ReplyDropped(Reply),
    /// It was begun, and nobody knows how far it came.
    Unknown,
}

/// Why a protected call is not admitted. Nothing ran and nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
            Self::Stale { .. } | Self::Fenced { .. } => Outcome::Unknown,
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

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallState {
    /// It has not arrived and still may.
    Absent,
    /// It did not run and never will.
    NotExecuted,
    /// It runs.
    Running,
    /// It ran.
    Done(Kept),
    /// It was begun, and nobody knows how far it came.
    Unknown,
    /// A later call uses the slot.
    Forgotten,
}

impl Slots {
    /// Slots for `slots_max` outstanding calls that keep replies of up to `reply_bytes_max` each.
    pub(super) fn new(slots_max: u32, reply_bytes_max: u32) -> Self {
        Self { slots_max, reply_bytes_max, running: 0, slots: Vec::new() }
    }

    /// Judges a protected call.
    ///
    /// # Errors
    ///
    /// Whatever is neither the next call of its slot nor the last one again.
    pub(super) fn admit(&mut self, epoch: Epoch, admit: Admit) -> Result<Admission, AdmitError> {
        let call = admit.attempt.call;
        let slot = self.slot(call.slot)?;
        let last = slot.last;
        if call.sequence < last {
            //= C-11
            //= I5
            return Err(AdmitError::Stale { call, last });
        }
        if call.sequence == last {
            //= I1
            return slot.again(epoch, admit);
        }
        if call.sequence > last.next() || matches!(slot.phase, Phase::Running { .. }) {
            //= C-7
            //= C-12
            return Err(AdmitError::Misordered { call, last });
        }
        *slot = Slot {
            last: call.sequence,
            attempt: admit.attempt.attempt,
            phase: Phase::Running { fingerprint: admit.fingerprint, epoch, cancellation: admit.cancellation },
        };
        self.running += 1;
        Ok(Admission::Run)
    }

    /// Records the reply of a running call. Returns whether the call was running; the reply of any other is dropped.
    pub(super) fn complete(&mut self, call: CallId, reply: Reply, reply_bytes_max: Option<u32>) -> bool {
        //= I6
        let bound = reply_bytes_max.unwrap_or(u32::MAX).min(self.reply_bytes_max);
        let kept = if reply.bytes() <= bound as usize {
            Kept::Whole(reply)
        } else {
            // The trailer carries the status message, and its size is not ours to choose.
            let trailer = if reply.trailer.len() <= bound as usize { reply.trailer } else { Bytes::new() };
            Kept::StatusOnly(Reply { code: reply.code, head: Bytes::new(), message: Bytes::new(), trailer })
        };
        self.finish(call, |fingerprint| Phase::Done { fingerprint, kept })
    }

    /// Records that a running call will not come to an end that anybody sees.
    pub(super) fn abandon(&mut self, call: CallId) -> bool {
        self.finish(call, |fingerprint| Phase::Unknown { fingerprint })
    }

    /// Tells what became of a call. With `settle`, the next call of its slot is used up if it has not arrived.
    ///
    /// # Errors
    ///
    /// The slot is out of range.
    //= C-30
    pub(super) fn query(&mut self, call: CallId, settle: bool) -> Result<CallState, AdmitError> {
        let slot = self.slot(call.slot)?;
        if call.sequence < slot.last {
            return Ok(CallState::Forgotten);
        }
        if call.sequence == slot.last {
            return Ok(slot.state());
        }
        let is_next = call.sequence == slot.last.next() && !matches!(slot.phase, Phase::Running { .. });
        //= C-31
        //= I3
        if settle && is_next {
            *slot = Slot { last: call.sequence, attempt: Attempt(0), phase: Phase::Settled };
            return Ok(CallState::NotExecuted);
        }
        //= C-33
        Ok(CallState::Absent)
    }

    /// Whether `call` runs.
    pub(super) fn is_running(&self, call: CallId) -> bool {
        self.slots
            .get(call.slot.0 as usize)
            .is_some_and(|slot| slot.last == call.sequence && matches!(slot.phase, Phase::Running { .. }))
    }

    /// Whether `call` runs and its policy lets cancellation stop it.
    pub(super) fn may_stop(&self, call: CallId) -> bool {
        self.slots.get(call.slot.0 as usize).is_some_and(|slot| {
            slot.last == call.sequence
                && matches!(slot.phase, Phase::Running { cancellation: Cancellation::Stop, .. })
        })
    }

    /// The last sequence of a slot.
    pub(super) fn last(&self, slot: SlotId) -> Sequence {
        self.slots.get(slot.0 as usize).map_or(Sequence(0), |slot| slot.last)
    }

    /// How many calls run.
    pub(super) fn running(&self) -> u32 {
        self.running
    }

    /// The calls that run.
    pub(super) fn running_calls(&self) -> impl Iterator<Item = CallId> {
        (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| matches!(slot.phase, Phase::Running { .. }))
            .map(|(index, slot)| CallId { slot: SlotId(index), sequence: slot.last })
    }

    /// Bytes of the replies kept: at most slots × the bound (I6).
    pub(super) fn reply_bytes(&self) -> usize {
        self.slots
            .iter()
            .map(|slot| match &slot.phase {
                Phase::Done { kept: Kept::Whole(reply) | Kept::StatusOnly(reply), .. } => reply.bytes(),
                Phase::Unused | Phase::Running { .. } | Phase::Unknown { .. } | Phase::Settled => 0,
            })
            .sum()
    }

    fn slot(&mut self, slot: SlotId) -> Result<&mut Slot, AdmitError> {
        if slot.0 >= self.slots_max {
            //= C-4
            return Err(AdmitError::SlotOutOfRange { slot, slots: self.slots_max });
        }
        let index = slot.0 as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        Ok(&mut self.slots[index])
    }

    fn finish(&mut self, call: CallId, end: impl FnOnce(Fingerprint) -> Phase) -> bool {
        let Some(slot) = self.slots.get_mut(call.slot.0 as usize) else { return false };
        let Phase::Running { fingerprint, .. } = slot.phase else { return false };
        if slot.last != call.sequence {
            return false;
        }
        slot.phase = end(fingerprint);
        self.running -= 1;
        true
    }
}

impl Slot {
    /// Judges a request for the last call of the slot.
    fn again(&mut self, epoch: Epoch, admit: Admit) -> Result<Admission, AdmitError> {
        let CallAttempt { call, attempt } = admit.attempt;
        let fingerprint = match &self.phase {
            //= C-32
            Phase::Settled => return Err(AdmitError::Settled(call)),
            // Sequence 0 does not parse, so the last call of an unused slot cannot be asked for.
            Phase::Unused => return Err(AdmitError::Stale { call, last: self.last }),
            Phase::Running { fingerprint, .. }
            | Phase::Done { fingerprint, .. }
            | Phase::Unknown { fingerprint } => *fingerprint,
        };
        if fingerprint != admit.fingerprint {
            //= I4
            return Err(AdmitError::FalseRetry(call));
        }
        if attempt < self.attempt {
            return Err(AdmitError::Fenced { attempt, latest: self.attempt });
        }
        self.attempt = attempt;
        Ok(match &self.phase {
            Phase::Running { epoch: of, .. } if *of == epoch => Admission::Attach,
            Phase::Running { .. } | Phase::Unknown { .. } => Admission::Unknown,
            //= I2
            //= C-17
            Phase::Done { kept: Kept::Whole(reply), .. } => Admission::Replay(reply.clone()),
            Phase::Done { kept: Kept::StatusOnly(reply), .. } => Admission::ReplyDropped(reply.clone()),
            Phase::Unused | Phase::Settled => Admission::Unknown,
        })
    }

    fn state(&self) -> CallState {
        match &self.phase {
            Phase::Unused => CallState::Absent,
            Phase::Running { .. } => CallState::Running,
            Phase::Done { kept, .. } => CallState::Done(kept.clone()),
            Phase::Unknown { .. } => CallState::Unknown,
            Phase::Settled => CallState::NotExecuted,
        }
    }
}
