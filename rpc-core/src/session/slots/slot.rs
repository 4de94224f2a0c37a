//! One slot: the last call that was made in it, and what is known of that.

use crate::activity::Name;
use crate::id::{Attempt, CallAttempt, Fingerprint, Sequence, SlotId};
use crate::planted::{self, Bug};
use crate::policy::Cancellation;
use crate::record::{CallRecord, SlotRecord};
use crate::stream::secured::Resumption;

use super::super::admission::{Admission, Admit, AdmitError, Keeping};
use super::super::kept::Remembered;
use super::{CallState, Kept};

#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Slot {
    pub(super) last: Sequence,
    /// A call that is newer than the store's was admitted or settled here in this server's time, so there is none that an
    /// earlier server has forgotten.
    pub(super) used: bool,
    attempt: Attempt,
    phase: Phase,
}

/// What is known of the last call of a slot.
#[derive(Debug, Clone, Hash, Default)]
pub(super) enum Phase {
    /// There was none.
    #[default]
    Unused,
    /// Its handler runs, or is to run once the store knows of it.
    Running {
        run: Run,
        /// What the slot remembered before, until the store knows of this call.
        before: Option<Box<Slot>>,
        /// From where its stream goes on, as far as the store is to know.
        place: Option<Place>,
    },
    /// Its handler has ended, and its reply is on the way to the store.
    Recording {
        run: Run,
        kept: Remembered,
        /// Where its stream came to its end.
        end: Option<Box<Resumption>>,
    },
    /// A server that is gone had begun it.
    Begun { fingerprint: Fingerprint, place: Option<Place> },
    /// It ran.
    Done { fingerprint: Fingerprint, kept: Remembered, end: Option<Box<Resumption>> },
    /// It was begun, and nobody knows how far it came. Without a fingerprint it was settled before it was seen again.
    Unknown { fingerprint: Option<Fingerprint> },
    /// The store failed with its record.
    Doubtful { fingerprint: Fingerprint },
    /// It never ran and never will.
    Settled,
}

/// From where a stream goes on that is kept in the store.
#[derive(Debug, Clone, Hash)]
pub(super) enum Place {
    /// From here.
    At(Box<Resumption>),
    /// From where the record of this activity says.
    Activity(Box<Name>),
}

/// A call at work.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Run {
    fingerprint: Fingerprint,
    cancellation: Cancellation,
    keeping: Keeping,
}

impl Run {
    fn of(admit: &Admit) -> Self {
        let Admit { fingerprint, cancellation, keeping, .. } = *admit;
        Self { fingerprint, cancellation, keeping }
    }

    fn admission(self) -> Admission {
        match self.keeping {
            Keeping::Memory | Keeping::Transaction => Admission::Run,
            Keeping::Store { .. } | Keeping::Stream => Admission::RunWhenRecorded,
        }
    }
}

impl Slot {
    /// What the store remembers.
    pub(super) fn restore(record: &SlotRecord) -> Self {
        let phase = match &record.call {
            CallRecord::Begun(fingerprint) => Phase::Begun { fingerprint: *fingerprint, place: None },
            CallRecord::Streaming(fingerprint, resumption) => {
                let place = Some(Place::At(resumption.clone()));
                Phase::Begun { fingerprint: *fingerprint, place }
            }
            CallRecord::Working(fingerprint, name) => {
                let place = Some(Place::Activity(Box::new(name.clone())));
                Phase::Begun { fingerprint: *fingerprint, place }
            }
            CallRecord::Done(fingerprint, reply) => {
                let kept = Kept::Whole(reply.clone()).into();
                Phase::Done { fingerprint: *fingerprint, kept, end: None }
            }
            CallRecord::ReplyDropped(fingerprint, reply) => {
                let kept = Kept::StatusOnly(reply.clone()).into();
                Phase::Done { fingerprint: *fingerprint, kept, end: None }
            }
            CallRecord::Streamed(fingerprint, kept, end) => {
                let kept = kept.clone().into();
                Phase::Done { fingerprint: *fingerprint, kept, end: Some(end.clone()) }
            }
            CallRecord::Unknown(fingerprint) => Phase::Unknown { fingerprint: *fingerprint },
            CallRecord::Settled => Phase::Settled,
        };
        Self { last: record.sequence, used: false, attempt: Attempt(0), phase }
    }

    /// What the store is to remember. A call at work is one that was begun.
    pub(super) fn record(&self, slot: SlotId) -> Option<SlotRecord> {
        let call = match &self.phase {
            Phase::Unused => return None,
            Phase::Running { run: Run { fingerprint, .. }, place, .. }
            | Phase::Begun { fingerprint, place } => match place {
                None => CallRecord::Begun(*fingerprint),
                Some(Place::At(at)) => CallRecord::Streaming(*fingerprint, at.clone()),
                Some(Place::Activity(name)) => CallRecord::Working(*fingerprint, Name::clone(name)),
            },
            Phase::Recording { run: Run { fingerprint, .. }, kept, end }
            | Phase::Done { fingerprint, kept, end } => match (end, kept.kept()) {
                (Some(end), kept) => CallRecord::Streamed(*fingerprint, kept, end.clone()),
                (None, Kept::Whole(reply)) => CallRecord::Done(*fingerprint, reply),
                (None, Kept::StatusOnly(reply)) => CallRecord::ReplyDropped(*fingerprint, reply),
            },
            Phase::Doubtful { fingerprint } => CallRecord::Begun(*fingerprint),
            Phase::Unknown { fingerprint } => CallRecord::Unknown(*fingerprint),
            Phase::Settled => CallRecord::Settled,
        };
        Some(SlotRecord { slot, sequence: self.last, call })
    }

