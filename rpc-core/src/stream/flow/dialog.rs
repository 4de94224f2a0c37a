//! The dialog of a stream: what the application does with it.

use bytes::Bytes;

use super::Flow;
use crate::dialog::{Action, Answer, Answered, Dialog, DialogError, Here, Request, Terms, Token, TokenSet};
use crate::frame::PointKind;
use crate::frame::dialog::{Exception, Please, Resync};
use crate::negotiate::{Unit, Units};
use crate::stream::error::{PlaceError, SecureError};
use crate::stream::position::{Generation, Serial};
use crate::stream::secured::{Resumption, Secured};
use crate::time::Timestamp;

/// A dialog, and how far the bytes have followed it.
#[derive(Debug)]
pub(super) struct Speech {
    pub(super) dialog: Dialog,
    pub(super) units: Units,
    /// The application's body had nothing ready when it was polled last.
    pub(super) idle: bool,
    /// What was reset and is not stored.
    pub(super) unstored: Option<Unstored>,
    /// Number of the primitive that tells the peer of the last reset.
    pub(super) answer: Option<u64>,
    /// Resynchronizations, and dialogue units that the own application has closed.
    pub(super) resets: u32,
    pub(super) units_closed: u64,
}

/// A resynchronization that is to be stored.
#[derive(Debug)]
pub(super) struct Unstored {
    /// What may be told to others meanwhile.
    pub(super) before: Resumption,
    pub(super) sent: Option<Secured>,
    pub(super) received: Option<Secured>,
}

impl Speech {
    pub(super) fn new(terms: &Terms, is_restored: bool) -> Self {
        let dialog = if is_restored { Dialog::restored(terms) } else { Dialog::new(terms) };
        Self {
            dialog,
            units: terms.units,
            idle: false,
            unstored: None,
            answer: None,
            resets: 0,
            units_closed: 0,
        }
    }
}

/// What the application does. Each takes effect on what [`poll`](Flow::poll) hands out next.
impl Flow {
    /// The dialog of this stream, where it has one: who owns which token, and what the peer asks for.
    pub fn dialog(&self) -> Option<&Dialog> {
        self.speech.as_ref().map(|speech| &speech.dialog)
    }

    /// The application's body has nothing ready: it was polled, and is pending. Tokens that were given go over when all
    /// before is written.
    pub fn app_idle(&mut self) {
        if let Some(speech) = &mut self.speech {
            speech.idle = true;
        }
    }

    /// The application asks for a point of that kind after everything it has given. A major point waits for the peer: nothing
    /// that is given after it is sent before the unit is [closed](Self::units_closed).
    ///
    /// # Errors
    ///
    /// The point is not placed; the stream is as it was.
    //= S-7, D-1
    pub fn app_places(&mut self, kind: PointKind, state: Bytes) -> Result<(), PlaceError> {
        self.permits_point(kind)?;
        Ok(self.sender.sync_as(kind, state)?)
    }

    /// The same right after that many messages, as with [`app_syncs_at`](Self::app_syncs_at).
    ///
    /// # Errors
    ///
    /// The point is not placed; the stream is as it was.
    //= S-7, D-1
    pub fn app_places_at(&mut self, messages: u64, kind: PointKind, state: Bytes) -> Result<(), PlaceError> {
        self.permits_point(kind)?;
        Ok(self.sender.sync_at_as(messages, kind, state)?)
    }

    /// How many dialogue units this side's major points have closed. A unit that was [being
    /// closed](Self::is_closing_unit) and no longer is without being counted here was given up by a resynchronization.
    pub fn units_closed(&self) -> u64 {
        self.speech.as_ref().map_or(0, |speech| speech.units_closed)
    }

    /// A major point of this side was asked for and is not answered.
    pub fn is_closing_unit(&self) -> bool {
        self.sender.is_closing_unit()
    }

    /// Hands tokens over, when the application's body has nothing more ready.
    ///
    /// # Errors
    ///
    /// See [`Dialog::give`].
    pub fn give(&mut self, tokens: TokenSet) -> Result<(), DialogError> {
        self.speak(Action::Give(Token::Data), |dialog, _| dialog.give(tokens))
    }

    /// Hands all tokens over that this side has; answers which.
    ///
    /// # Errors
    ///
    /// See [`Dialog::give_all`].
    pub fn give_all(&mut self) -> Result<TokenSet, DialogError> {
        self.speak(Action::Give(Token::Data), |dialog, _| dialog.give_all())
    }

    /// Asks for tokens, or no longer.
    ///
    /// # Errors
    ///
    /// See [`Dialog::please`].
    pub fn please(&mut self, please: Please, now: Timestamp) -> Result<(), DialogError> {
        self.speak(Action::Please(Token::Data), |dialog, _| dialog.please(please, now))
    }

    /// The request for tokens whose time has passed, once.
    pub fn take_unanswered(&mut self, now: Timestamp) -> Option<Please> {
        let dialog = &mut self.speech.as_mut()?.dialog;
        dialog.tick(now);
        dialog.take_unanswered()
    }

    /// Sends data against the turn.
    ///
    /// # Errors
    ///
    /// See [`Dialog::typed`].
    pub fn send_typed(&mut self, bytes: Bytes) -> Result<(), DialogError> {
        self.speak(Action::Typed, |dialog, here| dialog.typed(bytes, here))
    }

