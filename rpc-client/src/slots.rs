//! Slots under contention: who waits for one, who has one, which are in quarantine.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{Attempt, CallAttempt, CallId, Sequence, SlotId};
use rpc_core::initiator::calls::Calls;
use rpc_core::initiator::outcome::{Evidence, Fate, Word};
use rpc_core::planted::{self, Bug};
use tokio::time::Instant;
use tonic::Status;

use crate::error::refusal;
use crate::events::{Announcer, Event};
use crate::sync::{Mutex, MutexGuard, Notify, Semaphore, timeout_at};

/// The slots of one session.
pub(crate) struct Slots {
    calls: Mutex<Calls>,
    /// One permit for each free slot. First come, first served.
    room: Semaphore,
    line: Mutex<Line>,
    waiting_max: usize,
    /// How long a call without a deadline waits.
    wait: Duration,
    given_up: Notify,
    wanted: Notify,
    /// Told when a call leaves its slot.
    left: Notify,
    events: Arc<Announcer>,
}

/// Calls that wait for a slot.
#[derive(Debug, Default)]
struct Line {
    waiting: usize,
    /// Of those, how many were given a slot of another process, and have not seen it yet.
    served: usize,
}

impl Slots {
    pub(crate) fn new(calls: Calls, waiting_max: usize, wait: Duration, events: Arc<Announcer>) -> Self {
        Self {
            room: Semaphore::new(calls.free()),
            calls: Mutex::new(calls),
            line: Mutex::default(),
            waiting_max,
            wait,
            given_up: Notify::new(),
            wanted: Notify::new(),
            left: Notify::new(),
            events,
        }
    }

    /// Takes a slot for a call, waiting for one until `deadline`.
    ///
    /// # Errors
    ///
    /// SLOTS_EXHAUSTED, *not executed*: none came free in time, too many wait already, or they were
    /// [closed](Self::close).
    //= C-40
    pub(crate) async fn take(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Taken, Box<Status>> {
        let permit = match self.room.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = self.line_up()?;
                let until = deadline.unwrap_or_else(|| Instant::now() + self.wait);
                let waited = timeout_at(until, self.room.acquire()).await;
                waited.ok().and_then(Result::ok).ok_or_else(|| self.exhausted("none came free in time"))?
            }
        };
        // Not in one expression: the lock would still be held where the refusal takes it to count.
        let begun = self.calls().begin();
        let call = begun.ok_or_else(|| self.exhausted("none is free"))?;
        permit.forget();
        Ok(Taken {
            slots: self.clone(),
            call,
            attempt: Attempt::default(),
            evidence: Evidence::new(),
            under_way: false,
            concluded: false,
        })
    }

    /// Waits until a call is given up.
    ///
    /// # Cancel safety
    ///
    /// A call given up before this is called, or while nobody waits, ends the next wait at once.
    pub(crate) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    /// Waits until no call is under way: each has its answer, and the program has all of it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn idle(&self) {
        loop {
            let left = self.left.notified();
            if self.calls().outstanding_count() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Calls in quarantine.
    pub(crate) fn quarantined(&self) -> Vec<CallAttempt> {
        self.calls().quarantine_list().collect()
    }

    /// The server said what became of a call in quarantine.
    pub(crate) fn settled(&self, call: CallId, last: Sequence) {
        if last.0 == u64::MAX {
            // There is no sequence left for another call.
            return self.retire(call);
        }
        if self.calls().settled(call, last).is_ok() {
            self.room.add_permits(1);
            self.events.say(Event::CallSettled(call));
        }
    }

    /// The server does not know the call as the next of its slot.
    pub(crate) fn retire(&self, call: CallId) {
        if self.calls().retire(call).is_ok() {
            tracing::warn!(slot = %call.slot, sequence = %call.sequence, "server disagrees about a slot, it is given up");
            self.events.say(Event::SlotRetired(call));
        }
    }

    /// Waits until a call waits for a slot.
    ///
    /// # Cancel safety
    ///
    /// A call that lines up before this is called, or while nobody waits, ends the next wait at once.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Slots of which it is not known how far another process came in them.
    pub(crate) fn unresolved(&self) -> usize {
        self.calls().unresolved_count()
    }

    /// A slot of another process to be resolved, if more calls wait for one than are being `asked` about.
    pub(crate) fn resolve(&self, asked: usize) -> Option<SlotId> {
        let wanted = {
            let line = self.line();
            line.waiting.saturating_sub(line.served)
        };
        if wanted > asked { self.calls().resolve() } else { None }
    }

    /// Nothing up to `last` runs any more in a slot of another process.
    pub(crate) fn resolved(&self, slot: SlotId, last: Sequence) {
        if self.calls().resolved(slot, last).is_err() {
            return;
        }
        if last.0 == u64::MAX {
            tracing::warn!(%slot, "slot has no sequences left");
            return self.events.say(Event::SlotRetired(CallId { slot, sequence: last }));
        }
        let mut line = self.line();
        line.served = (line.served + 1).min(line.waiting);
        drop(line);
        self.room.add_permits(1);
    }

    /// The session has ended: nobody gets a slot any more, and who waits for one is sent away.
    pub(crate) fn close(&self) {
        self.room.close();
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // The table is consistent between any two of its commands, so a panic elsewhere does not spoil it.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line_up(&self) -> Result<impl Drop + '_, Box<Status>> {
        let has_room = {
            let mut line = self.line();
            let has_room = line.waiting < self.waiting_max;
            line.waiting += usize::from(has_room);
            has_room
        };
        if !has_room {
            return Err(self.exhausted("too many calls wait for one"));
        }
        self.wanted.notify_one();
        Ok(InLine(&self.line))
    }

    fn exhausted(&self, why: &str) -> Box<Status> {
        let calls = self.calls();
        let message = format!(
            "no slot: {why} ({} calls under way, {} given up and not settled yet, {} of another process and not resolved \
             yet, {} retired)",
            calls.outstanding_count(),
            calls.quarantined_count(),
            calls.unresolved_count(),
            calls.retired_count(),
        );
        Box::new(refusal(Reason::SlotsExhausted, message, Some(Outcome::NotExecuted)))
    }
}

