//! Exclusive classes: which call of a class runs, and which ones wait in which order.
//!
//! A class is a queue for each principal, or each session, that makes calls of it. One call has the class; the others
//! wait in the order in which they came, within bounds. A protected call whose connection is lost keeps its place for the
//! next attempt: those behind it go before it as long as it is away, and none of them once it is back.
//!
//! | when | call |
//! | --- | --- |
//! | a call would run | [`enter`](Exclusion::enter) |
//! | it has the class and its handler begins | [`begin`](Exclusion::begin) |
//! | its handler has ended | [`leave`](Exclusion::leave) |
//! | its connection was lost before | [`step_aside`](Exclusion::step_aside) |
//! | it is settled | [`withdraw`](Exclusion::withdraw) |
//! | its session has ended | [`end`](Exclusion::end) |
//! | the server drains | [`disperse`](Exclusion::disperse) |

mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::Limits;
use crate::error::{Outcome, Reason};
use crate::id::{Attempt, CallAttempt, CallId, Sequence, SessionId, SlotId};
use crate::planted::{self, Bug};
use crate::policy::{Exclusive, ExclusiveScope};
use crate::principal::Principal;
use crate::session::refused_before_admission;
use crate::time::Timestamp;
use queue::{Queue, Waiter};

/// One class of one principal, or of one session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    class: &'static str,
    within: Within,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Within {
    Principal(Principal),
    Session(SessionId),
}

impl Key {
    /// The queue of a call's class; `None` for a call without a session whose class is each session's own.
    pub fn of(exclusive: &Exclusive, principal: &Principal, session: Option<SessionId>) -> Option<Self> {
        let within = match exclusive.scope {
            ExclusiveScope::Principal => Within::Principal(principal.clone()),
            ExclusiveScope::Session => Within::Session(session?),
        };
        Some(Self { class: exclusive.class, within })
    }
}

/// Who wants the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// An attempt of a call that has an identity: it takes over the place of the attempt before it.
    Call(SessionId, CallAttempt),
    /// A plain call, known by nothing but its place.
    Plain,
}

/// A place in a queue, numbered in the order in which they were taken, over all queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u64);

/// What one attempt has of a place, until a later one takes the place over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    key: Key,
    place: Place,
    number: u64,
}

impl Visit {
    /// The place.
    pub fn place(&self) -> Place {
        self.place
    }
}

/// What a call gets that wants the class.
#[derive(Debug, PartialEq, Eq)]
pub struct Entered {
    /// Its own of the place.
    pub visit: Visit,
    /// It has the class now. Otherwise [`Moves::granted`] says when.
    pub is_granted: bool,
}

/// What became of others.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "those who wait are to be told"]
pub struct Moves {
    /// They have the class now.
    pub granted: Vec<Place>,
    /// They wait no more: the shell asks the session what to tell them.
    pub removed: Vec<Place>,
}

/// Why a call cannot even wait. Nothing ran and nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnterError {
    /// As many wait for this class, of this principal or session, as may.
    #[error("{0} calls wait for the exclusive class, which is the bound")]
    ClassExhausted(u32),
    /// As many wait for all classes as may.
    #[error("{0} calls wait for exclusive classes, which is the bound of the server")]
    Exhausted(u32),
    /// A later attempt waits.
    #[error("attempt {attempt} was fenced by attempt {latest}")]
    Fenced {
        /// This one.
        attempt: Attempt,
        /// The one that waits.
        latest: Attempt,
    },
    /// The call waits for another class: it was made with another method.
    #[error("call {0} was made with another method")]
    FalseRetry(CallId),
}

impl EnterError {
    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::ClassExhausted(_) | Self::Exhausted(_) => Reason::ExclusiveExhausted,
            Self::Fenced { .. } => Reason::AttemptFenced,
            Self::FalseRetry(_) => Reason::CallFalseRetry,
        }
    }

    /// Whether the call ran, as far as this refusal of `attempt` tells.
    pub fn outcome(&self, attempt: Attempt) -> Outcome {
        match self {
            Self::Fenced { .. } => Outcome::Unknown,
            Self::ClassExhausted(_) | Self::Exhausted(_) | Self::FalseRetry(_) => {
                refused_before_admission(attempt)
            }
        }
    }
}

/// The exclusive classes of a server: who has them and who waits. What nobody has or waits for takes no memory.
#[derive(Debug)]
pub struct Exclusion {
    queues: BTreeMap<Key, Queue>,
    /// Calls with an identity whose handlers have not begun.
    calls: BTreeMap<(SessionId, CallId), (Key, Place)>,
    /// When those give up that wait.
    deadlines: BTreeMap<(Timestamp, Place), Key>,
    /// How many wait, over all queues.
    waiting: u32,
    /// The last number given to a place or a visit.
    last: u64,
    waiting_per_class_max: u32,
    waiting_max: u32,
}

