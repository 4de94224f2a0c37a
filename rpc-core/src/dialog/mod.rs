//! The dialog of one stream, after X.215: who may do what (tokens), requests for tokens, data against the turn and past
//! flow control, exceptions, and going back to an agreed point.
//!
//! Both sides run the same [`Dialog`]. The bytes of the stream are not this module's: it is told where they stand
//! ([`Here`]), and says whether they may go on ([`Sending`], [`Reset`]).
//!
//! - [`State`], [`Event`]: the table of everything that may happen, and when. [`Action`]: which tokens it needs.
//! - What the sides say are numbered primitives, kept until they are confirmed and said again in the next attempt.
//! - A resynchronization: [`Serials`] is its arithmetic, [`Crossing`] the order of two that cross.

mod actions;
mod asking;
mod channel;
mod error;
mod exceptions;
mod hearing;
mod mark;
mod phase;
mod pieces;
mod please;
mod resync;
mod saying;
mod serials;
mod settling;
mod token;
mod tokens;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use actions::Action;
pub use error::DialogError;
pub use mark::Mark;
pub use phase::{Event, Phase, State, Turn, Verdict};
pub use pieces::PIECES_MAX;
pub use resync::{Answer, Answered, Collision, Confirmation, Crossing, Request, Reset, ResyncKind};
pub use serials::Serials;
pub use token::{Holding, Token, TokenSet};

use crate::frame::dialog::{Exception, Please, Resync};
use crate::negotiate::Units;
use crate::stream::flow::Side;
use crate::stream::position::{Generation, Position, Serial};
use crate::time::Timestamp;
use channel::{Inbox, Outbox};
use exceptions::Exceptions;
use pieces::Pieces;
use please::Pleases;
use resync::Stage;
pub(crate) use tokens::Tokens;

/// What the two sides of a stream know of its dialog before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Which side this is; the client is X.215's initiator.
    pub side: Side,
    /// What is on in the session.
    pub units: Units,
    /// Whether one side speaks at a time.
    pub half_duplex: bool,
    /// Who owns all tokens at first.
    pub first_turn: Side,
}

/// Where the stream stands when something happens in its dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Here {
    /// End of what the own application has given, in whole messages.
    pub given: Position,
    /// End of what of that was ever sent, in whatever attempt.
    pub sent: Position,
    /// End of the last whole message that arrived.
    pub received: Position,
    /// The own application had nothing to give when it was asked last.
    pub idle: bool,
    /// The peer has received everything before the last separating point of the own direction, or there is none.
    pub separated: bool,
    /// The direction that this side sends.
    pub own: Direction,
    /// The direction that it receives.
    pub other: Direction,
}

/// One direction, as this side knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Direction {
    /// V(M), V(A) and V(R).
    pub serials: Serials,
    /// How often it was resynchronized.
    pub generation: Generation,
    /// Of the own one: its application has given everything. Of the other: END came.
    pub ended: bool,
}

/// What a side may write of its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sending {
    /// Whatever its application gives.
    New,
    /// What its application has given. It is not asked for more.
    Given,
    /// What was sent before, where it was lost. The application is not asked for more.
    Again,
    /// The same, and of that only what lies before the last separating point: the rest is given up.
    Separated,
}

/// One side of the dialog of one stream, over all its attempts. Pure: the [`Flow`](crate::stream::flow::Flow) that holds
/// it writes what [`step`](Self::step) hands out.
///
/// # How to drive it
///
/// 1. [`attempt`](Self::attempt) when one begins. In each after the first, [`step`](Self::step) begins with DIALOG_ACK.
/// 2. DIALOG into [`heard`](Self::heard), DIALOG_ACK into [`acked`](Self::acked); [`received`](Self::received) after each
///    arrival of data.
/// 3. [`take_reset`](Self::take_reset) after `heard` and whenever `step` answers `None`: the directions go on from there
///    before anything else happens to them. A durable side stores that before it steps on.
/// 4. [`step`](Self::step) until it answers `None`, before any data is written, and then no more than
///    [`sending`](Self::sending) says.
///
/// # Bounds
///
/// Of typed and of expedited data [`PIECES_MAX`] each that the receiving application has not taken; one exception, one
/// request for tokens and one resynchronization at a time. A peer that says more is refused with a violation.
#[derive(Debug)]
pub struct Dialog {
    terms: Terms,
    tokens: Tokens,
    /// To be handed over as soon as what was given is sent.
    giving: TokenSet,
    /// The own application has given everything.
    ended: bool,
    outbox: Outbox,
    inbox: Inbox,
    typed: Pieces,
    expedited: Pieces,
    pleases: Pleases,
    exceptions: Exceptions,
    stage: Stage,
    answered: Option<Answered>,
    reset: Option<Reset>,
    /// Of the own direction and the other: no point ever had that number or a higher one, when it was last reset.
    unused: [Serial; 2],
    /// End of the data that was judged by the turn.
    heard_to: Position,
    /// Whether data that comes is to be judged. Not at a side that was restored, before the turn has changed: what comes to
    /// it again was sent when the turn was another one.
    judges: bool,
    /// This side was restored, and the other has not said that it knows.
    anew: bool,
    was_restored: bool,
    /// The other side said in this attempt that it was restored.
    knows_anew: bool,
    /// That one has not been told so.
    knows_due: bool,
    ack_due: bool,
    first_ack: bool,
    /// In this attempt the other side has said how far it is, or does not need to: whether it was restored is known.
    met: bool,
}

impl Dialog {
    /// The dialog of a call that has not begun.
    pub fn new(terms: &Terms) -> Self {
        let tokens = Tokens::new(actions::available(terms), terms.side == terms.first_turn);
        Self::with(terms, tokens, Outbox::new(), Inbox::new(), false)
    }

