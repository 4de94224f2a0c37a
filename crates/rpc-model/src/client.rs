//! A client process: the core's table of slots, and what the client's shell does with it.

use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{Attempt, CallAttempt, CallId, Sequence, SlotId};
use rpc_core::initiator::calls::Calls;
use rpc_core::initiator::outcome::{Evidence, Fate, Word};
use rpc_core::initiator::resolution::{Progress, Resolution, Told as Heard};
use rpc_core::session::CallState;

use crate::message::{Question, Request, Said};
use crate::scenario::{Fault, Scenario};

/// Questions that one process asks at most, and attempts of one call. A run that needs more is one that does not end.
pub(crate) const TRIES_MAX: u8 = 12;

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// It ran, and this was the reply.
    Done(u8),
    /// It did not and never will.
    NotExecuted,
    /// Nobody knows.
    Unknown,
}

/// A call that has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Taken {
    id: CallId,
    attempt: Attempt,
    evidence: Evidence,
    /// To which server its attempt is on its way.
    under_way: Option<usize>,
}

/// One planned call, as its caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call {
    /// Which planned call.
    pub planned: usize,
    taken: Option<Taken>,
    sent: u8,
    /// What its caller was told.
    pub told: Option<Told>,
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Quarantined(CallId),
    /// A call before one in quarantine that the server does not know.
    Gap,
    Slot(Resolution),
}

/// One client process.
#[derive(Debug, Clone, Hash)]
pub struct Process {
    slots: Calls,
    calls: Vec<Call>,
    resolving: Option<Resolution>,
    /// The question that is under way, and to which server.
    asked: Option<(About, Question, usize)>,
    questions: u8,
    gap: Option<CallId>,
    /// What was asked about runs.
    held: bool,
}

impl Process {
    /// A process with its planned calls; `first`: it opened the session.
    pub(crate) fn new(scenario: &Scenario, number: usize) -> Self {
        let of = |(planned, call): (usize, &crate::scenario::Planned)| {
            (call.process == number).then_some(Call { planned, taken: None, sent: 0, told: None })
        };
        let calls = scenario.calls.iter().enumerate().filter_map(of).collect();
        let slots = if number == 0 || scenario.is(Fault::SlotsNotResolved) {
            Calls::new(scenario.slots)
        } else {
            Calls::resumed(scenario.slots)
        };
        Self { slots, calls, resolving: None, asked: None, questions: 0, gap: None, held: false }
    }

    /// Its calls.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The calls that may be sent now: those that wait for another attempt, and the next one if there is a slot for it.
    pub(crate) fn sendable(&self) -> Vec<usize> {
        let untold = || (0..).zip(&self.calls).filter(|(_, call)| call.told.is_none());
        let again = untold().filter(|(_, call)| {
            call.taken.is_some_and(|taken| taken.under_way.is_none()) && call.sent < TRIES_MAX
        });
        let next = untold().find(|(_, call)| call.taken.is_none() && self.slots.free() > 0);
        again.chain(next).map(|(index, _)| index).collect()
    }

    /// Whether a call has a slot.
    pub(crate) fn has_slot(&self, index: usize) -> bool {
        self.calls[index].taken.is_some()
    }

    /// How often a call was sent.
    pub(crate) fn sent(&self, index: usize) -> u8 {
        self.calls[index].sent
    }

    /// How many questions were asked.
    pub(crate) fn questions(&self) -> u8 {
        self.questions
    }

    /// Sends the next attempt of a call.
    pub(crate) fn send(&mut self, scenario: &Scenario, index: usize, to: usize) -> Option<Request> {
        let call = &mut self.calls[index];
        let mut taken = match call.taken {
            Some(taken) => taken,
            None => {
                let id = self.slots.begin()?;
                Taken { id, attempt: Attempt(0), evidence: Evidence::new(), under_way: None }
            }
        };
        taken.under_way = Some(to);
        call.taken = Some(taken);
        call.sent += 1;
        Self::request_of(scenario, call)
    }

