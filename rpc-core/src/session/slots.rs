//! Slots: where a call is admitted once, and its reply is remembered until the next call uses the place.
//!
//! The rules are those of NFSv4.1 (RFC 8881, 2.10.6), with three repairs: a retry is told from another call by the
//! server's own fingerprint, a retry of a running call waits for it instead of being sent away, and a call that has
//! not arrived can be settled so that it never runs.

mod slot;

use super::admission::{Admission, Admit, AdmitError, Keeping};
use super::effect::RecordId;
use crate::activity::Name;
use crate::id::{Attempt, CallAttempt, CallId, Sequence, SlotId};
use crate::planted::{self, Bug};
use crate::policy::Cancellation;
use crate::record::{Reply, SlotRecord};
use crate::stream::secured::Resumption;
use slot::Slot;

/// Up to here a session has room for as many slots as it has used, and no more: most use one at a time.
const SLOTS_EXACT: usize = 4;

/// The slots of one session, acceptor's side. Slots are made when they are first used.
#[derive(Debug, Clone, Hash)]
pub(super) struct Slots {
    slots_max: u32,
    reply_bytes_max: u32,
    running: u32,
    slots: Vec<Slot>,
    /// Calls before this server's time of which the store knows nothing may have run in slots that it has not used.
    forgetful: bool,
    /// Replies on their way to the store, in the order of their records.
    recording: Vec<(RecordId, CallId)>,
}

/// What is kept of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kept {
    /// All of it.
    Whole(Reply),
    /// It was over the bound: the status only, in a reply without message.
    StatusOnly(Reply),
}

impl Kept {
    pub(super) fn reply(&self) -> &Reply {
        match self {
            Self::Whole(reply) | Self::StatusOnly(reply) => reply,
        }
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
        Self {
            slots_max,
            reply_bytes_max,
            running: 0,
            slots: Vec::new(),
            forgetful: false,
            recording: Vec::new(),
        }
    }

    /// The slots as the store has them, after the server that used them is gone. With `forgetful` there are methods whose
    /// calls it did not record.
    pub(super) fn restore(
        slots_max: u32,
        reply_bytes_max: u32,
        records: &[SlotRecord],
        forgetful: bool,
    ) -> Self {
        let mut slots = Self::new(slots_max, reply_bytes_max);
        slots.forgetful = forgetful && !planted::is(Bug::MemoryNotDoubted);
        for record in records {
            if let Ok(slot) = slots.slot(record.slot) {
                *slot = Slot::restore(record);
            }
        }
        slots
    }

    /// Judges a protected call, which works on that activity if there is one.
    ///
    /// # Errors
    ///
    /// Whatever is neither the next call of its slot nor the last one again.
    pub(super) fn admit(&mut self, admit: Admit, activity: Option<&Name>) -> Result<Admission, AdmitError> {
        let call = admit.attempt.call;
        let forgetful = self.forgetful;
        let slot = self.slot(call.slot)?;
        let last = slot.last;
        if call.sequence < last {
            //= C-11
            //= I5
            return Err(AdmitError::Stale { call, last });
        }
        if call.sequence == last {
            //= I1
            let admission = slot.again(admit)?;
            self.running += u32::from(admission.starts());
            return Ok(admission);
        }
        let unused = forgetful && !slot.used;
        let is_gap = call.sequence > last.next() && !planted::is(Bug::SequenceSkipped);
        if slot.is_running() || is_gap && !unused {
            //= C-7
            //= C-12
            return Err(AdmitError::Misordered { call, last });
        }
        //= C-58
        if unused && admit.keeping == Keeping::Memory && admit.attempt.attempt > Attempt(0) {
            slot.lose(call.sequence, admit);
            return Ok(Admission::Unknown);
        }
        let admission = slot.begin(admit, activity);
        self.running += 1;
        Ok(admission)
    }