    /// A new call has the slot, which works on that activity if there is one.
    pub(super) fn begin(&mut self, admit: Admit, activity: Option<&Name>) -> Admission {
        let run = Run::of(&admit);
        let admission = run.admission();
        let before = (admission == Admission::RunWhenRecorded).then(|| Box::new(std::mem::take(self)));
        let CallAttempt { call, attempt } = admit.attempt;
        (self.last, self.attempt, self.used) = (call.sequence, attempt, true);
        let place = (admit.keeping == Keeping::Stream).then(|| match activity {
            Some(name) => Place::Activity(Box::new(name.clone())),
            None => Place::At(Box::default()),
        });
        self.phase = Phase::Running { run, before, place };
        admission
    }

    /// The store knows of the call: what the slot remembered before is forgotten.
    pub(super) fn dispatched(&mut self) {
        if let Phase::Running { before, .. } = &mut self.phase {
            *before = None;
        }
    }

    /// What was begun is taken back.
    pub(super) fn retract(&mut self) {
        match std::mem::take(&mut self.phase) {
            Phase::Running { before: Some(before), .. } => *self = *before,
            Phase::Running { run, before: None, place } => {
                self.phase = Phase::Begun { fingerprint: run.fingerprint, place };
            }
            other => self.phase = other,
        }
    }

    /// A call of which this server cannot know whether it ran. It may be late, and calls after it forgotten, too.
    pub(super) fn lose(&mut self, sequence: Sequence, admit: Admit) {
        (self.last, self.attempt) = (sequence, admit.attempt.attempt);
        self.phase = Phase::Unknown { fingerprint: Some(admit.fingerprint) };
    }

    /// A call that has not arrived is used up.
    pub(super) fn settle(&mut self, sequence: Sequence) {
        *self = Self { last: sequence, used: true, attempt: Attempt(0), phase: Phase::Settled };
    }

    /// A call of which nobody knows whether it ran is used up. The same is true of those after it: who asks for a call
    /// does not say that it made no other since.
    pub(super) fn give_up(&mut self, sequence: Sequence) {
        let phase = Phase::Unknown { fingerprint: None };
        *self = Self { last: sequence, used: false, attempt: Attempt(0), phase };
    }

    /// From where the stream of the call goes on, or where it came to its end, as far as the store knows; `None`: it is
    /// none.
    pub(super) fn resumption(&self) -> Option<&Resumption> {
        match &self.phase {
            Phase::Running { place: Some(Place::At(at)), .. }
            | Phase::Begun { place: Some(Place::At(at)), .. } => Some(at),
            Phase::Recording { end, .. } | Phase::Done { end, .. } => end.as_deref(),
            _ => None,
        }
    }

    /// The activity on which the call works that has not ended.
    pub(super) fn activity(&self) -> Option<&Name> {
        match &self.phase {
            Phase::Running { place: Some(Place::Activity(name)), .. }
            | Phase::Begun { place: Some(Place::Activity(name)), .. } => Some(name),
            _ => None,
        }
    }

    /// The stream of the running call goes on from here. False if it is none that is kept.
    pub(super) fn stream_secured(&mut self, secured: Resumption) -> bool {
        let Phase::Running { place: Some(place), .. } = &mut self.phase else { return false };
        if let Place::At(at) = place {
            **at = secured;
        }
        true
    }

    /// The handler came to its end. `None` if it had before.
    pub(super) fn complete(&mut self, kept: Remembered, end: Option<Box<Resumption>>) -> Option<Keeping> {
        let Phase::Running { run, .. } = self.phase else { return None };
        self.phase = match run.keeping {
            Keeping::Memory => Phase::Done { fingerprint: run.fingerprint, kept, end },
            Keeping::Store { .. } | Keeping::Stream | Keeping::Transaction => {
                Phase::Recording { run, kept, end }
            }
        };
        Some(run.keeping)
    }

    /// The store has the reply.
    pub(super) fn recorded(&mut self) {
        if let Phase::Recording { run, kept, end } = std::mem::take(&mut self.phase) {
            self.phase = Phase::Done { fingerprint: run.fingerprint, kept, end };
        }
    }

    /// The store refused the transaction.
    pub(super) fn rerun(&mut self) {
        if let Phase::Recording { run, .. } = self.phase {
            self.phase = Phase::Running { run, before: None, place: None };
        }
    }

