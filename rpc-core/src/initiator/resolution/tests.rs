//! The questions, each answer to them, and the acceptor itself as the one that answers.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::Terms;
use crate::id::{Attempt, CallAttempt, CallId, Epoch, Fingerprint, Nonce, SessionId, TicketHash};
use crate::negotiate::{self, Offer};
use crate::policy::Cancellation;
use crate::principal::Principal;
use crate::record::{Change, Reply, SessionRecord, SlotRecord};
use crate::session::{
    Admission, Admit, AdmitError, Answer, Authority, CallState, Effect, Keeping, Opening, RequestId,
    Restored, Session, Step as Polled,
};
use crate::time::Timestamp;

const SLOT: SlotId = SlotId(3);

fn settle(sequence: u64) -> Question {
    Question { sequence: Sequence(sequence), settle: true }
}

/// Answers the questions in turn; the last answer's progress, and the question after it.
fn answered(answers: &[(Told, u64)]) -> (Progress, Question) {
    let mut resolution = Resolution::new(SLOT);
    let mut progress = Progress::Ask;
    for (told, last) in answers {
        progress = resolution.answered(*told, Sequence(*last));
    }
    (progress, resolution.question())
}

#[test]
fn the_first_question_changes_nothing_and_the_second_uses_the_next_sequence_up() {
    assert_eq!(Resolution::new(SLOT).question(), Question { sequence: Sequence(u64::MAX), settle: false });
    assert_eq!(answered(&[(Told::Absent, 7)]), (Progress::Ask, settle(8)));
    assert_eq!(answered(&[(Told::Absent, 7), (Told::NotExecuted, 8)]).0, Progress::Resolved(Sequence(8)));
}

//= test C-19
#[test]
fn what_came_or_runs_is_asked_about_again() {
    assert_eq!(answered(&[(Told::Absent, 7), (Told::Used, 8)]), (Progress::Ask, settle(9)));
    assert_eq!(answered(&[(Told::Absent, 7), (Told::Running, 8)]), (Progress::Wait, settle(9)));
    assert_eq!(answered(&[(Told::Absent, 7), (Told::Absent, 7)]), (Progress::Wait, settle(8)));
    let settled = [(Told::Absent, 7), (Told::Absent, 7), (Told::NotExecuted, 8)];
    assert_eq!(answered(&settled).0, Progress::Resolved(Sequence(8)));
}

//= test C-58
#[test]
fn an_acceptor_that_forgot_is_asked_beyond_all_that_was_used() {
    assert_eq!(Told::unknown(Sequence(9), Sequence(7)), Told::Forgot);
    assert_eq!(Told::unknown(Sequence(9), Sequence(9)), Told::Forgot);
    assert_eq!(Told::unknown(Sequence(9), Sequence(10)), Told::Used);
    assert_eq!(answered(&[(Told::Forgot, 7)]), (Progress::Ask, settle(7 + LEAP)));
    let leapt = [(Told::Forgot, 7), (Told::Forgot, 7 + LEAP)];
    assert_eq!(answered(&leapt).0, Progress::Resolved(Sequence(7 + LEAP)));
    assert_eq!(answered(&[(Told::Forgot, 7), (Told::Used, 9 + LEAP)]), (Progress::Ask, settle(10 + LEAP)));
    // It knew when it was looked at, and another one has forgotten since.
    assert_eq!(answered(&[(Told::Absent, 7), (Told::Forgot, 8)]), (Progress::Ask, settle(8 + LEAP)));
    // It forgot between two questions.
    let look = Resolution::new(SLOT).question();
    assert_eq!(answered(&[(Told::Absent, 7), (Told::Absent, 3)]), (Progress::Ask, look));
}

#[test]
fn a_slot_without_sequences_left_is_used_up() {
    for told in [Told::Used, Told::Running, Told::Absent] {
        assert_eq!(answered(&[(told, u64::MAX)]).0, Progress::Resolved(Sequence(u64::MAX)));
    }
    assert_eq!(answered(&[(Told::Forgot, u64::MAX - 1)]), (Progress::Ask, settle(u64::MAX)));
}

/// A server with one session, and the store behind it, which keeps everything at once.
struct Acceptor {
    session: Session,
    record: Arc<SessionRecord>,
    slot: Option<SlotRecord>,
    requests: u64,
    told: Vec<(CallState, Sequence)>,
}

const NOW: Timestamp = Timestamp::ORIGIN;
const TICKET: TicketHash = TicketHash([1; 32]);

impl Acceptor {
    fn new() -> Self {
        let offer = Offer { slots: Some(4), ..Offer::default() };
        let opening = Opening {
            principal: Principal::new("issuer", "alice"),
            nonce: Nonce([3; 16]),
            agreement: Arc::new(negotiate::answer(&offer, &Terms::default(), &[]).unwrap()),
            ticket: TICKET,
            authority: Authority { until: Timestamp::NEVER, unix_s: None, scopes: Arc::from([]) },
        };
        let mut session = Session::open(NOW, SessionId::new(1).unwrap(), opening, RequestId(0));
        let Polled::Do(Effect::Persist { record: id, change: Change::Create(record), .. }) = session.poll()
        else {
            panic!("the opening is to be kept");
        };
        session.durable(id);
        let mut acceptor = Self { session, record, slot: None, requests: 0, told: Vec::new() };
        acceptor.drain();
        acceptor
    }

