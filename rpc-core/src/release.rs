//! The release token of a session, the same on both sides (X.215 clause 8).
//!
//! Where *negotiated release* is on, the token is available: its owner alone may release the session, and the other side
//! may ask for it. It belongs to no stream; the sides tell each other who owns it on every `Attach`.

use crate::dialog::{Holding, Token, TokenSet, Tokens};
use crate::error::Reason;
use crate::stream::error::Violation;

/// Why the release token does not do what it was to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseTokenError {
    /// The session was opened without *negotiated release*, and has no such token.
    #[error("the session was opened without the unit negotiated release")]
    UnitOff,
    /// The other side owns it.
    #[error("the other side owns the release token")]
    Missing,
    /// It was asked for, and did not come in time.
    #[error("the release token did not come in time")]
    Unanswered,
    /// So many wait already that no more may.
    #[error("too many wait for the release")]
    Busy,
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
}

impl ReleaseTokenError {
    /// The stable reason.
    pub fn reason(self) -> Reason {
        match self {
            Self::UnitOff => Reason::UnitUnsupported,
            Self::Missing => Reason::DialogTokenMissing,
            Self::Unanswered => Reason::DialogUnanswered,
            Self::Busy => Reason::CallsExhausted,
            Self::Ended => Reason::SessionEnded,
        }
    }
}

/// Who owns the release token, and who asks for it, as one side knows it.
#[derive(Debug, Clone, Hash)]
pub struct ReleaseToken {
    tokens: Tokens,
    is_first: bool,
    /// This side asks for it, with this priority.
    wanted: Option<u32>,
    /// The other side does.
    asked: Option<u32>,
}

impl ReleaseToken {
    /// The token of a session that begins. Its first owner is the side of the first turn.
    //= D-21
    pub fn new(is_available: bool, is_first: bool) -> Self {
        Self { tokens: Tokens::new(set(is_available), is_first), is_first, wanted: None, asked: None }
    }

    /// The same on a side that went on with the session of another process: who owns it the other side has to say.
    pub fn unknown(is_available: bool, is_first: bool) -> Self {
        Self { tokens: Tokens::unknown(set(is_available)), is_first, wanted: None, asked: None }
    }

    /// Hands the token over.
    ///
    /// # Errors
    ///
    /// There is none, or it is the other side's. Nothing changed.
    pub fn give(&mut self) -> Result<(), ReleaseTokenError> {
        if !self.is_available() {
            return Err(ReleaseTokenError::UnitOff);
        }
        if !self.is_mine() {
            return Err(ReleaseTokenError::Missing);
        }
        self.tokens.give(TokenSet::of(Token::Release));
        self.asked = None;
        Ok(())
    }

    /// This side would like to have the token; `None`: no longer.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn want(&mut self, priority: Option<u32>) -> Result<(), ReleaseTokenError> {
        if !self.is_available() {
            return Err(ReleaseTokenError::UnitOff);
        }
        self.wanted = priority.filter(|_| !self.is_mine());
        Ok(())
    }

    /// The other side says who owns it, as it knows: the higher generation holds.
    ///
    /// # Errors
    ///
    /// Both own it, or neither does, or there is none. Nothing changed.
    //= D-4
    //= I15
    pub fn heard(&mut self, holdings: &[Holding]) -> Result<(), Violation> {
        if holdings.is_empty() && !self.tokens.is_known() {
            // Neither knows: it is where it was in the beginning.
            self.tokens = Tokens::new(self.tokens.available(), self.is_first);
        } else {
            self.tokens.compare(holdings, TokenSet::NONE)?;
        }
        if self.is_mine() {
            self.wanted = None;
        } else {
            self.asked = None;
        }
        Ok(())
    }

    /// The other side would like to have it, or no longer.
    pub fn heard_asked(&mut self, priority: Option<u32>) {
        self.asked = priority.filter(|_| self.is_mine());
    }

    /// What the other side is to be told of the owner: nothing on a side that does not know, or where there is no token.
    pub fn holdings(&self) -> Vec<Holding> {
        if self.tokens.is_known() { self.tokens.holdings(std::iter::empty()) } else { Vec::new() }
    }

    /// Whether there is one.
    pub fn is_available(&self) -> bool {
        !self.tokens.available().is_empty()
    }

    /// Whether this side owns it.
    pub fn is_mine(&self) -> bool {
        self.tokens.mine().contains(Token::Release)
    }

    /// Whether this side may release the session: it owns the token, or there is none (X.215 table 8).
    //= D-21
    pub fn may_release(&self) -> bool {
        !self.is_available() || self.is_mine()
    }

    /// Whether the other side may, as far as this one knows.
    //= D-21
    pub fn other_may_release(&self) -> bool {
        !self.is_mine()
    }

    /// With which priority this side asks for it.
    pub fn wanted(&self) -> Option<u32> {
        self.wanted
    }

    /// With which priority the other side does.
    pub fn asked(&self) -> Option<u32> {
        self.asked
    }
}