    /// The attempt of a call that is under way.
    pub(crate) fn under_way(&self, scenario: &Scenario, index: usize) -> Option<(Request, usize)> {
        let call = &self.calls[index];
        let to = call.taken?.under_way?;
        Some((Self::request_of(scenario, call)?, to))
    }

    fn request_of(scenario: &Scenario, call: &Call) -> Option<Request> {
        let taken = call.taken?;
        let attempt = if scenario.is(Fault::AttemptsNotCounted) { Attempt(0) } else { taken.attempt };
        Some(Request { call: call.planned, attempt: CallAttempt { call: taken.id, attempt } })
    }

    /// The attempt under way will not be answered.
    pub(crate) fn broken(&mut self, scenario: &Scenario, index: usize) {
        let lossless = scenario.is(Fault::LossIsProof);
        self.ended(index, if lossless { Fate::NotProcessed } else { Fate::MayHaveArrived });
    }

    fn ended(&mut self, index: usize, fate: Fate) {
        let Some(taken) = &mut self.calls[index].taken else { return };
        taken.under_way = None;
        taken.evidence.add(fate);
        if fate == Fate::MayHaveArrived
            && let Ok(attempt) = self.slots.retry(taken.id)
        {
            taken.attempt = attempt;
        }
    }

    /// The caller gives its call up.
    pub(crate) fn cancel(&mut self, scenario: &Scenario, index: usize) {
        if scenario.is(Fault::CancelledIdReused)
            && let Some(taken) = self.calls[index].taken
            && self.slots.hand_back(taken.id).is_ok()
        {
            self.calls[index] = Call { taken: None, told: Some(Told::Unknown), ..self.calls[index] };
            return;
        }
        self.conclude(index, Word::Silent, None, 0);
    }

    /// An answer to the attempt that is under way.
    pub(crate) fn answered(&mut self, index: usize, said: Said) {
        match said {
            Said::Reply(run) => self.conclude(index, Word::Executed, None, run),
            Said::Unknown => {
                self.conclude(index, Word::Unknown, Some(Reason::OutcomeUnknown), 0);
            }
            Said::Elsewhere => self.ended(index, Fate::NotProcessed),
            // UNAVAILABLE: to be tried again.
            Said::Refused(
                Reason::StoreUnavailable | Reason::TransportLost | Reason::SessionEnded,
                outcome,
            ) => {
                let fate = match outcome {
                    Outcome::NotExecuted => Fate::NotProcessed,
                    Outcome::Done | Outcome::Unknown => Fate::MayHaveArrived,
                };
                self.ended(index, fate);
            }
            Said::Refused(reason, outcome) => {
                self.conclude(index, Word::of(Some(reason), Some(outcome)), Some(reason), 0);
            }
        }
    }

    /// The call is over for its caller, as in the client's shell.
    fn conclude(&mut self, index: usize, word: Word, reason: Option<Reason>, run: u8) {
        let Some(taken) = self.calls[index].taken.take() else {
            self.calls[index].told = Some(Told::NotExecuted);
            return;
        };
        let mut evidence = taken.evidence;
        if taken.under_way.is_some() && word == Word::Silent {
            evidence.add(Fate::MayHaveArrived);
        }
        let outcome = evidence.outcome(word);
        let settled = match word {
            Word::Executed => true,
            Word::Never => reason == Some(Reason::CallSettled),
            Word::Unknown => reason == Some(Reason::OutcomeUnknown),
            Word::Silent | Word::Refused => false,
        };
        let untouched = outcome == Outcome::NotExecuted
            && matches!(word, Word::Silent | Word::Refused)
            && reason != Some(Reason::CallMisordered);
        let left = if settled {
            self.slots.finish(taken.id)
        } else if untouched {
            self.slots.hand_back(taken.id)
        } else {
            self.slots.quarantine(taken.id)
        };
        debug_assert!(left.is_ok(), "call {} was not in its slot", taken.id);
        self.calls[index].told = Some(match outcome {
            Outcome::Done => Told::Done(run),
            Outcome::NotExecuted => Told::NotExecuted,
            Outcome::Unknown => Told::Unknown,
        });
    }