    fn drain(&mut self) {
        while let Polled::Do(effect) = self.session.poll() {
            match effect {
                Effect::Persist { record, change, .. } => {
                    if let Change::Slot(slot) = change {
                        self.slot = Some(*slot);
                    }
                    self.session.durable(record);
                }
                Effect::Answer { answer: Answer::Queried(state, last), .. } => self.told.push((state, last)),
                _ => {}
            }
        }
    }

    /// Another server finds what the store has.
    fn crash(&mut self) {
        let restored = Restored {
            id: SessionId::new(1).unwrap(),
            epoch: Epoch(1),
            record: Arc::clone(&self.record),
            slots: self.slot.iter().cloned().collect(),
            authority_until: Timestamp::NEVER,
        };
        self.session = Session::restore(NOW, restored, true);
        self.session.present(NOW, &TICKET, None).unwrap();
        self.drain();
    }

    fn arrive(&mut self, request: Request) -> Result<Admission, AdmitError> {
        let Request { sequence, attempt, keeping, fingerprint } = request;
        let attempt = CallAttempt { call: call(sequence), attempt: Attempt(attempt) };
        let fingerprint = Fingerprint(fingerprint);
        let cancellation = Cancellation::Finish;
        let admitted =
            self.session.admit(Admit { attempt, fingerprint, streams: false, cancellation, keeping });
        self.drain();
        admitted
    }

    fn complete(&mut self) {
        let last = call(self.session.last_sequence(SLOT).0);
        if self.session.is_running(last) {
            let nothing = bytes::Bytes::new;
            let reply = Reply { code: 0, head: nothing(), message: nothing(), trailer: nothing() };
            self.session.complete(last, reply, None);
            self.drain();
        }
    }

    fn ask(&mut self, question: Question) -> (Told, Sequence) {
        self.requests += 1;
        let asked = CallId { slot: SLOT, sequence: question.sequence };
        self.session.query(asked, question.settle, false, RequestId(self.requests)).unwrap();
        self.drain();
        let (state, last) = self.told.pop().unwrap();
        let told = match state {
            CallState::Absent => Told::Absent,
            CallState::NotExecuted => Told::NotExecuted,
            CallState::Running => Told::Running,
            CallState::Done(_) | CallState::Forgotten => Told::Used,
            CallState::Unknown => Told::unknown(question.sequence, last),
        };
        (told, last)
    }
}

fn call(sequence: u64) -> CallId {
    CallId { slot: SLOT, sequence: Sequence(sequence) }
}

/// A request of the process that is gone, or of the one after it.
#[derive(Debug, Clone, Copy)]
struct Request {
    sequence: u64,
    attempt: u32,
    keeping: Keeping,
    fingerprint: u128,
}

fn keeping() -> impl Strategy<Value = Keeping> {
    prop_oneof![Just(Keeping::Memory), Just(Keeping::Store { idempotent: true })]
}

/// What happens between two questions.
#[derive(Debug, Clone, Copy)]
enum Chance {
    Nothing,
    Arrives,
    Completes,
    Crashes,
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        3 => Just(Chance::Nothing),
        2 => Just(Chance::Arrives),
        2 => Just(Chance::Completes),
        1 => Just(Chance::Crashes),
    ]
}

proptest! {
    /// However many calls the process had made, whatever arrives and dies while the slot is resolved: its last request
    /// does not run afterwards, and the first call of the next process does.
    //= test I3
    //= test C-58
    //= test C-60
    #[test]
    fn a_resolved_slot_is_the_next_processs_alone(
        before in prop::collection::vec(keeping(), 0..6),
        late in (keeping(), 0..2_u32),
        is_answered in any::<bool>(),
        crash_first in any::<bool>(),
        chances in prop::collection::vec(chance(), 0..40),
    ) {
        let mut acceptor = Acceptor::new();
        let made = before.len() as u64;
        for (sequence, keeping) in (1..).zip(before) {
            let request = Request { sequence, attempt: 0, keeping, fingerprint: 1 };
            prop_assert!(acceptor.arrive(request).is_ok());
            if sequence < made || is_answered {
                acceptor.complete();
            }
        }
        // The next call, or a further attempt of the last one that nobody answered.
        let (keeping, attempt) = late;
        let next = made + u64::from(is_answered || made == 0);
        let late = Request { sequence: next, attempt, keeping, fingerprint: 1 };
        if crash_first {
            acceptor.crash();
        }
        let mut resolution = Resolution::new(SLOT);
        let mut chances = chances.into_iter();
        let last = loop {
            match chances.next() {
                Some(Chance::Arrives) => drop(acceptor.arrive(late)),
                Some(Chance::Completes) => acceptor.complete(),
                Some(Chance::Crashes) => acceptor.crash(),
                Some(Chance::Nothing) => {}
                // What runs comes to its end at last.
                None => acceptor.complete(),
            }
            let (told, last) = acceptor.ask(resolution.question());
            if let Progress::Resolved(last) = resolution.answered(told, last) {
                break last;
            }
        };
        prop_assert!(last.0 > made, "{last} was used before");
        let again = acceptor.arrive(late);
        prop_assert!(!matches!(again, Ok(Admission::Run | Admission::RunWhenRecorded)), "{again:?}");
        let first = Request { sequence: last.next().0, attempt: 0, keeping, fingerprint: 2 };
        let admitted = acceptor.arrive(first);
        prop_assert!(matches!(admitted, Ok(Admission::Run | Admission::RunWhenRecorded)), "{admitted:?}");
        let again = acceptor.arrive(late);
        prop_assert!(!matches!(again, Ok(Admission::Run | Admission::RunWhenRecorded)), "{again:?}");
    }
}
