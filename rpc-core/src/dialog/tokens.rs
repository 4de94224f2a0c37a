//! Who owns which token of one stream, as one side knows it.

use super::token::{Holding, Token, TokenSet};
use crate::planted::{self, Bug};
use crate::stream::error::Violation;

/// The owner and the generation of each token that is available.
///
/// A giver stops to own a token when it hands it over, its taker begins when it hears that: so there is never a second
/// owner (I15), and between the two there is none.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Tokens {
    available: TokenSet,
    mine: TokenSet,
    /// How often each was handed over, in the order of [`Token::ALL`].
    generations: [u64; Token::ALL.len()],
    /// False on a side that was restored, until the other has said who owns what.
    known: bool,
}

impl Tokens {
    /// The side of the first turn owns all of them.
    //= D-2
    pub(crate) fn new(available: TokenSet, is_first: bool) -> Self {
        let mine = if is_first { available } else { TokenSet::NONE };
        Self { available, mine, generations: [0; Token::ALL.len()], known: true }
    }

    /// Of a side that was restored: it owns nothing until the other has said so.
    pub(crate) fn unknown(available: TokenSet) -> Self {
        Self { known: false, ..Self::new(available, false) }
    }

    /// Hands `tokens` over, as far as this side owns them: each in its new generation.
    //= D-3, D-5
    pub(crate) fn give(&mut self, tokens: TokenSet) -> Vec<Holding> {
        let given = tokens.and(self.mine);
        self.mine = self.mine.without(given);
        given.iter().map(|token| self.raise(token)).collect()
    }

    /// The other side has handed a token over. One that is not newer than what this side knows has no effect.
    ///
    /// # Errors
    ///
    /// It was not the other side's to give.
    //= D-4, I15
    pub(crate) fn take(&mut self, given: &Holding) -> Result<(), Violation> {
        let Holding { token, generation, mine } = *given;
        let known = self.generation(token);
        if mine || !self.available.contains(token) || generation > known.saturating_add(1) {
            return Err(Violation::Token { token, generation, known });
        }
        if generation <= known && !planted::is(Bug::TokenGenerationIgnored) {
            return Ok(());
        }
        if self.mine.contains(token) {
            return Err(Violation::Token { token, generation, known });
        }
        self.set(token, generation, true);
        Ok(())
    }

    /// The other side says what it knows when an attempt begins: of each token the higher generation holds. What it has
    /// handed over and this side has not heard yet (`under_way`) is heard when its time comes.
    ///
    /// # Errors
    ///
    /// Both own a token, or neither does, or one was handed over that the other side did not own, or it does not name each
    /// available token once.
    //= D-4, I15
    pub(crate) fn compare(&mut self, theirs: &[Holding], under_way: TokenSet) -> Result<(), Violation> {
        self.check_named(theirs)?;
        for holding in theirs {
            let Holding { token, generation, mine } = *holding;
            let known = self.generation(token);
            let conflict = Violation::Token { token, generation, known };
            if !self.known {
                self.set(token, generation, !mine);
            } else if generation == known && mine == self.mine.contains(token) {
                return Err(conflict);
            } else if generation > known && !under_way.contains(token) {
                if mine || self.mine.contains(token) {
                    return Err(conflict);
                }
                self.set(token, generation, true);
            } else if planted::is(Bug::TwoOwners) && generation < known && !mine {
                self.mine = self.mine.with(token);
            }
        }
        self.known = true;
        Ok(())
    }

    /// A resynchronization leaves `mine` to this side and the others to the other.
    pub(crate) fn assign(&mut self, mine: TokenSet) -> Vec<Holding> {
        self.mine = mine.and(self.available);
        self.available.iter().map(|token| self.raise(token)).collect()
    }

    /// The other side says who owns what after a resynchronization.
    ///
    /// # Errors
    ///
    /// It does not name each available token once, in the generation that follows.
    pub(crate) fn assigned(&mut self, theirs: &[Holding]) -> Result<(), Violation> {
        self.check_named(theirs)?;
        for holding in theirs {
            let Holding { token, generation, mine: _ } = *holding;
            let known = self.generation(token);
            if generation != known.saturating_add(1) {
                return Err(Violation::Token { token, generation, known });
            }
        }
        for holding in theirs {
            self.set(holding.token, holding.generation, !holding.mine);
        }
        Ok(())
    }

    /// The same, of a resynchronization that this side has forgotten: what is newer holds.
    //= D-4
    pub(crate) fn learn(&mut self, theirs: &[Holding]) {
        for holding in theirs {
            if self.available.contains(holding.token) && self.is_newer(holding) {
                self.set(holding.token, holding.generation, !holding.mine);
            }
        }
    }

    /// What this side says when an attempt begins. A transfer that is not confirmed is said again by itself, and is not
    /// in it: so nobody has the token before what was sent before it.
    pub(crate) fn holdings(&self, unconfirmed: impl Iterator<Item = Holding>) -> Vec<Holding> {
        let mut holdings: Vec<Holding> = self.available.iter().map(|token| self.holding(token)).collect();
        for given in unconfirmed {
            let current = holdings.iter_mut().find(|holding| holding.token == given.token);
            if let Some(holding) = current.filter(|holding| holding.generation == given.generation) {
                *holding = Holding { generation: given.generation - 1, mine: true, ..*holding };
            }
        }
        holdings
    }

    /// Whether a transfer is later than all that this side knows.
    pub(crate) fn is_newer(&self, given: &Holding) -> bool {
        given.generation > self.generation(given.token)
    }

    /// Those that are available.
    pub(crate) fn available(&self) -> TokenSet {
        self.available
    }

    /// Those of this side.
    pub(crate) fn mine(&self) -> TokenSet {
        self.mine
    }

    /// Whether this side knows who owns what.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// How often it was handed over.
    pub(crate) fn generation(&self, token: Token) -> u64 {
        self.generations[token as usize]
    }

    fn check_named(&self, theirs: &[Holding]) -> Result<(), Violation> {
        let named: TokenSet = theirs.iter().map(|holding| holding.token).collect();
        let is_each_once = named == self.available && theirs.len() == named.iter().count();
        if is_each_once { Ok(()) } else { Err(Violation::Tokens) }
    }

    fn holding(&self, token: Token) -> Holding {
        Holding { token, generation: self.generation(token), mine: self.mine.contains(token) }
    }

    fn raise(&mut self, token: Token) -> Holding {
        let generation = &mut self.generations[token as usize];
        *generation = generation.saturating_add(1);
        self.holding(token)
    }

    fn set(&mut self, token: Token, generation: u64, mine: bool) {
        self.generations[token as usize] = generation;
        self.mine = if mine { self.mine.with(token) } else { self.mine.without(TokenSet::of(token)) };
    }
}
