//! Protected calls of a session, and what the store has of them.

use super::Session;
use super::admission::{Admission, Admit, AdmitError, Keeping};
use super::effect::{Answer, Effect, Event, RecordId, RequestId};
use super::lifecycle::{Input, State};
use super::slots::CallState;
use crate::activity::Name;
use crate::error::Reason;
use crate::id::{CallId, SlotId};
use crate::negotiate::Unit;
use crate::planted::{self, Bug};
use crate::record::{ActivityRecord, Change, Reply};
use crate::store::WriteError;
use crate::stream::position::Position;
use crate::stream::secured::Resumption;
use crate::transaction::Transaction;

/// What is kept with a reply.
#[derive(Default)]
struct Ends {
    transaction: Option<Transaction>,
    end: Option<Resumption>,
    activity: Option<Box<ActivityRecord>>,
}

impl Session {
    /// Judges a protected call. After [`Admission::Run`], or [`Effect::Dispatch`] after [`Admission::RunWhenRecorded`],
    /// the shell runs the handler and reports its end.
    ///
    /// # Errors
    ///
    /// See [`AdmitError`]; the retry of a call that was admitted is answered whatever the state of the session.
    pub fn admit(&mut self, admit: Admit) -> Result<Admission, AdmitError> {
        self.admit_working(admit, None)
    }

    /// The same for a call whose stream is kept, and that works on an activity. `activity` is what the store is to know of
    /// that when the call begins.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit).
    pub fn admit_working(
        &mut self,
        admit: Admit,
        activity: Option<Box<ActivityRecord>>,
    ) -> Result<Admission, AdmitError> {
        let would_run = self.would_run(&admit);
        let admission = self.judge(admit, activity);
        debug_assert_eq!(would_run, admission.as_ref().is_ok_and(Admission::starts));
        admission
    }

    fn judge(
        &mut self,
        admit: Admit,
        activity: Option<Box<ActivityRecord>>,
    ) -> Result<Admission, AdmitError> {
        if !self.record.agreement.units.contains(Unit::ExactlyOnce) {
            //= C-57
            //= O-21
            return Err(AdmitError::UnitOff);
        }
        let call = admit.attempt.call;
        let is_new = self.is_new(call);
        if is_new {
            self.takes_new_calls()?;
        }
        let name = activity.as_ref().map(|activity| &activity.key.name);
        let admission = self.slots.admit(admit, name)?;
        if is_new && admission.starts() {
            self.tally.begun();
        }
        //= C-51
        if admission == Admission::RunWhenRecorded {
            let record = match planted::is(Bug::IntentNotWritten) {
                false => self.persist_work(call.slot, activity),
                true => RecordId::default(),
            };
            let record = if planted::is(Bug::HandlerBeforeIntent) { RecordId::default() } else { record };
            self.outbox.after(record, Effect::Dispatch(call));
        }
        Ok(admission)
    }

    /// Whether `call` was neither admitted nor settled yet.
    pub fn is_new(&self, call: CallId) -> bool {
        call.sequence > self.slots.last(call.slot)
    }

    /// Whether a handler may have to be run for `call`: it is new, or was begun by a server that is gone.
    pub fn may_start(&self, call: CallId) -> bool {
        self.is_new(call) || self.slots.was_begun_before(call)
    }

    /// Whether [`admit`](Self::admit) would answer that the handler runs. Changes nothing: what is judged only for calls
    /// that would run is judged before them.
    //= D-7
    pub fn would_run(&self, admit: &Admit) -> bool {
        let is_taken = !self.is_new(admit.attempt.call) || self.takes_new_calls().is_ok();
        self.record.agreement.units.contains(Unit::ExactlyOnce) && is_taken && self.slots.would_run(admit)
    }

    /// The stream of `call` begins, and is open until [`flow_over`](Self::flow_over).
    pub fn flow_begun(&mut self, call: CallId) {
        self.tally.flow_begun(call);
    }

    /// All that was sent in the stream of `call` is delivered and secured, or the stream has failed or was given up, and
    /// so much of it was secured. A release waits for this (I18).
    //= D-22
    pub fn flow_over(&mut self, call: CallId, requests: Position, responses: Position) {
        if self.tally.flow_over(call, requests, responses) {
            self.calls_may_have_finished();
        }
    }

    /// Whether the handler of `call` runs, or its reply is on its way to the store.
    pub fn is_running(&self, call: CallId) -> bool {
        self.slots.is_running(call)
    }

    /// The handler of `call` came to its end. `reply_bytes_max` is the method's own bound.
    ///
    /// True if the reply may be answered at once; otherwise when [`Effect::Recorded`] says so.
    pub fn complete(&mut self, call: CallId, reply: Reply, reply_bytes_max: Option<u32>) -> bool {
        self.finish_call(call, reply, reply_bytes_max, Ends::default())
    }

    /// The same for a call that streams, with the place where its stream came to its end: what both sides then have, or the
    /// reply makes needless. Without one a later server can answer with the status only. `activity` is what the store is to
    /// know of the one that the call works on, if that changes.
    pub fn complete_stream(
        &mut self,
        call: CallId,
        reply: Reply,
        reply_bytes_max: Option<u32>,
        end: Option<Resumption>,
        activity: Option<Box<ActivityRecord>>,
    ) -> bool {
        self.finish_call(call, reply, reply_bytes_max, Ends { end, activity, transaction: None })
    }

