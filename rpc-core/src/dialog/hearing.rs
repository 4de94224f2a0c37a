//! What the peer says.

use super::phase::{Event, Verdict};
use super::resync::{Answered, Crossing, Stage};
use super::token::{Holding, Token, TokenSet};
use super::{Dialog, Here, Phase};
use crate::frame::dialog::{DialogAck, Numbered, Primitive, Resync};
use crate::negotiate::Unit;
use crate::planted::{self, Bug};
use crate::stream::error::Violation;
use crate::stream::flow::Side;

impl Dialog {
    /// DIALOG came. What arrived before is dropped; what comes before its data waits for that.
    ///
    /// # Errors
    ///
    /// The peer may not say this now, or at all.
    //= D-29, D-30, D-32
    pub fn heard(&mut self, numbered: Numbered, here: &Here) -> Result<(), Violation> {
        self.check_unit(&numbered.primitive)?;
        self.ack_due = true;
        if self.inbox.arrived(numbered.number)? {
            return Ok(());
        }
        // Who has asked for a resynchronization says nothing before the answer.
        if self.state().phase == Phase::Asked {
            self.judge(event(&numbered.primitive))?;
        }
        match &numbered.primitive {
            Primitive::Typed(_) => self.typed.arrived()?,
            Primitive::Expedited(_) => self.expedited.arrived()?,
            // The data that others wait for is given up.
            Primitive::Resync(request)
                if request.own.is_some() && (self.is_answered() || self.wins(request)) =>
            {
                self.hear_waiting(here)?;
            }
            Primitive::ResyncAck(ack) if ack.own.is_some() => self.hear_waiting(here)?,
            Primitive::Give(_)
            | Primitive::Please(_)
            | Primitive::Exception(_)
            | Primitive::Resync(_)
            | Primitive::ResyncAck(_) => {}
        }
        if self.inbox.is_early(&numbered, here.received) {
            return self.inbox.keep(numbered);
        }
        self.hear(numbered, here)
    }

    /// Data or END came: primitives that waited for it are heard.
    ///
    /// # Errors
    ///
    /// The peer has not the turn, or has asked for a resynchronization.
    //= I16, D-1, D-30
    pub fn received(&mut self, here: &Here) -> Result<(), Violation> {
        if here.received != self.heard_to {
            self.heard_to = here.received;
            if self.judges {
                self.judge(Event::HeardData)?;
            }
        }
        while let Some(numbered) = self.inbox.open(here.received) {
            self.hear(numbered, here)?;
        }
        Ok(())
    }

    /// DIALOG_ACK came.
    ///
    /// # Errors
    ///
    /// It confirms what was not said, or the tokens cannot be as it says.
    //= D-4, D-29
    pub fn acked(&mut self, ack: DialogAck) -> Result<(), Violation> {
        let DialogAck { received, typed_taken, expedited_taken, holdings, anew, knows_anew } = ack;
        if let Some(holding) =
            holdings.iter().find(|holding| !self.tokens.available().contains(holding.token))
        {
            return Err(Violation::UnitOff(unit(holding.token)));
        }
        self.anew &= !knows_anew;
        self.met = true;
        if anew {
            self.outbox.check_said(received)?;
            self.peer_restored(received);
            return Ok(());
        }
        let taken = typed_taken.max(expedited_taken);
        if taken > received {
            return Err(Violation::Unsaid { number: taken, last: received });
        }
        self.outbox.confirm(received)?;
        self.typed.peer_took(typed_taken);
        self.expedited.peer_took(expedited_taken);
        // The answer says who owns what.
        if self.state().phase == Phase::Asking && self.tokens.is_known() {
            return Ok(());
        }
        // Only the first of a resumed attempt tells.
        if holdings.is_empty() && !self.tokens.available().is_empty() {
            return Ok(());
        }
        let under_way = self.gives_under_way();
        self.tokens.compare(&holdings, under_way)?;
        self.learned();
        Ok(())
    }