    /// Whether [`admit`](Self::admit) would answer that the handler runs.
    pub(super) fn would_run(&self, admit: &Admit) -> bool {
        let CallAttempt { call, attempt } = admit.attempt;
        if call.slot.0 >= self.slots_max {
            return false;
        }
        let unused = Slot::default();
        let slot = self.slots.get(call.slot.0 as usize).unwrap_or(&unused);
        if call.sequence <= slot.last {
            return call.sequence == slot.last && slot.would_run_again(admit);
        }
        let forgotten = self.forgetful && !slot.used;
        let is_gap = call.sequence > slot.last.next() && !planted::is(Bug::SequenceSkipped);
        let is_next = !slot.is_running() && (!is_gap || forgotten);
        is_next && !(forgotten && admit.keeping == Keeping::Memory && attempt > Attempt(0))
    }

    /// The store knows of the intent of a call.
    pub(super) fn dispatched(&mut self, call: CallId) {
        if let Some(slot) = self.running_slot(call) {
            slot.dispatched();
        }
    }

    /// The store did not hear of the intent of a call, and its handler has not run: the slot is as it was.
    pub(super) fn retract(&mut self, call: CallId) {
        if let Some(slot) = self.running_slot(call) {
            slot.retract();
            self.running -= 1;
        }
    }

    /// The store failed with the record of a call: whoever asks for the call is told that, since nobody knows what the
    /// store has.
    pub(super) fn doubt(&mut self, call: CallId) {
        self.recording.retain(|(_, recording)| *recording != call);
        if let Some(slot) = self.running_slot(call) {
            slot.doubt();
            self.running -= 1;
        }
    }

    /// Records the reply of a running call. `None` if it was not running; the reply is dropped then.
    ///
    /// A call that is kept in memory is done with that. Of the others the record has to be kept first:
    /// [`recording`](Self::recording).
    pub(super) fn complete(
        &mut self,
        call: CallId,
        reply: Reply,
        reply_bytes_max: Option<u32>,
        end: Option<Resumption>,
    ) -> Option<Keeping> {
        //= I6
        let bound = reply_bytes_max.unwrap_or(u32::MAX).min(self.reply_bytes_max);
        let kept = Kept::within(reply, bound);
        let keeping = self.running_slot(call)?.complete(kept.into(), end.map(Box::new))?;
        if keeping == Keeping::Memory {
            self.running -= 1;
        }
        Some(keeping)
    }

    /// The reply of `call` is on its way to the store.
    pub(super) fn recording(&mut self, record: RecordId, call: CallId) {
        self.recording.push((record, call));
    }

    /// The store has everything up to `record`: the next call that is done by that.
    pub(super) fn recorded(&mut self, record: RecordId) -> Option<CallId> {
        let (_, call) = self.recording.first().filter(|(at, _)| *at <= record).copied()?;
        self.recording.remove(0);
        if let Some(slot) = self.running_slot(call) {
            slot.recorded();
            self.running -= 1;
        }
        Some(call)
    }

    /// The call whose reply is in `record`.
    pub(super) fn recorded_by(&self, record: RecordId) -> Option<CallId> {
        self.recording.iter().find(|(at, _)| *at == record).map(|(_, call)| *call)
    }

    /// The calls whose replies are in `record` or a later one.
    pub(super) fn recorded_from(&self, record: RecordId) -> Vec<CallId> {
        self.recording.iter().filter(|(at, _)| *at >= record).map(|(_, call)| *call).collect()
    }

    /// The transaction of a call was refused: its handler runs again.
    pub(super) fn rerun(&mut self, call: CallId) {
        self.recording.retain(|(_, recording)| *recording != call);
        if let Some(slot) = self.running_slot(call) {
            slot.rerun();
        }
    }

    /// Remembers that a running call will not come to an end that anybody sees, and says where its record is kept. `None`:
    /// it does not run, or its reply is on its way to the store.
    pub(super) fn abandon(&mut self, call: CallId) -> Option<Keeping> {
        let keeping = self.running_slot(call)?.abandon()?;
        self.running -= 1;
        Some(keeping)
    }