    /// The same for a call with a transaction, which is committed with the reply; or not, and then its handler runs
    /// again: [`Effect::RunAgain`].
    //= C-54
    pub fn complete_with(
        &mut self,
        call: CallId,
        reply: Reply,
        reply_bytes_max: Option<u32>,
        transaction: Transaction,
    ) -> bool {
        self.finish_call(
            call,
            reply,
            reply_bytes_max,
            Ends { transaction: Some(transaction), ..Ends::default() },
        )
    }

    fn finish_call(&mut self, call: CallId, reply: Reply, reply_bytes_max: Option<u32>, ends: Ends) -> bool {
        let code = reply.code;
        if planted::is(Bug::FailureNotRecorded) && code != 0 {
            self.abandon(call);
        }
        match self.slots.complete(call, reply, reply_bytes_max, ends.end) {
            None => true,
            Some(Keeping::Memory) => {
                self.tally.ended(code);
                self.calls_may_have_finished();
                true
            }
            //= C-51
            Some(Keeping::Store { .. } | Keeping::Stream | Keeping::Transaction) => {
                let record = match (ends.transaction, self.slots.record(call.slot)) {
                    (Some(transaction), Some(slot)) => {
                        self.persist(Change::Commit(Box::new(slot), Box::new(transaction)))
                    }
                    _ => self.persist_work(call.slot, ends.activity),
                };
                self.slots.recording(record, call);
                planted::is(Bug::ReplyBeforeRecord)
            }
        }
    }

    /// From where the stream of `call` goes on after a crash, or where it came to its end; `None`: it is no stream that is
    /// kept in the store.
    pub fn resumption(&self, call: CallId) -> Option<&Resumption> {
        self.slots.resumption(call)
    }

    /// The activity on which the stream of `call` works, whose record says from where it goes on after a crash.
    pub fn activity(&self, call: CallId) -> Option<&Name> {
        self.slots.activity(call)
    }

    /// Both sides have secured the stream of `call` up to here; `activity` is what the store is to know of the one that it
    /// works on. [`Effect::StreamRecorded`] says when the store knows; only then may the other side be told.
    //= S-28
    pub fn stream_secured(&mut self, call: CallId, at: Resumption, activity: Option<Box<ActivityRecord>>) {
        if self.slots.stream_secured(call, at) {
            let record = match activity {
                Some(activity) => self.persist(Change::Activity(activity, None)),
                None => self.persist_slot(call.slot),
            };
            self.outbox.after(record, Effect::StreamRecorded(call));
        } else {
            self.outbox.at_once(Effect::StreamNotRecorded(call, Reason::SessionEnded));
        }
    }

    /// The activity is done on which a call worked that has ended before: nobody waits until the store knows.
    pub fn activity_done(&mut self, activity: Box<ActivityRecord>) {
        self.persist(Change::Activity(activity, None));
    }

    /// The task of the handler of `call` is gone, with this server perhaps: a later one does with the call what its policy
    /// says.
    pub fn abandon(&mut self, call: CallId) {
        if self.slots.abandon(call).is_some() {
            self.calls_may_have_finished();
        }
    }

    /// The handler of `call` was stopped for good: by its caller, by its deadline, or for another call. The store is told,
    /// or a late attempt would run the call again at a later server; whoever asks what became of it waits for that.
    //= C-36
    pub fn stopped(&mut self, call: CallId) {
        let Some(keeping) = self.slots.abandon(call) else { return };
        // With the session go the records of its calls.
        let is_kept = keeping != Keeping::Memory && self.state.end().is_none();
        let is_kept = is_kept && !planted::is(Bug::StopNotRecorded);
        if is_kept {
            self.persist_settled(call.slot);
        }
        self.calls_may_have_finished();
    }

    /// Tells what became of a call; with `settle`, makes sure that a call that has not arrived never runs; with
    /// `cancel`, stops a running handler whose policy allows it. `request` is answered once what it rests on is durable.
    ///
    /// # Errors
    ///
    /// The slot is out of range.
    pub fn query(
        &mut self,
        call: CallId,
        settle: bool,
        cancel: bool,
        request: RequestId,
    ) -> Result<(), AdmitError> {
        let (state, settled) = self.slots.query(call, settle)?;
        if cancel && self.slots.may_stop(call) {
            self.outbox.at_once(Effect::Stop(call));
        }
        let is_absent = state == CallState::Absent;
        let answer = Answer::Queried(state, self.slots.last(call.slot));
        let answer = Effect::Answer { request, answer };
        if settled || self.settling.is_refused(call.slot) {
            self.persist_settled(call.slot);
        }
        // Whoever asks again gets the same answer, and no earlier. That there is no such call is said with the store's
        // word only: another server may have the session, and the call, and this one not know it yet.
        //= I2, I7
        let told = if is_absent { self.update() } else { self.settling.last() };
        self.outbox.after(told, answer);
        Ok(())
    }

