//! What a stream keeps for the application's side of its dialog.

use bytes::Bytes;
use rpc_core::dialog::{Dialog, DialogError, Mark, Token, TokenSet};
use rpc_core::frame::PointKind;
use rpc_core::frame::dialog::Please;
use rpc_core::negotiate::Unit;
use rpc_core::stream::error::{PlaceError, SyncError};
use rpc_core::stream::flow::Side;
use rpc_core::stream::position::Generation;
use rpc_core::time::Timestamp;
use tonic::Status;

use super::asking::Asks;
use super::major::Placing;
use super::standing::{Going, Reading};
use crate::shared::{Shared, State};
use crate::status;

/// The application's side of a dialog, beside what the core knows.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Somebody at this side holds the turn.
    pub(super) speaking: bool,
    /// Given away, and not handed over yet.
    pub(super) giving: TokenSet,
    pub(super) asks: Asks,
    /// What the application was told last of what the other side asks for.
    told: Option<Please>,
    pub(super) placing: Placing,
    pub(super) going: Going,
    pub(crate) reading: Reading,
    /// What the decoder of the application's reader holds is of an older generation.
    pub(super) is_stale: bool,
    /// The application reads no more.
    pub(crate) has_left: bool,
    /// How often the incoming direction has gone back, and the outgoing one.
    pub(crate) resets: u64,
    pub(crate) resets_sent: u64,
    /// Something changed here for which the application may wait.
    pub(crate) has_news: bool,
}

/// All that the application can wait for in its dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DialogMark {
    dialog: Mark,
    units_closed: u64,
    is_closing_unit: bool,
    resets: u32,
    /// Of what is sent and of what arrives.
    generations: [Generation; 2],
    is_drained: bool,
}

impl Desk {
    pub(crate) fn new(side: Side) -> Self {
        let reading = match side {
            // It has a request from the beginning.
            Side::Client => Reading::Goes,
            Side::Server => Reading::Rests,
        };
        Self { reading, ..Self::default() }
    }
}

impl Shared {
    /// Waits until `look` has an answer, or the call is over. It is asked each time when the dialog has changed.
    pub(super) async fn when<R>(
        &self,
        mut look: impl FnMut(&mut State) -> Option<Result<R, Status>>,
    ) -> Result<R, Status> {
        loop {
            let changed = self.dialog.notified();
            let told = self.with(|state| look(state).or_else(|| state.over().map(Err)));
            match told {
                Some(told) => return told,
                None => changed.await,
            }
        }
    }

    /// The same where nothing more is to come of a call that ended in order.
    pub(super) async fn when_or_end<R>(
        &self,
        mut look: impl FnMut(&mut State) -> Option<Result<R, Status>>,
    ) -> Result<Option<R>, Status> {
        self.when(|state| match look(state) {
            Some(told) => Some(told.map(Some)),
            None if state.failure().is_none() && state.conclusion.is_some() => Some(Ok(None)),
            None => None,
        })
        .await
    }
}

impl State {
    pub(crate) fn dialog_mark(&self) -> Option<DialogMark> {
        let dialog = self.flow.dialog()?;
        let is_moving = dialog.is_resynchronizing() || !matches!(self.desk.going, Going::Nowhere);
        Some(DialogMark {
            dialog: dialog.mark(),
            units_closed: self.flow.units_closed(),
            is_closing_unit: self.flow.is_closing_unit(),
            resets: self.flow.resets(),
            generations: [self.flow.sender().generation(), self.flow.receiver().generation()],
            // That looks through all that waits for the application.
            is_drained: is_moving && self.flow.receiver().is_drained(),
        })
    }

    /// Something changed in the dialog since `before`. Whether the reader has to ask before it delivers.
    pub(crate) fn talked(&mut self, before: Option<DialogMark>, now: Timestamp) -> bool {
        if let (Some(before), Some(after)) = (before, self.dialog_mark())
            && before.resets != after.resets
        {
            let [sent, received] = [0, 1].map(|way| before.generations[way] != after.generations[way]);
            self.went_back(sent, received);
        }
        self.learn();
        self.handed_over();
        self.ask_again(now);
        self.rouse_all();
        self.is_disturbed()
    }

    /// With what nobody waits any more: the call has ended, in order or not.
    pub(super) fn over(&self) -> Option<Status> {
        self.failure().or_else(|| self.conclusion.as_ref().map(|_| status::call_ended()))
    }

    /// The tokens of this side, without what it is giving.
    pub(super) fn owned(&self) -> TokenSet {
        self.flow.dialog().map_or(TokenSet::NONE, Dialog::owned).without(self.desk.giving)
    }

    /// What the other side asks for, without what it is given already.
    pub(super) fn wanted(&self) -> Option<Please> {
        let please = self.flow.dialog().and_then(Dialog::asked)?;
        let tokens = please.tokens.without(self.desk.giving);
        (!tokens.is_empty()).then_some(Please { tokens, ..please })
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.owned().contains(token)
    }

