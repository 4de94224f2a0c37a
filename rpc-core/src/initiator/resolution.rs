//! How far a slot is in which another process made calls: what to ask the acceptor, until no call of that process can run
//! in the slot any more.

use crate::id::{Sequence, SlotId};

/// Asked about first, since no call has it: the answer says where the slot is, and changes nothing.
const NEVER_USED: Sequence = Sequence(u64::MAX);

/// How far the slot is taken where the acceptor has forgotten its calls. No process makes as many calls in one slot: at
/// a hundred thousand a second they last for five years. And a slot has room for a million of such leaps.
const LEAP: u64 = 1 << 44;

/// Finds out how far a slot is.
///
/// The process that is gone has at most one request on its way in the slot, of the sequence after the last that the
/// acceptor has seen. So that sequence is settled (C-31), and whatever arrives later is too late. If the request arrives
/// first, its sequence is the last one, and the one after it is settled.
///
/// An acceptor that has forgotten calls (C-58) answers that it does not know. What it takes for the next sequence may
/// then be one that was used, so one is used up that no process has reached; of that, too, it says that it does not know.
//= C-60
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    slot: SlotId,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Where is the slot?
    Look,
    /// Use this sequence up.
    Settle(Sequence),
    /// Use this one up, which no process has reached.
    Leap(Sequence),
}

/// A question to the acceptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// About this sequence of the slot.
    pub sequence: Sequence,
    /// Whether it is used up if its call has not arrived.
    pub settle: bool,
}

/// What the acceptor says of the sequence that it was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// Its call has not arrived, and still may.
    Absent,
    /// Its call never runs.
    NotExecuted,
    /// Its call runs.
    Running,
    /// The sequence is used, by a call that has ended, or a later one is.
    Used,
    /// The acceptor does not know what became of the sequence, nor maybe of those after it.
    Forgot,
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is another question.
    Ask,
    /// A call of the process that is gone runs. There is another question, and it is of no use before that has ended.
    Wait,
    /// Nothing up to this sequence runs or ever will: the next call has the one after it. If there is none, the slot is
    /// used up.
    Resolved(Sequence),
}

impl Told {
    /// What an answer *unknown* says of `asked` where the slot's last sequence is `last`.
    pub fn unknown(asked: Sequence, last: Sequence) -> Self {
        if last <= asked { Self::Forgot } else { Self::Used }
    }
}

impl Resolution {
    /// A slot of which nothing is known.
    pub fn new(slot: SlotId) -> Self {
        Self { slot, step: Step::Look }
    }

    /// The slot.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// The question to ask now.
    pub fn question(&self) -> Question {
        match self.step {
            Step::Look => Question { sequence: NEVER_USED, settle: false },
            Step::Settle(sequence) | Step::Leap(sequence) => Question { sequence, settle: true },
        }
    }

    /// The acceptor has answered the [question](Self::question); `last` is the last sequence that the slot has reached.
    pub fn answered(&mut self, told: Told, last: Sequence) -> Progress {
        if last == NEVER_USED {
            return Progress::Resolved(last);
        }
        match (self.step, told) {
            //= C-58
            (Step::Leap(sequence), Told::Forgot) if sequence == last => Progress::Resolved(last),
            (_, Told::Forgot) => self.ask(Step::Leap(Sequence(last.0.saturating_add(LEAP)))),
            (Step::Look, Told::Absent | Told::NotExecuted | Told::Running | Told::Used) => {
                self.ask(Step::Settle(last.next()))
            }
            (Step::Settle(sequence) | Step::Leap(sequence), Told::NotExecuted) => {
                Progress::Resolved(sequence.max(last))
            }
            // It was on its way, and came before the question.
            (Step::Settle(_) | Step::Leap(_), Told::Running) => self.wait(last),
            (Step::Settle(_) | Step::Leap(_), Told::Used) => self.ask(Step::Settle(last.next())),
            // It is the next one, and the one before it runs.
            (Step::Settle(sequence) | Step::Leap(sequence), Told::Absent) if sequence == last.next() => {
                self.wait(last)
            }
            // Another acceptor answers, which has forgotten calls.
            (Step::Settle(_) | Step::Leap(_), Told::Absent) => self.ask(Step::Look),
        }
    }

    fn ask(&mut self, step: Step) -> Progress {
        self.step = step;
        Progress::Ask
    }

    fn wait(&mut self, last: Sequence) -> Progress {
        self.step = Step::Settle(last.next());
        Progress::Wait
    }
}

#[cfg(test)]
mod tests;