struct InLine<'a>(&'a Mutex<Line>);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.waiting -= 1;
        line.served = line.served.saturating_sub(1);
    }
}

/// A slot taken for one call.
///
/// Dropped before the call is [concluded](Taken::conclude), it hands the slot back if nothing was sent, and puts it in
/// quarantine otherwise. That is the whole of cancellation: a stub's future may be dropped at any await.
pub(crate) struct Taken {
    slots: Arc<Slots>,
    call: CallId,
    attempt: Attempt,
    evidence: Evidence,
    under_way: bool,
    concluded: bool,
}

impl Taken {
    /// The present attempt.
    pub(crate) fn attempt(&self) -> CallAttempt {
        CallAttempt { call: self.call, attempt: self.attempt }
    }

    /// The present attempt is being sent: from now on it may have arrived.
    pub(crate) fn sending(&mut self) {
        self.under_way = true;
    }

    /// The present attempt ended without an answer of use. If it may have arrived, the next one has a higher number.
    //= C-20
    pub(crate) fn ended(&mut self, fate: Fate) {
        self.under_way = false;
        self.evidence.add(fate);
        if fate == Fate::MayHaveArrived
            && let Ok(attempt) = self.slots.calls().retry(self.call)
        {
            self.attempt = attempt;
        }
    }

    /// As [`ended`](Self::ended), but the next attempt has a higher number in any case: for calls that count their
    /// attempts at this side, too.
    pub(crate) fn ended_and_counted(&mut self, fate: Fate) {
        self.under_way = false;
        self.evidence.add(fate);
        if let Ok(attempt) = self.slots.calls().retry(self.call) {
            self.attempt = attempt;
        }
    }

    /// What the caller is told if nothing more is learnt.
    pub(crate) fn outcome(&self, word: Word) -> Outcome {
        let mut evidence = self.evidence;
        if self.under_way && word == Word::Silent {
            evidence.add(Fate::MayHaveArrived);
        }
        evidence.outcome(word)
    }

    /// The call is over for its caller: the slot comes free if that is safe, or goes into quarantine.
    pub(crate) fn conclude(mut self, word: Word, reason: Option<Reason>) -> Outcome {
        let outcome = self.outcome(word);
        self.concluded = true;
        let settled = match word {
            Word::Executed => true,
            // Of another call with the same id: where the slot stands is to be asked.
            Word::Never => reason == Some(Reason::CallSettled),
            // Admitted once, and nothing more will ever be known.
            Word::Unknown => reason == Some(Reason::OutcomeUnknown),
            Word::Silent | Word::Refused => false,
        };
        let untouched = outcome == Outcome::NotExecuted
            && matches!(word, Word::Silent | Word::Refused)
            && reason != Some(Reason::CallMisordered);
        if settled {
            self.leave(Calls::finish);
        } else if untouched {
            self.leave(Calls::hand_back);
        } else {
            self.quarantine();
        }
        outcome
    }

    fn leave<E>(&self, how: impl FnOnce(&mut Calls, CallId) -> Result<(), E>) {
        let left = how(&mut self.slots.calls(), self.call);
        debug_assert!(left.is_ok(), "call {} was not in its slot", self.call);
        if left.is_ok() {
            self.slots.room.add_permits(1);
        }
        self.slots.left.notify_waiters();
    }

