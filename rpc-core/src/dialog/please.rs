//! Requests for tokens: what this side wants, and what the other does.

use super::token::TokenSet;
use crate::frame::dialog::Please;
use crate::time::Timestamp;

/// One request in each direction; a later one stands for all before it.
#[derive(Debug, Default)]
pub(super) struct Pleases {
    wanted: Option<Wanted>,
    /// The other side is to be told of the last change.
    due: bool,
    unanswered: Option<Please>,
    /// Of tokens that are here or on their way here.
    asked: Option<Please>,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    please: Please,
    until: Option<Timestamp>,
}

impl Pleases {
    /// The application wants tokens, or with no token: no longer.
    //= D-6
    pub(super) fn want(&mut self, please: Please, now: Timestamp) {
        let until = (please.within_ms > 0).then(|| now + std::time::Duration::from_millis(please.within_ms));
        let wanted = (!please.tokens.is_empty()).then_some(Wanted { please, until });
        // Nobody has to be told that nothing is wanted who was told of nothing.
        self.due = wanted.is_some() || self.wanted.is_some() || self.due;
        self.wanted = wanted;
    }

    /// These tokens came: they are not wanted any more, and the other side knows.
    pub(super) fn came(&mut self, tokens: TokenSet) {
        self.wanted = self.wanted.and_then(|Wanted { please, until }| {
            without(please, tokens).map(|please| Wanted { please, until })
        });
    }

    /// When the wait ends.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.wanted.and_then(|wanted| wanted.until)
    }

    /// A request whose time is over is withdrawn, and has failed.
    //= D-6
    pub(super) fn tick(&mut self, now: Timestamp) {
        if let Some(wanted) = self.wanted
            && wanted.until.is_some_and(|until| until <= now)
        {
            self.wanted = None;
            self.due = true;
            self.unanswered = Some(wanted.please);
        }
    }

    /// What the other side is to be told now.
    pub(super) fn say(&mut self) -> Option<Please> {
        std::mem::take(&mut self.due).then(|| self.wanted.map_or(Please::default(), |wanted| wanted.please))
    }

    /// The other side wants these, of which `mine` are here, or on their way.
    pub(super) fn heard(&mut self, please: Please, mine: TokenSet) {
        self.asked = within(please, mine);
    }

    /// These were handed over.
    pub(super) fn gave(&mut self, tokens: TokenSet) {
        self.asked = self.asked.and_then(|please| without(please, tokens));
    }

    /// The other side was restored: it wants nothing, and does not know what this one wants.
    pub(super) fn peer_restored(&mut self) {
        self.asked = None;
        self.due = self.wanted.is_some();
    }

    pub(super) fn wanted(&self) -> Option<Please> {
        self.wanted.map(|wanted| wanted.please)
    }

    pub(super) fn take_unanswered(&mut self) -> Option<Please> {
        self.unanswered.take()
    }

    /// What the other side wants of what is `mine`.
    pub(super) fn asked(&self, mine: TokenSet) -> Option<Please> {
        self.asked.and_then(|please| within(please, mine))
    }
}

fn without(please: Please, tokens: TokenSet) -> Option<Please> {
    within(please, please.tokens.without(tokens))
}

fn within(please: Please, tokens: TokenSet) -> Option<Please> {
    let tokens = please.tokens.and(tokens);
    (!tokens.is_empty()).then_some(Please { tokens, ..please })
}
