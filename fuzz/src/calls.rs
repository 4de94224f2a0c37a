//! The slots of both sides, a network that loses, doubles and delays, and a list of what ran.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rpc_core::config::Terms;
use rpc_core::error::Outcome;
use rpc_core::id::{Attempt, CallAttempt, CallId, Fingerprint, Nonce, Sequence, SessionId, TicketHash};
use rpc_core::initiator::calls::Calls;
use rpc_core::negotiate::{self, Offer};
use rpc_core::policy::Cancellation;
use rpc_core::principal::Principal;
use rpc_core::record::Reply;
use rpc_core::session::{
    Admission, Admit, AdmitError, Answer, Authority, CallState, Effect, Keeping, Kept, Opening, RecordId,
    RequestId, Session, Step,
};
use rpc_core::time::Timestamp;

use super::choices::Choices;

const SLOTS: u32 = 3;
const UNDER_WAY_MAX: usize = 32;

/// Calls, retries, cancellations and queries, in any order. Nothing runs twice, no call is told another's reply, what was
/// said not to have run did not, a slot is never given to two calls, and the two sides always agree in the end.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(choices.yes());
    while !choices.are_over() {
        world.step(&mut choices);
        world.check();
    }
    world.finish();
}

/// What goes from the caller to the acceptor.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Call(CallAttempt, Fingerprint),
    /// Says what became of the call, and settles it.
    Query(CallId),
}

/// What goes back.
#[derive(Debug, Clone)]
enum Told {
    Reply(CallId, Reply),
    Refused(CallAttempt, AdmitError),
    Queried(CallId, CallState, Sequence),
}

/// A call of the caller, under way or quarantined.
#[derive(Debug, Clone, Copy)]
struct Mine {
    /// Which of all calls ever made: its fingerprint and its reply.
    number: u64,
    attempt: Attempt,
    quarantined: bool,
}

struct World {
    calls: Calls,
    mine: BTreeMap<CallId, Mine>,
    made: u64,
    session: Session,
    keeping: Keeping,
    asked: VecDeque<Asked>,
    told: VecDeque<Told>,
    /// Records that the store has not confirmed.
    records: VecDeque<RecordId>,
    /// Handlers under way, with the number of the call that each was run for.
    running: BTreeMap<CallId, u64>,
    /// What each admitted call was made for.
    admitted: BTreeMap<CallId, u64>,
    /// How often each call ran, by its number.
    ran: BTreeMap<u64, u32>,
    questions: BTreeMap<RequestId, CallId>,
    requests: u64,
}

impl World {
    fn new(stores: bool) -> Self {
        let offer = Offer { slots: Some(SLOTS), ..Offer::default() };
        let agreement = negotiate::answer(&offer, &Terms::default(), &[]).expect("an ordinary offer");
        let opening = Opening {
            principal: Principal::new("issuer", "alice"),
            nonce: Nonce([3; 16]),
            agreement: Arc::new(agreement),
            ticket: TicketHash([1; 32]),
            authority: Authority { until: Timestamp::NEVER, unix_s: None, scopes: Arc::from([]) },
        };
        let id = SessionId::new(1).expect("a number");
        let mut world = Self {
            calls: Calls::new(SLOTS),
            mine: BTreeMap::new(),
            made: 0,
            session: Session::open(Timestamp::ORIGIN, id, opening, RequestId(0)),
            keeping: if stores { Keeping::Store { idempotent: false } } else { Keeping::Memory },
            asked: VecDeque::new(),
            told: VecDeque::new(),
            records: VecDeque::new(),
            running: BTreeMap::new(),
            admitted: BTreeMap::new(),
            ran: BTreeMap::new(),
            questions: BTreeMap::new(),
            requests: 0,
        };
        world.drain();
        world.store(usize::MAX);
        world
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(10) {
            0 | 1 => self.begin(),
            2 => self.retry(choices),
            3 => self.give_up(choices),
            4 => self.query(choices),
            5 => {
                let (index, again) = (choices.below(self.asked.len().max(1)), choices.below(4) == 0);
                self.deliver(index, again);
            }
            6 => {
                let (index, again) = (choices.below(self.told.len().max(1)), choices.below(4) == 0);
                self.hear(index, again);
            }
            7 => {
                // The network loses.
                let index = choices.below(self.asked.len().max(1));
                if choices.yes() {
                    let _ = self.asked.remove(index);
                } else {
                    let _ = self.told.remove(index);
                }
            }
            8 => {
                let index = choices.below(self.running.len().max(1));
                let call = self.running.keys().nth(index).copied();
                call.into_iter().for_each(|call| self.complete(call));
            }
            _ => self.store(1 + choices.below(3)),
        }
    }

