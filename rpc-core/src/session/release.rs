//! The two ways to end a session on purpose: in order, and now.

use super::effect::{Answer, Effect, RequestId};
use super::lifecycle::Input;
use super::slots::CallState;
use super::{Session, SessionUnknown};
use crate::id::CallId;
use crate::negotiate::Unit;
use crate::planted::{self, Bug};
use crate::time::Timestamp;

/// Releases that wait for running calls at the same time; a further one is refused.
pub(super) const WAITING_MAX: usize = 16;

/// A release that waits for running calls.
#[derive(Debug, Clone, Hash)]
pub(super) struct Releasing {
    pub(super) until: Timestamp,
    pub(super) requests: Vec<RequestId>,
}

impl Session {
    /// Ends the session in order: admits nothing new, waits until `until` for what runs, and answers `request`.
    ///
    /// If calls still run then, the release is refused where negotiated release is on (and nothing has changed), and
    /// the session is aborted where it is not.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn release(&mut self, until: Timestamp, request: RequestId) -> Result<(), SessionUnknown> {
        if self.state.after(Input::ReleaseAsked).is_none() {
            return Err(SessionUnknown);
        }
        //= L-38
        //= I19
        if !self.initiator_may_release() {
            self.outbox.at_once(Effect::Answer { request, answer: Answer::ReleaseTokenMissing });
            return Ok(());
        }
        self.step(Input::ReleaseAsked);
        if self.wanted.is_some() {
            self.release_moved();
        }
        let releasing =
            self.releasing.get_or_insert_with(|| Box::new(Releasing { until, requests: Vec::new() }));
        if releasing.requests.len() < WAITING_MAX {
            releasing.requests.push(request);
        } else {
            let answer = Answer::ReleaseRefused { running: self.under_way() };
            self.outbox.at_once(Effect::Answer { request, answer });
        }
        self.calls_may_have_finished();
        Ok(())
    }

    /// Ends the session now. The answer tells what became of the calls under way: those that run are not waited for.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn abort(&mut self, request: RequestId) -> Result<(), SessionUnknown> {
        if !self.step(Input::Abort) {
            return Err(SessionUnknown);
        }
        let calls = self.calls_under_way();
        let record = self.finish();
        self.outbox.after(record, Effect::Answer { request, answer: Answer::Aborted { calls } });
        Ok(())
    }

    /// In release, the last running call ends the session, or the last stream of which all is secured then. The tombstone
    /// is durable before anybody is told (I18).
    //= D-22
    pub(super) fn calls_may_have_finished(&mut self) {
        let is_waiting = self.under_way() > 0 && !planted::is(Bug::ReleaseDuringCall);
        if is_waiting || !self.step(Input::CallsFinished) {
            return;
        }
        //= I18
        let summary = self.tally.summary();
        self.answer_release(|| Answer::Released(summary));
    }

    /// Calls that run, and streams whose handlers have ended and of which not everything is secured.
    fn under_way(&self) -> u32 {
        let open = self.tally.open().iter().filter(|call| !self.slots.is_running(**call));
        open.fold(self.slots.running(), |calls, _| calls + 1)
    }

    pub(super) fn release_time_up(&mut self) {
        if self.record.agreement.units.contains(Unit::NegotiatedRelease) {
            if planted::is(Bug::RefusalChanges) || self.step(Input::ReleaseRefused) {
                self.refuse_release();
            }
        } else if self.step(Input::ReleaseTimeUp) {
            let calls = self.calls_under_way();
            self.answer_release(|| Answer::Aborted { calls: calls.clone() });
        }
    }

    /// Answers waiting releases that nothing has changed (I19).
    //= I19
    pub(super) fn refuse_release(&mut self) {
        let Some(releasing) = self.releasing.take() else { return };
        if self.wanted.is_some() {
            self.release_moved();
        }
        let running = self.under_way();
        for request in releasing.requests {
            let answer = Answer::ReleaseRefused { running };
            self.outbox.at_once(Effect::Answer { request, answer });
        }
    }

    fn answer_release(&mut self, answer: impl Fn() -> Answer) {
        let waiting = self.releasing.take().map(|releasing| releasing.requests).unwrap_or_default();
        let record = self.finish();
        for request in waiting {
            self.outbox.after(record, Effect::Answer { request, answer: answer() });
        }
    }

    /// What becomes of the calls that are cut off: those that run, and those of which the caller may miss messages although
    /// their handlers have ended. In the order of their slots.
    fn calls_under_way(&mut self) -> Vec<(CallId, CallState)> {
        let mut calls: Vec<CallId> = self.slots.running_calls().collect();
        calls.extend(self.tally.open().iter().filter(|call| !self.slots.is_running(**call)));
        calls.sort_unstable_by_key(|call| call.slot);
        let mut state = |call| self.slots.query(call, false).map_or(CallState::Unknown, |(state, _)| state);
        calls.into_iter().map(|call| (call, state(call))).collect()
    }
}
