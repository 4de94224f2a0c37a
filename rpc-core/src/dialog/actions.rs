//! Which tokens an action needs: X.215 table 8, as it applies to one stream.

use super::Terms;
use super::error::DialogError;
use super::token::{Token, TokenSet};
use crate::negotiate::Unit;

/// What an application may want to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send data.
    Data,
    /// Place a minor sync point of its own. Those of the policy need no token.
    Minor,
    /// Place a major sync point.
    Major,
    /// Report an exception.
    Exception,
    /// Ask for a token.
    Please(Token),
    /// Hand a token over.
    Give(Token),
    /// Send typed data.
    Typed,
    /// Send expedited data.
    Expedited,
    /// Ask for a resynchronization.
    Resynchronize,
}

impl Action {
    /// One of each, in the order of the table; of the tokens, *data*.
    pub const ALL: [Self; 9] = [
        Self::Data,
        Self::Minor,
        Self::Major,
        Self::Exception,
        Self::Please(Token::Data),
        Self::Give(Token::Data),
        Self::Typed,
        Self::Expedited,
        Self::Resynchronize,
    ];

    /// The tokens that it needs, as far as they are available.
    pub const fn needs(self) -> TokenSet {
        match self {
            Self::Data => TokenSet::of(Token::Data),
            Self::Minor => TokenSet::of(Token::Data).with(Token::Minor),
            Self::Major => TokenSet::of(Token::Data).with(Token::Minor).with(Token::Major),
            Self::Give(token) => TokenSet::of(token),
            //= D-8
            Self::Exception | Self::Please(_) | Self::Typed | Self::Expedited | Self::Resynchronize => {
                TokenSet::NONE
            }
        }
    }

    /// The token that it must not own.
    pub const fn bars(self) -> Option<Token> {
        match self {
            Self::Exception => Some(Token::Data),
            Self::Please(token) => Some(token),
            Self::Data
            | Self::Minor
            | Self::Major
            | Self::Give(_)
            | Self::Typed
            | Self::Expedited
            | Self::Resynchronize => None,
        }
    }

    /// The unit without which there is no such thing.
    pub const fn unit(self) -> Option<Unit> {
        match self {
            Self::Major => Some(Unit::MajorSynchronize),
            Self::Exception => Some(Unit::Exceptions),
            Self::Typed => Some(Unit::TypedData),
            Self::Expedited => Some(Unit::ExpeditedData),
            Self::Resynchronize => Some(Unit::Resynchronize),
            Self::Data | Self::Minor | Self::Please(_) | Self::Give(_) => None,
        }
    }

    /// Whether there is such a thing in a stream with these tokens.
    ///
    /// # Errors
    ///
    /// Its unit is off, or its token is not available.
    //= D-32
    pub(super) fn exists(self, terms: &Terms, available: TokenSet) -> Result<(), DialogError> {
        if let Some(unit) = self.unit().filter(|unit| !terms.units.contains(*unit)) {
            return Err(DialogError::UnitOff(unit));
        }
        let token = match self {
            Self::Please(token) | Self::Give(token) => token,
            // A report is for the owner of the turn; where there is none, nobody is to be told.
            Self::Exception => Token::Data,
            Self::Data | Self::Minor | Self::Major | Self::Typed | Self::Expedited | Self::Resynchronize => {
                return Ok(());
            }
        };
        if available.contains(token) { Ok(()) } else { Err(DialogError::Unavailable(token)) }
    }

    /// Whether a side may, that owns `owned` of the tokens `available`.
    ///
    /// # Errors
    ///
    /// A token is missing, or owned that must not be.
    //= D-1
    pub(super) fn check(self, available: TokenSet, owned: TokenSet) -> Result<(), DialogError> {
        if let Some(token) = self.needs().and(available).without(owned).iter().next() {
            return Err(DialogError::Missing(token));
        }
        match self.bars() {
            Some(token) if owned.contains(token) => Err(DialogError::Owned(token)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The tokens of a stream: those whose units are on.
pub(super) fn available(terms: &Terms) -> TokenSet {
    let when = |on: bool, token| if on { TokenSet::of(token) } else { TokenSet::NONE };
    when(terms.half_duplex, Token::Data)
        .or(when(terms.half_duplex && terms.units.contains(Unit::MinorSynchronize), Token::Minor))
        .or(when(terms.units.contains(Unit::MajorSynchronize), Token::Major))
}