    fn begin(&mut self) {
        let Some(call) = self.calls.begin() else { return };
        self.made += 1;
        let mine = Mine { number: self.made, attempt: Attempt::default(), quarantined: false };
        assert!(self.mine.insert(call, mine).is_none(), "{call} is taken");
        let in_slot = self.mine.keys().filter(|other| other.slot == call.slot).count();
        assert_eq!(in_slot, 1, "two calls in slot {}", call.slot);
        self.ask(call);
    }

    fn ask(&mut self, call: CallId) {
        let Mine { number, attempt, .. } = self.mine[&call];
        self.send(Asked::Call(CallAttempt { call, attempt }, Fingerprint(number.into())));
    }

    fn send(&mut self, asked: Asked) {
        if self.asked.len() < UNDER_WAY_MAX {
            self.asked.push_back(asked);
        }
    }

    fn chosen(&self, choices: &mut Choices<'_>, quarantined: bool) -> Option<CallId> {
        let calls = self.mine.iter().filter(|(_, mine)| mine.quarantined == quarantined);
        let calls: Vec<CallId> = calls.map(|(call, _)| *call).collect();
        calls.get(choices.below(calls.len().max(1))).copied()
    }

    fn retry(&mut self, choices: &mut Choices<'_>) {
        let Some(call) = self.chosen(choices, false) else { return };
        self.again(call);
    }

    fn again(&mut self, call: CallId) {
        let attempt = self.calls.retry(call).expect("it is outstanding");
        let mine = self.mine.get_mut(&call).expect("it is the caller's");
        assert_eq!(attempt, mine.attempt.next());
        mine.attempt = attempt;
        self.ask(call);
    }

    fn give_up(&mut self, choices: &mut Choices<'_>) {
        let Some(call) = self.chosen(choices, false) else { return };
        self.calls.quarantine(call).expect("it is outstanding");
        self.mine.get_mut(&call).expect("it is the caller's").quarantined = true;
    }

    fn query(&mut self, choices: &mut Choices<'_>) {
        let Some(call) = self.chosen(choices, true) else { return };
        self.send(Asked::Query(call));
    }

    /// Something arrives at the acceptor; `again`: it will arrive once more.
    fn deliver(&mut self, index: usize, again: bool) {
        let Some(asked) = (if again { self.asked.get(index).copied() } else { self.asked.remove(index) })
        else {
            return;
        };
        match asked {
            Asked::Call(attempt, fingerprint) => self.admit(attempt, fingerprint),
            Asked::Query(call) => {
                self.requests += 1;
                self.questions.insert(RequestId(self.requests), call);
                self.session
                    .query(call, true, false, RequestId(self.requests))
                    .expect("a slot that there is");
            }
        }
        self.drain();
    }

    fn admit(&mut self, attempt: CallAttempt, fingerprint: Fingerprint) {
        let call = attempt.call;
        let number = u64::try_from(fingerprint.0).expect("few calls");
        let admit = Admit {
            attempt,
            fingerprint,
            streams: false,
            cancellation: Cancellation::Finish,
            keeping: self.keeping,
        };
        let would_run = self.session.would_run(&admit);
        match self.session.admit(admit) {
            Ok(Admission::Run) => {
                assert!(would_run);
                self.admitted.insert(call, number);
                self.start(call);
            }
            Ok(Admission::RunWhenRecorded) => {
                assert!(would_run);
                self.admitted.insert(call, number);
            }
            Ok(Admission::Attach) => assert_eq!(self.admitted.get(&call), Some(&number)),
            Ok(Admission::Replay(reply)) => self.tell(Told::Reply(call, reply)),
            Ok(Admission::ReplyDropped(_) | Admission::Unknown) => panic!("{call}: nothing was lost"),
            Err(error) => {
                assert!(!would_run && !matches!(error, AdmitError::FalseRetry(_)), "{error}");
                if error.outcome(attempt.attempt) == Outcome::NotExecuted {
                    assert_eq!(self.ran.get(&number), None, "{call} ran, and is said not to have: {error}");
                }
                self.tell(Told::Refused(attempt, error));
            }
        }
    }