    //= C-38
    fn quarantine(&self) {
        if planted::is(Bug::CancelledSlotReused) {
            return self.leave(Calls::hand_back);
        }
        let taken = self.slots.calls().quarantine(self.call);
        debug_assert!(taken.is_ok(), "call {} was not in its slot", self.call);
        self.slots.events.say(Event::CallQuarantined(self.call));
        self.slots.given_up.notify_one();
        self.slots.left.notify_waiters();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.concluded {
            return;
        }
        if self.under_way || self.evidence.in_doubt() {
            self.quarantine();
        } else {
            self.leave(Calls::hand_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use rpc_core::error::Outcome::{Done, NotExecuted, Unknown};
    use tonic::Code;

    use super::*;
    use crate::OutcomeExt as _;

    fn slots(count: u32) -> Arc<Slots> {
        Arc::new(Slots::new(Calls::new(count), 2, Duration::from_secs(30), Arc::new(Announcer::new())))
    }

    async fn taken(slots: &Arc<Slots>) -> Taken {
        slots.take(None).await.unwrap_or_else(|status| panic!("{status:?}"))
    }

    #[tokio::test]
    async fn the_next_call_of_a_slot_has_the_right_sequence_after_each_end() {
        let table = [
            // word, reason, attempts lost before, outcome, the slot's next call
            (Word::Executed, None, 0, Done, Some(2)),
            (Word::Executed, None, 2, Done, Some(2)),
            (Word::Refused, Some(Reason::Draining), 0, NotExecuted, Some(1)),
            (Word::Refused, Some(Reason::Draining), 1, Unknown, None),
            (Word::Refused, Some(Reason::CallMisordered), 0, NotExecuted, None),
            (Word::Never, Some(Reason::CallSettled), 1, NotExecuted, Some(2)),
            (Word::Never, Some(Reason::CallFalseRetry), 0, NotExecuted, None),
            (Word::Unknown, Some(Reason::OutcomeUnknown), 0, Unknown, Some(2)),
            (Word::Unknown, Some(Reason::CallStale), 0, Unknown, None),
            (Word::Unknown, None, 0, Unknown, None),
            (Word::Silent, None, 0, NotExecuted, Some(1)),
            (Word::Silent, None, 1, Unknown, None),
        ];
        for (word, reason, lost, outcome, next) in table {
            let slots = slots(1);
            let mut call = taken(&slots).await;
            for _ in 0..lost {
                call.sending();
                call.ended(Fate::MayHaveArrived);
            }
            assert_eq!(call.attempt().attempt, Attempt(lost));
            assert_eq!(call.conclude(word, reason), outcome, "{word:?} {reason:?} after {lost}");
            let begun = slots.calls().begin().map(|call| call.sequence.0);
            assert_eq!(begun, next, "{word:?} {reason:?} after {lost}");
            assert_eq!(slots.quarantined().len(), usize::from(next.is_none()));
        }
    }

    //= test C-38
    #[tokio::test]
    async fn a_dropped_call_is_quarantined_exactly_if_it_may_have_arrived() {
        let slots = slots(3);
        drop(taken(&slots).await);
        assert_eq!(slots.quarantined(), []);
        let mut refused = taken(&slots).await;
        refused.sending();
        refused.ended(Fate::NotProcessed);
        drop(refused);
        assert_eq!(slots.quarantined(), []);
        let mut sent = taken(&slots).await;
        sent.sending();
        drop(sent);
        let mut doubtful = taken(&slots).await;
        doubtful.sending();
        doubtful.ended(Fate::MayHaveArrived);
        drop(doubtful);
        let quarantined: Vec<_> = slots.quarantined().iter().map(ToString::to_string).collect();
        assert_eq!(quarantined, ["0.1.0", "1.1.1"]);
        slots.given_up().await;
        slots.settled(slots.quarantined()[0].call, Sequence(1));
        assert_eq!(taken(&slots).await.attempt().to_string(), "0.2.0");
    }

    //= test C-40
    #[tokio::test(start_paused = true)]
    async fn a_full_table_refuses_in_time_and_bounds_who_waits() {
        let slots = slots(1);
        let mut given_up = taken(&slots).await;
        given_up.sending();
        drop(given_up);
        let start = Instant::now();
        let soon = start + Duration::from_secs(2);
        let (with, without, third) = tokio::join!(slots.take(Some(soon)), slots.take(None), slots.take(None));
        for refused in [with, without, third] {
            let status = refused.err().unwrap();
            assert_eq!((status.code(), status.outcome()), (Code::ResourceExhausted, Some(NotExecuted)));
            assert_eq!(status.reason(), Some(Reason::SlotsExhausted));
            assert!(status.message().contains("1 given up"), "{}", status.message());
        }
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    // A server that claims the last sequence costs the slot; it used to leave a permit behind for which there was none.
    #[tokio::test(start_paused = true)]
    async fn a_slot_without_sequences_left_is_not_given_out() {
        let slots = slots(2);
        let mut given_up = taken(&slots).await;
        given_up.sending();
        drop(given_up);
        slots.settled(slots.quarantined()[0].call, Sequence(u64::MAX));
        let last = taken(&slots).await;
        let waiting = slots.take(None);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        last.conclude(Word::Executed, None);
        assert_eq!(waiting.await.ok().unwrap().attempt().to_string(), "1.2.0");
    }

    #[tokio::test]
    async fn slots_are_given_in_the_order_of_asking() {
        let slots = slots(1);
        let first = taken(&slots).await;
        let (second, third) = (slots.take(None), slots.take(None));
        tokio::pin!(second, third);
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending());
        first.conclude(Word::Executed, None);
        assert!(futures_util::poll!(&mut third).is_pending());
        let second = second.await.ok().unwrap();
        assert_eq!(second.attempt().to_string(), "0.2.0");
        drop(second);
        assert_eq!(third.await.ok().unwrap().attempt().to_string(), "0.2.0");
    }
}