    /// From where the stream of `call` goes on, or where it came to its end, as far as the store knows; `None`: it is none
    /// that is kept.
    pub(super) fn resumption(&self, call: CallId) -> Option<&Resumption> {
        self.last_call(call)?.resumption()
    }

    /// The activity on which `call` works, as far as the store knows.
    pub(super) fn activity(&self, call: CallId) -> Option<&Name> {
        self.last_call(call)?.activity()
    }

    /// The stream of `call` goes on from here. False if it does not run, or is not kept.
    pub(super) fn stream_secured(&mut self, call: CallId, at: Resumption) -> bool {
        self.running_slot(call).is_some_and(|slot| slot.stream_secured(at))
    }

    /// Tells what became of a call. With `settle`, the next call of its slot is used up if it has not arrived; true if
    /// that changed the slot.
    ///
    /// # Errors
    ///
    /// The slot is out of range.
    //= C-30
    pub(super) fn query(&mut self, call: CallId, settle: bool) -> Result<(CallState, bool), AdmitError> {
        let forgetful = self.forgetful;
        let slot = self.slot(call.slot)?;
        if call.sequence < slot.last {
            return Ok((CallState::Forgotten, false));
        }
        if call.sequence == slot.last {
            return Ok((slot.state(), false));
        }
        //= C-58
        if forgetful && !slot.used && !slot.is_running() {
            if settle {
                //= C-62
                slot.give_up(call.sequence);
            }
            return Ok((CallState::Unknown, settle));
        }
        let is_next = call.sequence == slot.last.next() && !slot.is_running();
        //= C-31
        //= I3
        if settle && is_next {
            slot.settle(call.sequence);
            return Ok((CallState::NotExecuted, true));
        }
        //= C-33
        Ok((CallState::Absent, false))
    }

    /// The slot as the store is to have it; `None` for one that was not used.
    pub(super) fn record(&self, slot: SlotId) -> Option<SlotRecord> {
        self.slots.get(slot.0 as usize)?.record(slot)
    }

    /// Whether `call` runs.
    pub(super) fn is_running(&self, call: CallId) -> bool {
        self.last_call(call).is_some_and(Slot::is_running)
    }

    /// Whether `call` was begun by a server that is gone.
    pub(super) fn was_begun_before(&self, call: CallId) -> bool {
        self.last_call(call).is_some_and(Slot::was_begun_before)
    }

    /// Whether `call` runs and its policy lets cancellation stop it.
    pub(super) fn may_stop(&self, call: CallId) -> bool {
        self.last_call(call).is_some_and(|slot| slot.cancellation() == Some(Cancellation::Stop))
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
            .filter(|(_, slot)| slot.is_running())
            .map(|(index, slot)| CallId { slot: SlotId(index), sequence: slot.last })
    }

    /// Bytes of the replies kept: at most slots × the bound (I6).
    pub(super) fn reply_bytes(&self) -> usize {
        self.slots.iter().map(Slot::reply_bytes).sum()
    }

    fn slot(&mut self, slot: SlotId) -> Result<&mut Slot, AdmitError> {
        if slot.0 >= self.slots_max {
            //= C-4
            return Err(AdmitError::SlotOutOfRange { slot, slots: self.slots_max });
        }
        let index = slot.0 as usize;
        if index >= self.slots.len() {
            if index < SLOTS_EXACT {
                self.slots.reserve_exact(index + 1 - self.slots.len());
            }
            self.slots.resize_with(index + 1, Slot::default);
        }
        Ok(&mut self.slots[index])
    }

    fn last_call(&self, call: CallId) -> Option<&Slot> {
        self.slots.get(call.slot.0 as usize).filter(|slot| slot.last == call.sequence)
    }

    fn running_slot(&mut self, call: CallId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(call.slot.0 as usize)?;
        (slot.last == call.sequence && slot.is_running()).then_some(slot)
    }
}