    fn start(&mut self, call: CallId) {
        let number = self.admitted[&call];
        let times = self.ran.entry(number).or_default();
        *times += 1;
        assert_eq!(*times, 1, "{call} runs again");
        assert!(self.running.insert(call, number).is_none());
    }

    fn complete(&mut self, call: CallId) {
        let Some(number) = self.running.remove(&call) else { return };
        if self.session.complete(call, reply(number), None) {
            self.tell(Told::Reply(call, reply(number)));
        }
        self.drain();
    }

    fn tell(&mut self, told: Told) {
        if self.told.len() < UNDER_WAY_MAX {
            self.told.push_back(told);
        }
    }

    fn store(&mut self, records: usize) {
        for _ in 0..records {
            let Some(record) = self.records.pop_front() else { return };
            self.session.durable(record);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Step::Do(effect) = self.session.poll() {
            match effect {
                Effect::Persist { record, .. } => self.records.push_back(record),
                Effect::Dispatch(call) => self.start(call),
                Effect::Recorded(call) => {
                    let number = self.admitted[&call];
                    self.tell(Told::Reply(call, reply(number)));
                }
                Effect::Answer { request, answer: Answer::Queried(state, last) } => {
                    let call = self.questions[&request];
                    self.tell(Told::Queried(call, state, last));
                }
                Effect::Answer { .. } | Effect::Event(_) => {}
                other => panic!("nothing failed and nothing was stopped: {other:?}"),
            }
        }
    }

    /// Something arrives at the caller.
    fn hear(&mut self, index: usize, again: bool) {
        let Some(told) = (if again { self.told.get(index).cloned() } else { self.told.remove(index) }) else {
            return;
        };
        match told {
            Told::Reply(call, told) => {
                let Some(mine) = self.mine.get(&call).copied().filter(|mine| !mine.quarantined) else {
                    return;
                };
                assert_eq!(told, reply(mine.number), "the reply of another call");
                self.calls.finish(call).expect("it is outstanding");
                self.mine.remove(&call);
            }
            // Known not to have run, whatever arrives later: only then is the sequence free again.
            Told::Refused(attempt, error) => {
                assert!(
                    self.mine.get(&attempt.call).is_none_or(|mine| mine.attempt >= attempt.attempt),
                    "{attempt} was not made: {error}"
                );
            }
            Told::Queried(call, state, last) => self.resolve(call, &state, last),
        }
    }

    fn resolve(&mut self, call: CallId, state: &CallState, last: Sequence) {
        let Some(mine) = self.mine.get(&call).copied().filter(|mine| mine.quarantined) else { return };
        match state {
            CallState::NotExecuted => assert_eq!(self.ran.get(&mine.number), None, "{call} ran"),
            CallState::Done(Kept::Whole(told)) => assert_eq!(*told, reply(mine.number)),
            CallState::Running => return,
            other => panic!("{call}: {other:?}"),
        }
        assert!(last >= call.sequence);
        self.calls.settled(call, last).expect("it is quarantined");
        self.mine.remove(&call);
    }

    fn check(&self) {
        let quarantined = self.mine.values().filter(|mine| mine.quarantined).count();
        assert_eq!(self.calls.quarantined_count(), quarantined);
        assert_eq!(self.calls.outstanding_count(), self.mine.len() - quarantined);
        assert_eq!(self.calls.free() + self.mine.len(), SLOTS as usize);
        assert!(self.session.running() <= SLOTS);
    }

    /// No more faults: every call comes to its end.
    fn finish(&mut self) {
        for _ in 0..8 {
            self.asked.clear();
            for (call, mine) in self.mine.clone() {
                if mine.quarantined { self.send(Asked::Query(call)) } else { self.again(call) }
            }
            while !self.asked.is_empty() {
                self.deliver(0, false);
            }
            self.store(usize::MAX);
            self.running.keys().copied().collect::<Vec<_>>().into_iter().for_each(|call| self.complete(call));
            self.store(usize::MAX);
            while !self.told.is_empty() {
                self.hear(0, false);
            }
            self.check();
            if self.mine.is_empty() {
                return;
            }
        }
        panic!("never at their end: {:?}", self.mine);
    }
}

fn reply(number: u64) -> Reply {
    let message = number.to_be_bytes().to_vec().into();
    Reply { code: 0, head: Default::default(), message, trailer: Default::default() }
}