    /// Whether there is something to ask, and nothing is being asked. `quiet`: no server works any more, so that what ran
    /// has ended.
    pub(crate) fn may_ask(&self, quiet: bool) -> bool {
        let wants = self.slots.quarantined_count() > 0
            || self.resolving.is_some()
            || self.slots.unresolved_count() > 0 && self.calls.iter().any(|call| call.told.is_none());
        self.asked.is_none() && self.questions < TRIES_MAX && wants && (quiet || !self.held)
    }

    /// Asks the next question.
    pub(crate) fn ask(&mut self, number: usize, to: usize) -> Option<Question> {
        let quarantined = self.slots.quarantine_list().next().map(|attempt| attempt.call);
        let (about, id, settle, cancel) = match (self.gap.take(), quarantined) {
            (Some(id), _) => (About::Gap, id, true, true),
            (None, Some(id)) => (About::Quarantined(id), id, true, true),
            (None, None) => {
                let resolution = match self.resolving {
                    Some(resolution) => resolution,
                    None => Resolution::new(self.slots.resolve()?),
                };
                self.resolving = Some(resolution);
                let question = resolution.question();
                let id = CallId { slot: resolution.slot(), sequence: question.sequence };
                (About::Slot(resolution), id, question.settle, false)
            }
        };
        self.questions += 1;
        self.held = false;
        let question = Question { process: number, number: self.questions, id, settle, cancel };
        self.asked = Some((about, question, to));
        Some(question)
    }

    /// The question under way, and to which server.
    pub(crate) fn asked(&self) -> Option<(Question, usize)> {
        self.asked.map(|(_, question, to)| (question, to))
    }

    /// The question under way will not be answered.
    pub(crate) fn question_lost(&mut self) {
        self.asked = None;
    }

    /// The question under way is answered.
    pub(crate) fn told(&mut self, answer: Option<(CallState, Sequence)>) {
        let Some((about, question, _)) = self.asked.take() else { return };
        let Some((state, last)) = answer else { return };
        match about {
            About::Quarantined(id) => match state {
                CallState::NotExecuted | CallState::Done(_) | CallState::Unknown | CallState::Forgotten => {
                    let settled = self.slots.settled(id, last);
                    debug_assert!(settled.is_ok(), "call {id} was not in quarantine");
                }
                CallState::Absent if last.next() < id.sequence => {
                    self.gap = Some(CallId { sequence: last.next(), ..id });
                }
                CallState::Running | CallState::Absent => self.held = true,
            },
            About::Gap => {}
            About::Slot(mut resolution) => {
                let heard = match state {
                    CallState::Absent => Heard::Absent,
                    CallState::NotExecuted => Heard::NotExecuted,
                    CallState::Running => Heard::Running,
                    CallState::Done(_) | CallState::Forgotten => Heard::Used,
                    CallState::Unknown => Heard::unknown(question.id.sequence, last),
                };
                self.resolving = Some(resolution);
                match resolution.answered(heard, last) {
                    Progress::Ask => self.resolving = Some(resolution),
                    Progress::Wait => {
                        self.resolving = Some(resolution);
                        self.held = true;
                    }
                    Progress::Resolved(last) => self.resolved(resolution.slot(), last),
                }
            }
        }
    }

    fn resolved(&mut self, slot: SlotId, last: Sequence) {
        self.resolving = None;
        let resolved = self.slots.resolved(slot, last);
        debug_assert!(resolved.is_ok(), "slot {slot} was not being resolved");
    }

    /// The session is over: everybody who waits is told what is known.
    pub(crate) fn over(&mut self) {
        for index in 0..self.calls.len() {
            if self.calls[index].told.is_none() {
                self.conclude(index, Word::Silent, None, 0);
            }
        }
    }

    /// Whether all its callers know, and all its slots can be used again.
    pub(crate) fn is_done(&self) -> bool {
        self.calls.iter().all(|call| call.told.is_some())
    }

    /// Whether a slot is held by a call that was given up.
    pub(crate) fn has_quarantined(&self) -> bool {
        self.slots.quarantined_count() > 0
    }
}
