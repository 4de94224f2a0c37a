//! What an application can wait for, at one moment.

use super::Dialog;
use super::phase::State;
use super::token::TokenSet;
use crate::frame::dialog::Please;

/// Two of these that differ: something came for which an application may have waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    state: State,
    mine: TokenSet,
    asked: Option<Please>,
    /// Pieces that were not taken here, and whether there is room for one more to be said; typed and expedited.
    pieces: [(usize, bool); 2],
    has_exception: bool,
    outstanding: bool,
    is_answered: bool,
    is_asked: bool,
}

impl Dialog {
    /// What the application can wait for: a shell compares it before and after each input, and wakes who waits.
    pub fn mark(&self) -> Mark {
        Mark {
            state: self.state(),
            mine: self.tokens.mine(),
            asked: self.asked(),
            pieces: [&self.typed, &self.expedited].map(|pieces| (pieces.queued(), pieces.has_room())),
            has_exception: self.exceptions.is_there(),
            outstanding: self.exceptions.is_outstanding(),
            is_answered: self.answered.is_some(),
            is_asked: self.indication().is_some(),
        }
    }
}