fn set(is_available: bool) -> TokenSet {
    if is_available { TokenSet::of(Token::Release) } else { TokenSet::NONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (ReleaseToken, ReleaseToken) {
        (ReleaseToken::new(true, true), ReleaseToken::new(true, false))
    }

    fn owners(sides: [&ReleaseToken; 2]) -> [bool; 2] {
        sides.map(ReleaseToken::is_mine)
    }

    //= test D-4
    //= test I15
    #[test]
    fn what_was_handed_over_before_a_cut_is_learnt_after_it() {
        let (mut ours, mut theirs) = pair();
        let before = ours.holdings();
        ours.give().unwrap();
        assert_eq!(owners([&ours, &theirs]), [false, false], "it is under way");
        // The message is lost; each says what it knows on the next connection. A late one changes nothing.
        ours.heard(&theirs.holdings()).unwrap();
        theirs.heard(&ours.holdings()).unwrap();
        theirs.heard(&before).unwrap();
        assert_eq!(owners([&ours, &theirs]), [false, true]);
        assert_eq!(ours.give(), Err(ReleaseTokenError::Missing));
        theirs.give().unwrap();
        ours.heard(&theirs.holdings()).unwrap();
        assert_eq!(owners([&ours, &theirs]), [true, false]);
    }

    //= test D-4
    #[test]
    fn a_side_that_was_restored_asks_the_other() {
        let (mut ours, mut theirs) = pair();
        ours.give().unwrap();
        theirs.heard(&ours.holdings()).unwrap();
        let mut restored = ReleaseToken::unknown(true, true);
        assert_eq!(restored.holdings(), []);
        restored.heard(&theirs.holdings()).unwrap();
        assert_eq!(owners([&restored, &theirs]), [false, true]);
        // A transfer that nobody heard of is no transfer.
        let (mut ours, mut theirs) = pair();
        ours.give().unwrap();
        let mut restored = ReleaseToken::unknown(true, true);
        restored.heard(&theirs.holdings()).unwrap();
        theirs.heard(&restored.holdings()).unwrap();
        assert_eq!(owners([&restored, &theirs]), [true, false]);
        // And where both were restored, it begins anew.
        let (mut one, mut other) = (ReleaseToken::unknown(true, true), ReleaseToken::unknown(true, false));
        other.heard(&one.holdings()).unwrap();
        one.heard(&[]).unwrap();
        assert_eq!(owners([&one, &other]), [true, false]);
    }

    #[test]
    fn a_token_that_both_own_is_refused() {
        let mut ours = ReleaseToken::new(true, true);
        let theirs = ReleaseToken::new(true, true);
        ours.heard(&theirs.holdings()).unwrap_err();
        assert!(ours.is_mine());
        ReleaseToken::new(false, true).heard(&theirs.holdings()).unwrap_err();
    }

    #[test]
    fn a_request_lasts_until_the_token_has_come() {
        let (mut ours, mut theirs) = pair();
        ours.want(Some(1)).unwrap();
        assert_eq!(ours.wanted(), None, "nobody asks for what is his");
        theirs.want(Some(7)).unwrap();
        ours.heard_asked(theirs.wanted());
        assert_eq!(ours.asked(), Some(7));
        ours.give().unwrap();
        theirs.heard(&ours.holdings()).unwrap();
        assert_eq!((ours.asked(), theirs.wanted()), (None, None));
    }

    #[test]
    fn without_the_unit_there_is_no_token_and_nothing_is_said() {
        let mut off = ReleaseToken::new(false, true);
        assert_eq!(
            (off.give(), off.want(Some(1))),
            (Err(ReleaseTokenError::UnitOff), Err(ReleaseTokenError::UnitOff))
        );
        assert_eq!(off.holdings(), []);
        assert!(off.may_release() && off.other_may_release());
    }
}