    /// The store has `record` and all before it.
    pub fn durable(&mut self, record: RecordId) {
        if record >= self.created {
            self.step(Input::OpenDurable);
        }
        self.claiming.take_if(|claiming| claiming.0 <= record);
        self.settling.durable(record);
        self.outbox.durable(record);
        let mut finished = false;
        while let Some(call) = self.slots.recorded(record) {
            self.outbox.at_once(Effect::Recorded(call));
            if let Ok((CallState::Done(kept), _)) = self.slots.query(call, false) {
                self.tally.ended(kept.reply().code);
            }
            finished = true;
        }
        if finished {
            self.calls_may_have_finished();
        }
    }

    /// The store did not keep `record`. What rests on it is answered with the failure.
    //= I7
    pub fn store_failed(&mut self, record: RecordId, error: &WriteError) {
        match error {
            WriteError::Conflict => self.transaction_refused(record),
            WriteError::Overloaded => self.write_refused(record, error),
            WriteError::Fenced { .. } | WriteError::Exists | WriteError::Missing | WriteError::Store(_) => {
                self.store_lost(record, error);
            }
        }
    }

    fn transaction_refused(&mut self, record: RecordId) {
        if let Some(call) = self.slots.recorded_by(record) {
            self.slots.rerun(call);
            self.outbox.at_once(Effect::RunAgain(call));
        }
        let lost = self.outbox.refused(record);
        debug_assert!(lost.is_empty(), "nothing but its call rests on a transaction");
    }

    /// The store has not seen this write and goes on: nothing but what rests on it has failed.
    fn write_refused(&mut self, record: RecordId, error: &WriteError) {
        if record == self.created {
            return self.store_lost(record, error);
        }
        self.settling.refused(record);
        let refused = match self.claim_lost(record) {
            Some(unwritten) => {
                // The next write claims it again.
                self.unclaimed = true;
                self.settling.all_refused();
                for call in self.slots.recorded_from(record) {
                    self.doubt(call, error.reason());
                }
                unwritten
            }
            None => {
                if let Some(call) = self.slots.recorded_by(record) {
                    self.doubt(call, error.reason());
                }
                self.outbox.refused(record)
            }
        };
        for effect in refused {
            match effect {
                Effect::Dispatch(call) => {
                    self.slots.retract(call);
                    self.tally.retracted();
                    self.outbox.at_once(Effect::NotRecorded(call, error.reason()));
                }
                effect => self.fail(effect, error.reason()),
            }
        }
        self.calls_may_have_finished();
    }

    /// Nobody knows what the store has of `record` and of what came after it.
    //= C-59
    fn store_lost(&mut self, record: RecordId, error: &WriteError) {
        let lost = self.claim_lost(record).unwrap_or_else(|| self.outbox.failed(record));
        // The end comes before the answers: who was told that nothing was opened finds nothing the next time.
        self.end_for(error);
        for call in self.slots.recorded_from(record) {
            self.doubt(call, error.reason());
        }
        for effect in lost {
            match effect {
                Effect::Dispatch(call) => self.doubt(call, error.reason()),
                effect => self.fail(effect, error.reason()),
            }
        }
    }

    fn doubt(&mut self, call: CallId, reason: Reason) {
        self.slots.doubt(call);
        self.outbox.at_once(Effect::NotRecorded(call, reason));
    }

    fn fail(&mut self, effect: Effect, reason: Reason) {
        match effect {
            Effect::Answer { request, .. } => {
                self.outbox.at_once(Effect::Answer { request, answer: Answer::Failed(reason) });
            }
            Effect::StreamRecorded(call) => {
                self.outbox.at_once(Effect::StreamNotRecorded(call, reason));
            }
            _ => {}
        }
    }

    fn end_for(&mut self, error: &WriteError) {
        let event = match error {
            _ if self.state == State::Opening => Event::NeverOpened,
            WriteError::Fenced { .. } => Event::Fenced,
            WriteError::Exists
            | WriteError::Missing
            | WriteError::Conflict
            | WriteError::Overloaded
            | WriteError::Store(_) => return,
        };
        if self.step(Input::Abort) {
            self.outbox.at_once(Effect::Event(event));
            self.stop_all();
        }
    }

    fn persist_work(&mut self, slot: SlotId, activity: Option<Box<ActivityRecord>>) -> RecordId {
        match activity {
            Some(activity) => {
                let slot = self.slots.record(slot).map(Box::new);
                self.persist(Change::Activity(activity, slot))
            }
            None => self.persist_slot(slot),
        }
    }

    /// Writes that a call was decided without a reply of its handler.
    fn persist_settled(&mut self, slot: SlotId) {
        let record = self.persist_slot(slot);
        let record = if planted::is(Bug::SettledBeforeRecord) { RecordId::default() } else { record };
        self.settling.written(record, slot);
    }

    fn persist_slot(&mut self, slot: SlotId) -> RecordId {
        match self.slots.record(slot) {
            Some(record) => self.persist(Change::Slot(Box::new(record))),
            // A slot that nothing was done with has nothing to keep.
            None => RecordId::default(),
        }
    }
}