    /// A restored side was told who owns what: it may have asked for what was its own all the time.
    pub(super) fn learned(&mut self) {
        self.pleases.came(self.tokens.mine());
        if self.tokens.mine().contains(Token::Data) {
            self.exceptions.settled();
        }
    }

    /// The peer lost what it had received before the number `first`; 0: all that it ever confirmed.
    //= D-33
    fn peer_restored(&mut self, first: u64) {
        let lost = first.checked_sub(1).unwrap_or_else(|| self.outbox.confirmed());
        self.inbox.peer_restored();
        self.typed.peer_restored(lost, self.inbox.received());
        self.expedited.peer_restored(lost, self.inbox.received());
        self.pleases.peer_restored();
        self.exceptions.settled();
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Asked(_) | Stage::Answering(..) => Stage::Idle,
            Stage::Asking { request, number } if number <= lost => Stage::Preparing(again(request)),
            stage @ (Stage::Idle | Stage::Preparing(_) | Stage::Asking { .. }) => stage,
        };
        self.knows_anew = true;
        self.knows_due = true;
    }

    fn hear_waiting(&mut self, here: &Here) -> Result<(), Violation> {
        while let Some(numbered) = self.inbox.open_any() {
            self.hear(numbered, here)?;
        }
        Ok(())
    }

    fn hear(&mut self, numbered: Numbered, here: &Here) -> Result<(), Violation> {
        let Numbered { number, after, primitive } = numbered;
        match primitive {
            Primitive::Give(holdings) => {
                self.hear_give(&holdings)?;
                let spoke_on = after.within(here.received) && after != here.received;
                if self.judges && spoke_on && holdings.iter().any(|holding| holding.token == Token::Data) {
                    self.judge(Event::HeardData)?;
                }
            }
            Primitive::Please(please) => {
                if self.judge(Event::HeardPlease)? {
                    // It may have come before the token that it asks for, which waits for its data.
                    self.pleases.heard(please, self.tokens.mine().or(self.gives_under_way()));
                }
            }
            Primitive::Typed(bytes) => {
                self.judge(Event::HeardTyped)?;
                self.typed.heard(number, bytes);
            }
            Primitive::Expedited(bytes) => {
                self.judge(Event::HeardExpedited)?;
                self.expedited.heard(number, bytes);
            }
            Primitive::Exception(exception) => {
                if self.judge(Event::HeardException)? {
                    self.exceptions.heard(exception);
                }
            }
            Primitive::Resync(request) => self.hear_resync(request, here)?,
            Primitive::ResyncAck(ack) => self.hear_answer(ack, here)?,
        }
        Ok(())
    }

    //= D-3, D-4, I15
    fn hear_give(&mut self, holdings: &[Holding]) -> Result<(), Violation> {
        for holding in holdings {
            if holding.token == Token::Data && self.tokens.is_newer(holding) {
                self.judge(Event::HeardGive)?;
                self.exceptions.settled();
                self.judges = true;
            }
            self.tokens.take(holding)?;
        }
        self.pleases.came(self.tokens.mine().without(self.giving));
        Ok(())
    }

    //= D-15, D-16, I20
    fn hear_resync(&mut self, request: Resync, here: &Here) -> Result<(), Violation> {
        self.check_resync(&request, here)?;
        let wins = self.wins(&request);
        if !self.judge(if wins { Event::HeardResync } else { Event::HeardLosingResync })? {
            return Ok(());
        }
        if self.state().phase == Phase::Asking {
            self.answered = Some(Answered::Lost);
            // A peer that dies forgets that it won, and must not take the request for a new one.
            self.outbox.withdraw_resync(self.pleases.wanted().unwrap_or_default());
        }
        self.exceptions.settled();
        self.stage = Stage::Asked(request);
        Ok(())
    }

    /// Whether the answer to the own request is here and waits for data.
    pub(super) fn is_answered(&self) -> bool {
        self.inbox.gated().any(|primitive| matches!(primitive, Primitive::ResyncAck(_)))
    }

    /// Whether the peer's request stands, because none of this side crosses it or it wins.
    //= D-15, I20
    fn wins(&self, request: &Resync) -> bool {
        match &self.stage {
            Stage::Asking { request: mine, .. } => {
                let crossing = |side| match (side, self.terms.side) {
                    (Side::Client, Side::Client) | (Side::Server, Side::Server) => Crossing::of(side, mine),
                    (Side::Client, Side::Server) | (Side::Server, Side::Client) => {
                        Crossing::of(side, request)
                    }
                };
                let winner = Crossing::winner(crossing(Side::Client), crossing(Side::Server));
                let is_reversed = planted::is(Bug::CollisionReversed) && self.terms.side == Side::Server;
                (winner != self.terms.side) != is_reversed
            }
            // What was not said yet crosses nothing.
            Stage::Idle | Stage::Preparing(_) | Stage::Asked(_) | Stage::Answering(..) => true,
        }
    }

    /// The table's verdict: whether it happens or is void.
    pub(super) fn judge(&self, event: Event) -> Result<bool, Violation> {
        let state = self.state();
        match state.on(event) {
            Verdict::Next(_) | Verdict::Settles => Ok(true),
            Verdict::Void => Ok(false),
            Verdict::Violation
            | Verdict::Missing
            | Verdict::Owned
            | Verdict::Unavailable
            | Verdict::Busy
            | Verdict::NotAsked => Err(Violation::OutOfPlace { event, state }),
        }
    }

    fn gives_under_way(&self) -> TokenSet {
        let tokens = self.inbox.gated().filter_map(|primitive| match primitive {
            Primitive::Give(holdings) => Some(holdings.iter().map(|holding| holding.token)),
            Primitive::Please(_)
            | Primitive::Typed(_)
            | Primitive::Expedited(_)
            | Primitive::Exception(_)
            | Primitive::Resync(_)
            | Primitive::ResyncAck(_) => None,
        });
        tokens.flatten().collect()
    }

    //= D-32
    fn check_unit(&self, primitive: &Primitive) -> Result<(), Violation> {
        let available = self.tokens.available();
        let foreign = |tokens: TokenSet| tokens.without(available).iter().next().map(unit);
        let on = |unit: Unit| (!self.terms.units.contains(unit)).then_some(unit);
        let off = match primitive {
            Primitive::Give(holdings) => foreign(holdings.iter().map(|holding| holding.token).collect()),
            Primitive::Please(please) => foreign(please.tokens),
            Primitive::Typed(_) => on(Unit::TypedData),
            Primitive::Expedited(_) => on(Unit::ExpeditedData),
            Primitive::Exception(_) => on(Unit::Exceptions),
            Primitive::Resync(request) => on(Unit::Resynchronize)
                .or_else(|| foreign(request.wishes.iter().map(|(token, _)| *token).collect())),
            Primitive::ResyncAck(_) => on(Unit::Resynchronize),
        };
        off.map_or(Ok(()), |unit| Err(Violation::UnitOff(unit)))
    }
}

fn event(primitive: &Primitive) -> Event {
    match primitive {
        Primitive::Give(_) => Event::HeardGive,
        Primitive::Please(_) => Event::HeardPlease,
        Primitive::Typed(_) => Event::HeardTyped,
        Primitive::Expedited(_) => Event::HeardExpedited,
        Primitive::Exception(_) => Event::HeardException,
        Primitive::Resync(_) => Event::HeardResync,
        Primitive::ResyncAck(_) => Event::HeardAnswer,
    }
}

/// The unit without which there is no such token.
fn unit(token: Token) -> Unit {
    match token {
        Token::Data => Unit::HalfDuplex,
        Token::Minor => Unit::MinorSynchronize,
        Token::Major => Unit::MajorSynchronize,
        Token::Release => Unit::NegotiatedRelease,
    }
}

/// What was asked for, to be asked again.
fn again(request: Resync) -> super::Request {
    let Resync { kind, own, other, wishes, state } = request;
    super::Request { kind, own: own.map(|base| base.serial), other, wishes, state }
}