    /// Whether there is such a token in this stream.
    pub(super) fn has_token(&self, token: Token) -> Result<(), Status> {
        let available = self.flow.dialog().map_or(TokenSet::NONE, Dialog::available);
        let missing = || status::refused(&DialogError::Unavailable(token));
        if available.contains(token) { Ok(()) } else { Err(missing()) }
    }

    /// Nobody at this side holds the turn any more.
    pub(super) fn hush(&mut self) {
        self.desk.speaking = false;
        self.desk.has_news = true;
    }

    /// Gives those of `tokens` that are this side's. During a resynchronization, when that has not moved them.
    pub(super) fn give_owned(&mut self, tokens: TokenSet) {
        let owned = if self.is_resynchronizing() { tokens } else { tokens.and(self.owned()) };
        self.start_giving(owned);
    }

    pub(crate) fn give(&mut self, tokens: TokenSet) -> Result<(), Status> {
        self.over().map_or(Ok(()), Err)?;
        if self.is_resynchronizing() {
            return Err(status::refused(&DialogError::Busy));
        }
        tokens.iter().try_for_each(|token| self.has_token(token))?;
        match tokens.without(self.owned()).iter().next() {
            Some(token) => Err(status::refused(&DialogError::Missing(token))),
            None => {
                self.start_giving(tokens);
                Ok(())
            }
        }
    }

    /// Gives those of `tokens` that are this side's and are not given yet, where a producer says so between its messages.
    pub(crate) fn give_in_line(&mut self, tokens: TokenSet) -> Result<(), Status> {
        tokens.iter().try_for_each(|token| self.has_token(token))?;
        self.start_giving(tokens.and(self.owned()));
        Ok(())
    }

    /// Whether one of these is being handed over.
    pub(crate) fn is_giving(&self, tokens: TokenSet) -> bool {
        !self.desk.giving.and(tokens).is_empty()
    }

    /// *Data* leaves behind what the application has given, which only its body knows; the others at once.
    fn start_giving(&mut self, tokens: TokenSet) {
        let desk = &mut self.desk;
        (desk.giving, desk.has_news) = (desk.giving.or(tokens), true);
        // That is answered: the same request is news when it comes again.
        desk.told = desk.told.filter(|told| told.tokens.and(tokens).is_empty());
        if !tokens.contains(Token::Data) {
            self.give_now();
        }
        self.ask_body();
        self.rouse_outgoing();
    }

    /// Something waits for the application's body to have nothing ready. One that nobody reads has nothing: the handler has
    /// not answered yet, or the body has ended.
    pub(super) fn ask_body(&mut self) {
        if self.desk.reading == Reading::Rests {
            self.quiet();
        }
        self.rouse_pump();
    }

    /// The core may hand over what was given away.
    fn give_now(&mut self) {
        // What it refuses is not this side's any more, or has to wait for the end of a resynchronization.
        for token in self.desk.giving.iter() {
            let _ = self.flow.give(TokenSet::of(token));
        }
    }

    /// Forgets what was given away and has left.
    fn handed_over(&mut self) {
        let Some(dialog) = self.flow.dialog() else { return };
        if !self.is_resynchronizing() {
            let owned = dialog.owned();
            self.desk.giving = self.desk.giving.and(owned);
        }
    }

    pub(super) fn is_resynchronizing(&self) -> bool {
        self.flow.dialog().is_some_and(Dialog::is_resynchronizing)
    }

    /// Whether something waits for the application's body to have nothing ready.
    pub(crate) fn wants_quiet(&self) -> bool {
        self.desk.placing.is_due() || self.desk.giving.contains(Token::Data)
    }

    /// It has nothing ready, or has ended: all that it gave is here.
    pub(crate) fn quiet(&mut self) {
        self.place_major();
        self.flow.app_idle();
        self.give_now();
        self.rouse_outgoing();
    }

    /// Places a point after so many messages; `None` while there is no room for it.
    pub(crate) fn place_at(
        &mut self,
        messages: u64,
        kind: PointKind,
        bytes: Bytes,
    ) -> Option<Result<(), Status>> {
        let placed = match (self.flow.dialog(), kind) {
            (None, PointKind::Minor) => self.flow.app_syncs_at(messages, bytes).map_err(PlaceError::from),
            (None | Some(_), _) => self.flow.app_places_at(messages, kind, bytes),
        };
        match placed {
            Err(
                PlaceError::Sync(SyncError::TooManyPoints)
                | PlaceError::Closing
                | PlaceError::Dialog(DialogError::Busy),
            ) => None,
            placed => {
                self.rouse_outgoing();
                Some(placed.map_err(|error| status::not_placed(&error)))
            }
        }
    }

    /// What the other side asks for, if the application does not know.
    pub(super) fn news_of_please(&mut self) -> Option<Please> {
        let asked = self.wanted();
        if asked == self.desk.told {
            return None;
        }
        self.desk.told = asked;
        asked
    }
}

impl Shared {
    /// Whether that unit is on.
    pub(super) fn has_unit(&self, unit: Unit) -> Result<(), Status> {
        let on = self.terms.is_some_and(|terms| terms.units.contains(unit));
        if on { Ok(()) } else { Err(status::refused(&DialogError::UnitOff(unit))) }
    }
}
