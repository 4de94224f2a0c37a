//! Tokens and sets of them.

use std::fmt;

/// A right (X.215 clause 8): to be had by one side at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Token {
    /// To send data in half duplex.
    Data,
    /// To place minor sync points in half duplex.
    Minor,
    /// To place major sync points.
    Major,
    /// To release the session.
    Release,
}

impl Token {
    /// All four, in the order of X.215 table 8.
    pub const ALL: [Self; 4] = [Self::Data, Self::Minor, Self::Major, Self::Release];
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Minor => "synchronize-minor",
            Self::Major => "major/activity",
            Self::Release => "release",
        })
    }
}

/// A set of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TokenSet(u8);

impl TokenSet {
    /// No token.
    pub const NONE: Self = Self(0);
    /// All four.
    pub const ALL: Self = Self(0b1111);

    /// Just that one.
    pub const fn of(token: Token) -> Self {
        Self(1 << token as u8)
    }

    /// Whether `token` is in the set.
    pub const fn contains(self, token: Token) -> bool {
        self.0 & Self::of(token).0 != 0
    }

    /// The set with `token`.
    #[must_use]
    pub const fn with(self, token: Token) -> Self {
        Self(self.0 | Self::of(token).0)
    }

    /// The set without what is in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its tokens, in the order of [`Token::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Token> {
        Token::ALL.into_iter().filter(move |token| self.contains(*token))
    }
}

impl FromIterator<Token> for TokenSet {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        tokens.into_iter().fold(Self::NONE, Self::with)
    }
}

impl From<Token> for TokenSet {
    fn from(token: Token) -> Self {
        Self::of(token)
    }
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What one side says of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Which.
    pub token: Token,
    /// How often it was handed over: of two that differ, the higher one holds.
    pub generation: u64,
    /// It belongs to the side that says this.
    pub mine: bool,
}