    /// The dialog of a side that was restored after a crash, while the other one lives on and has what this one forgot: who
    /// owns which token, how far the numbers are. It says nothing of its own before it was told.
    pub fn restored(terms: &Terms) -> Self {
        let tokens = Tokens::unknown(actions::available(terms));
        Self::with(terms, tokens, Outbox::unnumbered(), Inbox::unnumbered(), true)
    }

    fn with(terms: &Terms, tokens: Tokens, outbox: Outbox, inbox: Inbox, restored: bool) -> Self {
        Self {
            terms: *terms,
            tokens,
            giving: TokenSet::NONE,
            ended: false,
            outbox,
            inbox,
            typed: Pieces::default(),
            expedited: Pieces::default(),
            pleases: Pleases::default(),
            exceptions: Exceptions::default(),
            stage: Stage::Idle,
            answered: None,
            reset: None,
            unused: [Serial::FIRST; 2],
            heard_to: Position::ORIGIN,
            judges: !restored,
            anew: restored,
            was_restored: restored,
            knows_anew: false,
            knows_due: false,
            ack_due: false,
            first_ack: false,
            met: false,
        }
    }

    /// An attempt begins. In a `resumed` one each side says first what it has, then again what the other may not have.
    //= D-29
    pub fn attempt(&mut self, resumed: bool, here: &Here) {
        self.outbox.attempt();
        self.heard_to = here.received;
        self.ack_due = resumed;
        self.first_ack = resumed;
        self.knows_anew = false;
        self.knows_due = false;
        self.met = !resumed;
    }

    /// Where the directions go on after a resynchronization: once, and at once.
    pub fn take_reset(&mut self) -> Option<Reset> {
        self.reset.take()
    }

    /// Whether a resynchronization is under way.
    pub fn is_resynchronizing(&self) -> bool {
        self.state().phase != Phase::Idle || self.reset.is_some()
    }

    /// Whether a resynchronization of the other direction is under way: nothing of it is delivered but what lies before its
    /// last separating point.
    //= D-16
    pub fn holds_delivery(&self) -> bool {
        match &self.stage {
            Stage::Idle => self.reset.is_some(),
            Stage::Preparing(request) => request.other.is_some(),
            // An answer that waits for data says that its direction stays as it is.
            Stage::Asking { request, .. } => request.other.is_some() && !self.is_answered(),
            Stage::Asked(request) | Stage::Answering(request, _) => request.own.is_some(),
        }
    }

    /// When [`tick`](Self::tick) is due.
    pub fn wake(&self) -> Option<Timestamp> {
        self.pleases.wake()
    }

    /// Time has passed: a request for tokens whose time is over is withdrawn.
    //= D-6
    pub fn tick(&mut self, now: Timestamp) {
        self.pleases.tick(now);
    }

    /// The next piece of typed data. Taking it makes room for another: [`step`](Self::step) says so.
    pub fn take_typed(&mut self) -> Option<Bytes> {
        let piece = self.typed.take();
        self.ack_due |= piece.is_some();
        piece
    }

    /// The next piece of expedited data, as with [`take_typed`](Self::take_typed).
    pub fn take_expedited(&mut self) -> Option<Bytes> {
        let piece = self.expedited.take();
        self.ack_due |= piece.is_some();
        piece
    }

    /// What the other side reported last.
    pub fn take_exception(&mut self) -> Option<Exception> {
        self.exceptions.take()
    }

    /// What became of the own resynchronization.
    pub fn take_answered(&mut self) -> Option<Answered> {
        self.answered.take()
    }

    /// A request for tokens whose time passed.
    pub fn take_unanswered(&mut self) -> Option<Please> {
        self.pleases.take_unanswered()
    }

    /// Where the dialog is.
    pub fn state(&self) -> State {
        let turn = match (self.tokens.available().contains(Token::Data), self.tokens.mine()) {
            (false, _) => Turn::Both,
            (true, mine) if mine.contains(Token::Data) => Turn::Speaking,
            (true, _) => Turn::Listening,
        };
        let phase = match self.stage {
            Stage::Idle => Phase::Idle,
            Stage::Preparing(_) | Stage::Asking { .. } => Phase::Asking,
            Stage::Asked(_) | Stage::Answering(..) => Phase::Asked,
        };
        State { turn, phase }
    }

    /// The tokens of the stream, whoever owns them.
    pub fn available(&self) -> TokenSet {
        self.tokens.available()
    }

    /// The tokens that this side owns and may use: none while a resynchronization is under way.
    //= I15
    pub fn owned(&self) -> TokenSet {
        match self.state().phase {
            Phase::Idle => self.tokens.mine(),
            Phase::Asking | Phase::Asked => TokenSet::NONE,
        }
    }

    /// Whether this side owns `token`.
    pub fn owns(&self, token: Token) -> bool {
        self.owned().contains(token)
    }

    /// What this side waits for.
    pub fn wanted(&self) -> Option<Please> {
        self.pleases.wanted()
    }

    /// What the other side waits for, of what this side owns.
    pub fn asked(&self) -> Option<Please> {
        self.pleases.asked(self.tokens.mine())
    }

    /// The resynchronization that the other side asks for and the application has not answered.
    pub fn indication(&self) -> Option<&Resync> {
        match &self.stage {
            Stage::Asked(request) => Some(request),
            Stage::Idle | Stage::Preparing(_) | Stage::Asking { .. } | Stage::Answering(..) => None,
        }
    }

    /// The lowest serials that no point of the own direction and of the other ever had, as far as this side knows: for an
    /// abandon.
    pub fn unused(&self, here: &Here) -> (Serial, Serial) {
        let [own, other] = self.unused;
        (own.max(here.own.serials.next), other.max(here.other.serials.next))
    }
}