    pub(super) fn doubt(&mut self) {
        if let Phase::Running { run, .. } | Phase::Recording { run, .. } = self.phase {
            self.phase = Phase::Doubtful { fingerprint: run.fingerprint };
        }
    }

    /// Nobody will know how far the running call came.
    pub(super) fn abandon(&mut self) -> Option<Keeping> {
        let Phase::Running { run, .. } = self.phase else { return None };
        self.phase = Phase::Unknown { fingerprint: Some(run.fingerprint) };
        Some(run.keeping)
    }

    /// The handler runs, or its reply is on its way to the store.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::Recording { .. })
    }

    /// A server that is gone had begun the call.
    pub(super) fn was_begun_before(&self) -> bool {
        matches!(self.phase, Phase::Begun { .. })
    }

    /// What cancellation does to the handler that runs.
    pub(super) fn cancellation(&self) -> Option<Cancellation> {
        match self.phase {
            Phase::Running { run, .. } => Some(run.cancellation),
            _ => None,
        }
    }

    pub(super) fn reply_bytes(&self) -> usize {
        match &self.phase {
            Phase::Done { kept, .. } | Phase::Recording { kept, .. } => kept.bytes(),
            Phase::Running { before: Some(before), .. } => before.reply_bytes(),
            _ => 0,
        }
    }

    /// Judges a request for the last call of the slot.
    pub(super) fn again(&mut self, admit: Admit) -> Result<Admission, AdmitError> {
        let CallAttempt { call, attempt } = admit.attempt;
        match &self.phase {
            //= C-32
            Phase::Settled => return Err(AdmitError::Settled(call)),
            // Sequence 0 does not parse, so the last call of an unused slot cannot be asked for.
            Phase::Unused => return Err(AdmitError::Stale { call, last: self.last }),
            _ => {}
        }
        if self.fingerprint().is_some_and(|fingerprint| fingerprint != admit.fingerprint)
            && !planted::is(Bug::FingerprintNotCompared)
        {
            //= I4
            return Err(AdmitError::FalseRetry(call));
        }
        if attempt < self.attempt && !planted::is(Bug::AttemptNotCompared) {
            return Err(AdmitError::Fenced { attempt, latest: self.attempt });
        }
        // A first attempt is sent once (C-20), so the one that the slot knows was another call's.
        //= C-61
        if admit.streams && attempt == Attempt(0) {
            return Err(AdmitError::FalseRetry(call));
        }
        self.attempt = attempt;
        Ok(match &mut self.phase {
            Phase::Running { .. } | Phase::Recording { .. } => Admission::Attach,
            //= I2
            //= C-17
            Phase::Done { kept, .. } => match kept.kept() {
                Kept::Whole(reply) => Admission::Replay(reply),
                Kept::StatusOnly(reply) => Admission::ReplyDropped(reply),
            },
            //= C-52
            Phase::Begun { place, .. } if admit.keeping.runs_again(place.is_some()) => {
                let run = Run::of(&admit);
                let place = place.take();
                self.phase = Phase::Running { run, before: None, place };
                run.admission()
            }
            Phase::Doubtful { .. } => return Err(AdmitError::NotRecorded(call)),
            Phase::Begun { .. } if planted::is(Bug::BegunNotExecuted) => {
                return Err(AdmitError::Settled(call));
            }
            Phase::Begun { .. } | Phase::Unknown { .. } | Phase::Unused | Phase::Settled => {
                Admission::Unknown
            }
        })
    }

    /// Whether [`again`](Self::again) would answer that the handler runs.
    pub(super) fn would_run_again(&self, admit: &Admit) -> bool {
        match &self.phase {
            Phase::Begun { fingerprint, place } => {
                *fingerprint == admit.fingerprint
                    && admit.attempt.attempt >= self.attempt
                    && !(admit.streams && admit.attempt.attempt == Attempt(0))
                    && admit.keeping.runs_again(place.is_some())
            }
            Phase::Unused
            | Phase::Running { .. }
            | Phase::Recording { .. }
            | Phase::Done { .. }
            | Phase::Unknown { .. }
            | Phase::Doubtful { .. }
            | Phase::Settled => false,
        }
    }

    pub(super) fn state(&self) -> CallState {
        match &self.phase {
            Phase::Unused => CallState::Absent,
            Phase::Running { .. } | Phase::Recording { .. } => CallState::Running,
            Phase::Done { kept, .. } => CallState::Done(kept.kept()),
            Phase::Begun { .. } | Phase::Unknown { .. } | Phase::Doubtful { .. } => CallState::Unknown,
            Phase::Settled => CallState::NotExecuted,
        }
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.phase {
            Phase::Running { run, .. } | Phase::Recording { run, .. } => Some(run.fingerprint),
            Phase::Begun { fingerprint, .. }
            | Phase::Done { fingerprint, .. }
            | Phase::Doubtful { fingerprint } => Some(*fingerprint),
            Phase::Unknown { fingerprint } => *fingerprint,
            Phase::Unused | Phase::Settled => None,
        }
    }
}
