//! What the application asks of its side of the dialog.

use bytes::Bytes;

use super::resync::{Answer, Request, Stage};
use super::{Action, Dialog, DialogError, Here, PIECES_MAX, Phase, TokenSet};
use crate::frame::STATE_BYTES_MAX;
use crate::frame::dialog::{
    DETAIL_BYTES_MAX, EXPEDITED_BYTES_MAX, Exception, Please, Primitive, TYPED_BYTES_MAX,
};
use crate::stream::position::Position;
use crate::time::Timestamp;

impl Dialog {
    /// Whether this side may do that now.
    ///
    /// # Errors
    ///
    /// Its unit is off, a resynchronization is under way, or a token is not as X.215 table 8 wants it.
    //= D-1, D-5, D-32
    pub fn permits(&self, action: Action) -> Result<(), DialogError> {
        action.exists(&self.terms, self.tokens.available())?;
        match self.state().phase {
            // What it is about to give it may ask for again.
            Phase::Idle if matches!(action, Action::Please(token) if self.giving.contains(token)) => Ok(()),
            Phase::Idle => action.check(self.tokens.available(), self.tokens.mine()),
            Phase::Asking | Phase::Asked => Err(DialogError::Busy),
        }
    }

    /// Hands tokens over: the data token when the application has nothing more to give and everything is sent, the others
    /// when that is sent which was given. Until then this side owns them.
    ///
    /// # Errors
    ///
    /// It does not own one of them; none is given.
    pub fn give(&mut self, tokens: TokenSet) -> Result<(), DialogError> {
        tokens.iter().try_for_each(|token| self.permits(Action::Give(token)))?;
        self.giving = self.giving.or(tokens);
        Ok(())
    }

    /// Hands all tokens over that this side owns (X.215 S-CONTROL-GIVE).
    ///
    /// # Errors
    ///
    /// A resynchronization is under way.
    pub fn give_all(&mut self) -> Result<TokenSet, DialogError> {
        let owned = self.tokens.mine();
        if self.state().phase != Phase::Idle {
            return Err(DialogError::Busy);
        }
        self.give(owned).map(|()| owned)
    }

    /// Asks the other side for tokens, in place of what was asked for before; for none: withdraws that. It is over when they
    /// came, or after its time: [`take_unanswered`](Self::take_unanswered).
    ///
    /// # Errors
    ///
    /// A token is not available, or this side owns it; nothing is asked for.
    //= D-6
    pub fn please(&mut self, please: Please, now: Timestamp) -> Result<(), DialogError> {
        please.tokens.iter().try_for_each(|token| self.permits(Action::Please(token)))?;
        self.pleases.want(please, now);
        Ok(())
    }

    /// Sends a piece of typed data, whoever has the turn: it is not heard before the data that was given before it.
    ///
    /// # Errors
    ///
    /// It is too long, or too many wait for the other application.
    //= D-8
    pub fn typed(&mut self, bytes: Bytes, here: &Here) -> Result<(), DialogError> {
        self.permits(Action::Typed)?;
        within(bytes.len(), TYPED_BYTES_MAX)?;
        if !self.typed.has_room() {
            return Err(DialogError::Full(PIECES_MAX));
        }
        self.typed.push();
        self.outbox.push(here.given, Primitive::Typed(bytes));
        Ok(())
    }

    /// Sends a piece of expedited data: before everything that is not sent yet, past flow control and the turn.
    ///
    /// # Errors
    ///
    /// As with [`typed`](Self::typed).
    //= D-9
    pub fn expedited(&mut self, bytes: Bytes) -> Result<(), DialogError> {
        self.permits(Action::Expedited)?;
        within(bytes.len(), EXPEDITED_BYTES_MAX)?;
        if !self.expedited.has_room() {
            return Err(DialogError::Full(PIECES_MAX));
        }
        self.expedited.push();
        self.outbox.push(Position::ORIGIN, Primitive::Expedited(bytes));
        Ok(())
    }

    /// Reports trouble to the side that has the turn, once until that comes here or a resynchronization.
    ///
    /// # Errors
    ///
    /// This side has the turn, has reported already, or the text is too long.
    pub fn report(&mut self, exception: Exception) -> Result<(), DialogError> {
        self.permits(Action::Exception)?;
        within(exception.detail.len(), DETAIL_BYTES_MAX)?;
        if self.exceptions.is_outstanding() {
            return Err(DialogError::Outstanding);
        }
        self.exceptions.reported();
        self.outbox.push(Position::ORIGIN, Primitive::Exception(exception));
        Ok(())
    }

    /// Asks to go back. From here to the answer nothing else is said, sent or delivered.
    ///
    /// # Errors
    ///
    /// A serial is not within the range of its kind, no direction is named or one that has ended, or one is under way.
    //= D-12, D-13, D-14, I12
    pub fn resynchronize(&mut self, request: Request, here: &Here) -> Result<(), DialogError> {
        self.permits(Action::Resynchronize)?;
        within(request.state.len(), STATE_BYTES_MAX)?;
        if let Some((token, _)) =
            request.wishes.iter().find(|(token, _)| !self.tokens.available().contains(*token))
        {
            return Err(DialogError::Unavailable(*token));
        }
        let directions = [(request.own, here.own), (request.other, here.other)];
        if directions.iter().all(|(serial, _)| serial.is_none())
            || directions.iter().any(|(serial, direction)| serial.is_some() && direction.ended)
        {
            return Err(DialogError::Ended);
        }
        let (own, other) = self.unused(here);
        for ((serial, direction), unused) in directions.into_iter().zip([own, other]) {
            let (least, most) = direction.serials.range(request.kind, unused);
            if let Some(serial) = serial.filter(|serial| !(least..=most).contains(serial)) {
                return Err(DialogError::Serial { serial, least, most });
            }
        }
        self.stage = Stage::Preparing(request);
        Ok(())
    }

    /// Answers the [`indication`](Self::indication): the directions go on from what was agreed.
    ///
    /// # Errors
    ///
    /// There is none, or its side was restored and no longer knows of it; the state is too long.
    pub fn answer(&mut self, answer: Answer) -> Result<(), DialogError> {
        within(answer.state.len(), STATE_BYTES_MAX)?;
        match std::mem::take(&mut self.stage) {
            Stage::Asked(request) => {
                self.stage = Stage::Answering(request, answer);
                Ok(())
            }
            stage @ (Stage::Idle | Stage::Preparing(_) | Stage::Asking { .. } | Stage::Answering(..)) => {
                self.stage = stage;
                Err(DialogError::NotAsked)
            }
        }
    }
}

fn within(bytes: usize, bytes_max: usize) -> Result<(), DialogError> {
    if bytes > bytes_max { Err(DialogError::TooLong { bytes, bytes_max }) } else { Ok(()) }
}