impl Exclusion {
    /// No class is taken.
    pub fn new(limits: &Limits) -> Self {
        Self {
            queues: BTreeMap::new(),
            calls: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            waiting: 0,
            last: 0,
            waiting_per_class_max: limits.exclusive_waiting_per_class,
            waiting_max: limits.exclusive_waiting,
        }
    }

    /// A call wants the class. It gets it at once if nobody has it; otherwise it waits behind those that came before it,
    /// until `deadline`. A later attempt takes over the place of the one before it, whose visit is void then.
    ///
    /// # Errors
    ///
    /// See [`EnterError`].
    //= D-10
    //= D-41
    pub fn enter(
        &mut self,
        now: Timestamp,
        key: Key,
        caller: Caller,
        deadline: Timestamp,
    ) -> Result<Entered, EnterError> {
        self.expire(now);
        if let Caller::Call(session, attempt) = caller
            && let Some((of, place)) = self.calls.get(&(session, attempt.call))
        {
            if *of != key {
                return Err(EnterError::FalseRetry(attempt.call));
            }
            let place = *place;
            return self.take_over(key, place, caller, deadline);
        }
        let is_free = self.queues.get(&key).is_none_or(Queue::is_free);
        let is_free = is_free || planted::is(Bug::ExclusiveAdmitsTwo);
        if !is_free {
            self.check_bounds(&key)?;
        }
        let place = Place(self.number());
        let visit = Visit { number: self.number(), key, place };
        if let Caller::Call(session, attempt) = caller {
            self.calls.insert((session, attempt.call), (visit.key.clone(), place));
        }
        let waiter = Waiter { caller, deadline, visitor: Some(visit.number) };
        if is_free {
            self.queues.entry(visit.key.clone()).or_default().grant(place, waiter);
        } else {
            self.wait(&visit.key, place, waiter);
        }
        Ok(Entered { visit, is_granted: is_free })
    }

    /// The handler of a call that has the class begins. False if it does not have it any more: a later attempt took its
    /// place over, or it was removed.
    pub fn begin(&mut self, visit: &Visit) -> bool {
        let Some(queue) = self.queues.get_mut(&visit.key) else { return false };
        let Some(waiter) = queue.begin(visit.place, visit.number) else { return false };
        self.forget_call(&waiter);
        true
    }

    /// Whoever had this visit is gone for good: its handler has ended, or it wants the class no more.
    //= D-40
    pub fn leave(&mut self, visit: &Visit) -> Moves {
        let Some(queue) = self.queues.get_mut(&visit.key) else { return Moves::default() };
        if queue.end(visit.number) {
            return self.pass_on(&visit.key);
        }
        if !queue.is_visited(visit.place, visit.number) {
            return Moves::default();
        }
        let mut moves = self.remove(&visit.key, visit.place);
        moves.removed.clear();
        moves
    }

    /// The connection of a call was lost before its handler began. One with an identity keeps its place, and those behind
    /// it go before it until its next attempt comes; a plain one [`leave`](Self::leave)s.
    //= D-42
    pub fn step_aside(&mut self, now: Timestamp, visit: &Visit) -> Moves {
        self.expire(now);
        let Some(queue) = self.queues.get_mut(&visit.key) else { return Moves::default() };
        if queue.caller(visit.place) == Some(Caller::Plain) {
            return self.leave(visit);
        }
        let Some(granted) = queue.take_granted(visit.place, visit.number) else {
            queue.step_aside(visit.place, visit.number);
            return Moves::default();
        };
        let waiter = Waiter { visitor: None, ..granted };
        if waiter.deadline <= now || self.check_bounds(&visit.key).is_err() {
            self.forget_call(&waiter);
        } else {
            self.wait(&visit.key, visit.place, waiter);
        }
        self.pass_on(&visit.key)
    }

    /// The call will never run: it waits no more.
    pub fn withdraw(&mut self, session: SessionId, call: CallId) -> Moves {
        match self.calls.get(&(session, call)).cloned() {
            Some((key, place)) => self.remove(&key, place),
            None => Moves::default(),
        }
    }

    /// The session has ended: none of its calls waits. A handler that has begun is the shell's to drop, and has the class
    /// until it is gone.
    //= D-43
    pub fn end(&mut self, session: SessionId) -> Moves {
        let first = CallId { slot: SlotId(0), sequence: Sequence(0) };
        let last = CallId { slot: SlotId(u32::MAX), sequence: Sequence(u64::MAX) };
        let calls: Vec<_> = self.calls.range((session, first)..=(session, last)).map(|(of, _)| *of).collect();
        self.withdraw_all(calls)
    }

    /// No call that has not begun is to run here: none of those with an identity waits any more.
    pub fn disperse(&mut self) -> Moves {
        let calls: Vec<_> = self.calls.keys().copied().collect();
        self.withdraw_all(calls)
    }