    /// Sends data past flow control.
    ///
    /// # Errors
    ///
    /// See [`Dialog::expedited`].
    pub fn send_expedited(&mut self, bytes: Bytes) -> Result<(), DialogError> {
        self.speak(Action::Expedited, |dialog, _| dialog.expedited(bytes))
    }

    /// The next piece of typed data. The peer is told that it is taken.
    pub fn take_typed(&mut self) -> Option<Bytes> {
        self.speech.as_mut()?.dialog.take_typed()
    }

    /// The next piece of expedited data. The peer is told that it is taken.
    pub fn take_expedited(&mut self) -> Option<Bytes> {
        self.speech.as_mut()?.dialog.take_expedited()
    }

    /// Reports trouble to the owner of the turn.
    ///
    /// # Errors
    ///
    /// See [`Dialog::report`].
    pub fn report(&mut self, exception: Exception) -> Result<(), DialogError> {
        self.speak(Action::Exception, |dialog, _| dialog.report(exception))
    }

    /// What the peer reported.
    pub fn take_exception(&mut self) -> Option<Exception> {
        self.speech.as_mut()?.dialog.take_exception()
    }

    /// Asks to go back to an agreed point. Until the answer nothing is sent or delivered but what lies before the last
    /// separating point.
    ///
    /// # Errors
    ///
    /// See [`Dialog::resynchronize`].
    //= D-16
    pub fn resynchronize(&mut self, request: Request) -> Result<(), DialogError> {
        self.speak(Action::Resynchronize, |dialog, here| dialog.resynchronize(request, here))
    }

    /// What became of the own request, when the application was given everything that lies before it.
    pub fn take_answered(&mut self) -> Option<Answered> {
        let is_drained = self.receiver.is_drained();
        self.speech.as_mut().filter(|_| is_drained)?.dialog.take_answered()
    }

    /// What the peer asks for, when the application was given everything that lies before it. It is to
    /// [answer](Self::answer_resynchronization).
    pub fn resynchronization(&self) -> Option<&Resync> {
        let is_drained = self.receiver.is_drained();
        self.speech.as_ref().filter(|_| is_drained)?.dialog.indication()
    }

    /// Agrees to what the peer asks for. Both directions go on at their new bases, and what this side's application gives from
    /// now on belongs there.
    ///
    /// # Errors
    ///
    /// See [`Dialog::answer`].
    pub fn answer_resynchronization(&mut self, answer: Answer) -> Result<(), DialogError> {
        self.speak(Action::Resynchronize, |dialog, _| dialog.answer(answer))
    }

    /// The generation of what the application is given: of the last message or point that it [took](Flow::take).
    pub fn delivers(&self) -> Generation {
        self.receiver.delivers()
    }

    /// [Secures](Flow::secure) a point that was given in that generation. One of an older generation needs it no more:
    /// nothing happens.
    ///
    /// # Errors
    ///
    /// See [`Receiver::secure`](crate::stream::receiver::Receiver::secure).
    pub fn secure_in(
        &mut self,
        generation: Generation,
        serial: Serial,
        state: Bytes,
    ) -> Result<(), SecureError> {
        if generation < self.receiver.generation() { Ok(()) } else { self.secure(serial, state) }
    }

    /// The lowest serials that no point of the own direction and of the other ever had, as far as this side knows: for an
    /// abandon.
    pub fn unused_serials(&self) -> (Serial, Serial) {
        self.dialog().map_or((Serial::FIRST, Serial::FIRST), |dialog| dialog.unused(&self.here()))
    }

    /// How often the stream was resynchronized here.
    pub fn resets(&self) -> u32 {
        self.speech.as_ref().map_or(0, |speech| speech.resets)
    }

    fn permits_point(&self, kind: PointKind) -> Result<(), PlaceError> {
        let (unit, action) = match kind {
            PointKind::Minor => (Unit::MinorSynchronize, Action::Minor),
            PointKind::Separating => (Unit::DataSeparation, Action::Minor),
            PointKind::Major => (Unit::MajorSynchronize, Action::Major),
            PointKind::MajorAnswer => return Err(PlaceError::NotForApplications),
        };
        let Some(speech) = &self.speech else { return Err(DialogError::UnitOff(unit).into()) };
        if kind != PointKind::Minor && !speech.units.contains(unit) {
            return Err(DialogError::UnitOff(unit).into());
        }
        if kind == PointKind::Major && self.sender.is_closing_unit() {
            return Err(PlaceError::Closing);
        }
        Ok(speech.dialog.permits(action)?)
    }

    /// What `say` asks of the dialog, and what follows for the bytes.
    fn speak<T>(
        &mut self,
        action: Action,
        say: impl FnOnce(&mut Dialog, &Here) -> Result<T, DialogError>,
    ) -> Result<T, DialogError> {
        let here = self.here();
        let Some(speech) = &mut self.speech else { return Err(absent(action)) };
        let said = say(&mut speech.dialog, &here);
        self.heed();
        said
    }
}

/// Why there is no such thing in a stream without a dialog.
fn absent(action: Action) -> DialogError {
    action.unit().map_or(DialogError::Unavailable(Token::Data), DialogError::UnitOff)
}
