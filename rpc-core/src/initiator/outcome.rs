//! What a caller may be told about its call, from what is known of the attempts.

use crate::error::{Outcome, Reason};

/// What is known of an attempt that nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It never left this program.
    NeverSent,
    /// It was sent, and the peer has said that it did not process it: REFUSED_STREAM, or a GOAWAY below it.
    NotProcessed,
    /// It was sent, and nobody knows.
    MayHaveArrived,
}

/// What the acceptor said in answer to the last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// Nothing.
    Silent,
    /// The call ran: the answer is its recorded outcome.
    Executed,
    /// This attempt was refused. That says nothing of another attempt, which may have been admitted before or may
    /// arrive yet.
    Refused,
    /// The call did not run and never will, in whatever attempt.
    Never,
    /// It does not know either, or said something that is no proof.
    Unknown,
}

impl Word {
    /// What an answer with these details says.
    ///
    /// An answer without an outcome may come from a proxy, which knows nothing: it is no proof of anything.
    pub fn of(reason: Option<Reason>, told: Option<Outcome>) -> Self {
        match (told, reason) {
            (Some(Outcome::Done), _) => Self::Executed,
            (Some(Outcome::NotExecuted), Some(Reason::CallSettled | Reason::CallFalseRetry)) => Self::Never,
            (Some(Outcome::NotExecuted), _) => Self::Refused,
            (Some(Outcome::Unknown) | None, _) => Self::Unknown,
        }
    }
}

/// Everything known of the attempts of one call so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Evidence {
    in_doubt: bool,
}

impl Evidence {
    /// A call of which no attempt was made.
    pub const fn new() -> Self {
        Self { in_doubt: false }
    }

    /// An attempt ended without an answer.
    pub fn add(&mut self, fate: Fate) {
        match fate {
            Fate::NeverSent | Fate::NotProcessed => {}
            Fate::MayHaveArrived => self.in_doubt = true,
        }
    }

    /// Whether an attempt may have arrived that nobody answered.
    pub const fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// What the caller is told, given the acceptor's last word. *Not executed* needs proof for every attempt.
    //= C-27
    //= C-28
    //= C-29
    //= I3
    pub const fn outcome(&self, word: Word) -> Outcome {
        match (word, self.in_doubt) {
            (Word::Executed, _) => Outcome::Done,
            (Word::Never, _) | (Word::Refused | Word::Silent, false) => Outcome::NotExecuted,
            (Word::Unknown, _) | (Word::Refused | Word::Silent, true) => Outcome::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test C-27
    //= test C-28
    //= test I3
    #[test]
    fn the_whole_table() {
        use Outcome::{Done, NotExecuted, Unknown};
        let table = [
            (Word::Silent, NotExecuted, Unknown),
            (Word::Executed, Done, Done),
            (Word::Refused, NotExecuted, Unknown),
            (Word::Never, NotExecuted, NotExecuted),
            (Word::Unknown, Unknown, Unknown),
        ];
        for (word, with_proof, in_doubt) in table {
            for fates in [&[][..], &[Fate::NeverSent], &[Fate::NotProcessed, Fate::NeverSent]] {
                assert_eq!(evidence(fates).outcome(word), with_proof, "{word:?} after {fates:?}");
            }
            for fates in [
                &[Fate::MayHaveArrived][..],
                &[Fate::NeverSent, Fate::MayHaveArrived],
                &[Fate::MayHaveArrived, Fate::NotProcessed],
            ] {
                assert_eq!(evidence(fates).outcome(word), in_doubt, "{word:?} after {fates:?}");
            }
        }
    }

    fn evidence(fates: &[Fate]) -> Evidence {
        let mut evidence = Evidence::new();
        fates.iter().for_each(|fate| evidence.add(*fate));
        evidence
    }

    #[test]
    fn only_a_settled_or_foreign_call_is_not_executed_for_every_attempt() {
        for &reason in Reason::ALL {
            let expected = match reason {
                Reason::CallSettled | Reason::CallFalseRetry => Word::Never,
                _ => Word::Refused,
            };
            assert_eq!(Word::of(Some(reason), Some(Outcome::NotExecuted)), expected, "{reason}");
            assert_eq!(Word::of(Some(reason), Some(Outcome::Done)), Word::Executed);
            assert_eq!(Word::of(Some(reason), None), Word::Unknown);
        }
        assert_eq!(Word::of(None, None), Word::Unknown);
        assert_eq!(Word::of(None, Some(Outcome::NotExecuted)), Word::Refused);
    }
}