    /// How many calls of its class run or wait before a call that waits; 0 if it does not.
    //= D-44
    pub fn behind(&mut self, now: Timestamp, session: SessionId, call: CallId) -> u32 {
        self.expire(now);
        let Some((key, place)) = self.calls.get(&(session, call)) else { return 0 };
        self.queues.get(key).map_or(0, |queue| queue.before(*place))
    }

    /// How many calls wait.
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Whether nobody has or wants anything.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.calls.is_empty() && self.deadlines.is_empty()
    }

    fn take_over(
        &mut self,
        key: Key,
        place: Place,
        caller: Caller,
        deadline: Timestamp,
    ) -> Result<Entered, EnterError> {
        let number = self.number();
        let visit = Visit { key, place, number };
        let waiter = Waiter { caller, deadline, visitor: Some(number) };
        let queue = self.queues.entry(visit.key.clone()).or_default();
        if let (Some(Caller::Call(_, before)), Caller::Call(_, attempt)) = (queue.caller(place), caller)
            && attempt.attempt < before.attempt
        {
            return Err(EnterError::Fenced { attempt: attempt.attempt, latest: before.attempt });
        }
        if queue.replace_granted(place, waiter) {
            return Ok(Entered { visit, is_granted: true });
        }
        if let Some(before) = queue.remove(place) {
            self.waiting -= 1;
            self.deadlines.remove(&(before.deadline, place));
        }
        if queue.is_free() {
            queue.grant(place, waiter);
            return Ok(Entered { visit, is_granted: true });
        }
        self.wait(&visit.key, place, waiter);
        Ok(Entered { visit, is_granted: false })
    }

    fn check_bounds(&self, key: &Key) -> Result<(), EnterError> {
        let waiting = self.queues.get(key).map_or(0, Queue::waiting);
        if waiting >= self.waiting_per_class_max {
            return Err(EnterError::ClassExhausted(self.waiting_per_class_max));
        }
        if self.waiting >= self.waiting_max {
            return Err(EnterError::Exhausted(self.waiting_max));
        }
        Ok(())
    }

    fn wait(&mut self, key: &Key, place: Place, waiter: Waiter) {
        if waiter.deadline != Timestamp::NEVER {
            self.deadlines.insert((waiter.deadline, place), key.clone());
        }
        self.waiting += 1;
        self.queues.entry(key.clone()).or_default().wait(place, waiter);
    }

    /// Removes a call that has not begun.
    fn remove(&mut self, key: &Key, place: Place) -> Moves {
        let Some(queue) = self.queues.get_mut(key) else { return Moves::default() };
        let (waiter, had_class) = match queue.remove(place) {
            Some(waiter) => {
                self.waiting -= 1;
                self.deadlines.remove(&(waiter.deadline, place));
                (waiter, false)
            }
            None => match queue.remove_granted(place) {
                Some(waiter) => (waiter, true),
                None => return Moves::default(),
            },
        };
        self.forget_call(&waiter);
        let mut moves = if had_class { self.pass_on(key) } else { Moves::default() };
        moves.removed.push(place);
        self.forget_if_unused(key);
        moves
    }

    fn withdraw_all(&mut self, mut calls: Vec<(SessionId, CallId)>) -> Moves {
        // Those that have a class last, so that none of the others is given it in between.
        calls.sort_by_key(|call| self.has_class(call));
        let mut all = Moves::default();
        for (session, call) in calls {
            let moves = self.withdraw(session, call);
            all.granted.extend(moves.granted);
            all.removed.extend(moves.removed);
        }
        all
    }

    /// The class is free: the first that waits and is there has it.
    fn pass_on(&mut self, key: &Key) -> Moves {
        let mut moves = Moves::default();
        let Some(queue) = self.queues.get_mut(key) else { return moves };
        if let Some((place, deadline)) = queue.grant_next() {
            self.waiting -= 1;
            self.deadlines.remove(&(deadline, place));
            moves.granted.push(place);
        }
        self.forget_if_unused(key);
        moves
    }

    /// Those whose time is over wait no more. They notice that themselves, if they are there.
    fn expire(&mut self, now: Timestamp) {
        while let Some(first) = self.deadlines.first_entry()
            && first.key().0 <= now
        {
            let ((_, place), key) = first.remove_entry();
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            if let Some(waiter) = queue.remove(place) {
                self.waiting -= 1;
                self.forget_call(&waiter);
            }
            self.forget_if_unused(&key);
        }
    }

    fn has_class(&self, call: &(SessionId, CallId)) -> bool {
        let found = self.calls.get(call);
        found.is_some_and(|(key, place)| self.queues.get(key).is_some_and(|queue| queue.is_granted(*place)))
    }

    fn forget_call(&mut self, waiter: &Waiter) {
        if let Caller::Call(session, attempt) = waiter.caller {
            self.calls.remove(&(session, attempt.call));
        }
    }

    fn forget_if_unused(&mut self, key: &Key) {
        if self.queues.get(key).is_some_and(Queue::is_unused) {
            self.queues.remove(key);
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
