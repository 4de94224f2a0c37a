//! How a resynchronization is asked for, answered and settled.

use super::resync::{Answer, Answered, Confirmation, Request, Reset, ResyncKind, Stage};
use super::serials::SERIAL_MAX;
use super::token::TokenSet;
use super::{Dialog, Event, Here, Turn};
use crate::frame::dialog::{Base, Numbered, Primitive, Resync, ResyncAck, Wish};
use crate::stream::error::Violation;
use crate::stream::position::{Generation, Position, Serial};

impl Dialog {
    /// Says the request, or settles what is answered, once the peer has what is safe from it, and in a resumed attempt has
    /// said that it is still the one that asked.
    //= D-16, D-34
    pub(super) fn step_resync(&mut self, here: &Here) -> Option<Numbered> {
        let touched = match &self.stage {
            Stage::Preparing(request) => request.own.is_some(),
            Stage::Answering(request, _) => request.other.is_some() && !here.own.ended,
            Stage::Idle | Stage::Asking { .. } | Stage::Asked(_) => return None,
        };
        // What stays untouched is sent while this side has the turn, which it may lose. Not in duplex: each side would wait
        // for credit that the other one, which delivers nothing any more, does not give.
        let may_wait = self.state().turn == Turn::Both;
        let is_ready = if touched { here.separated } else { may_wait || here.given == here.sent };
        if !is_ready || !self.met {
            return None;
        }
        match std::mem::take(&mut self.stage) {
            Stage::Preparing(request) => self.say_request(&request, here),
            Stage::Answering(request, answer) => {
                self.settle(request, answer, here);
                None
            }
            stage @ (Stage::Idle | Stage::Asking { .. } | Stage::Asked(_)) => {
                self.stage = stage;
                None
            }
        }
    }

    //= D-11, D-12
    fn say_request(&mut self, request: &Request, here: &Here) -> Option<Numbered> {
        let Request { kind, own, other, wishes, state } = request.clone();
        let (unused, _) = self.unused(here);
        // Points may have been placed or confirmed since it was asked for.
        let own = own.map(|serial| base(here.own.serials.agree(kind, serial, unused), here));
        let request = Resync { kind, own, other, wishes, state };
        let numbered = self.outbox.say(after(own, here), Primitive::Resync(request.clone()))?;
        self.stage = Stage::Asking { request, number: numbered.number };
        Some(numbered)
    }

    /// This side is asked, and agrees.
    //= D-11, D-12, D-13, D-14, I12, I14
    fn settle(&mut self, request: Resync, answer: Answer, here: &Here) {
        let (own_unused, other_unused) = self.unused(here);
        let kind = request.kind;
        // A direction that has ended does not begin again.
        let own = request.other.filter(|_| !here.own.ended);
        let own = own.map(|asked| base(here.own.serials.agree(kind, asked, own_unused), here));
        let agreed = |asked: Base| Base {
            serial: here.other.serials.agree(kind, asked.serial, other_unused),
            ..asked
        };
        let other = request.own.map(agreed);
        let mine = self.wished(&request, answer.mine);
        let holdings = self.tokens.assign(mine);
        let ack =
            ResyncAck { own, other: other.map(|base| base.serial), holdings, state: answer.state.clone() };
        self.outbox.push(after(own, here), Primitive::ResyncAck(ack));
        self.reset_to(Reset { kind, own, other, own_state: answer.state, other_state: request.state }, here);
    }

    /// The peer agrees to what this side asked for.
    //= D-11, D-12, D-13, D-14, I12, I14
    pub(super) fn hear_answer(&mut self, ack: ResyncAck, here: &Here) -> Result<(), Violation> {
        if self.was_restored && matches!(self.stage, Stage::Idle | Stage::Preparing(_)) {
            return self.hear_answer_to_the_dead(ack, here);
        }
        self.judge(Event::HeardAnswer)?;
        let Stage::Asking { request, .. } = &self.stage else {
            return Err(Violation::OutOfPlace { event: Event::HeardAnswer, state: self.state() });
        };
        check_answer(request, &ack, here)?;
        self.tokens.assigned(&ack.holdings)?;
        let Stage::Asking { request, .. } = std::mem::take(&mut self.stage) else { return Ok(()) };
        let own = request.own.zip(ack.other).map(|(base, serial)| Base { serial, ..base });
        self.answered = Some(Answered::Confirmed(Confirmation {
            kind: request.kind,
            own: own.map(|base| base.serial),
            other: ack.own.map(|base| base.serial),
            state: ack.state.clone(),
        }));
        let reset = Reset {
            kind: request.kind,
            own,
            other: ack.own,
            own_state: request.state,
            other_state: ack.state,
        };
        self.reset_to(reset, here);
        Ok(())
    }

    /// The request died with the process before this one. The peer has gone back: the direction that it sends goes on from
    /// its base, unless this side has stored that already, or a later one; the other one goes on where the peer says that it
    /// stands.
    fn hear_answer_to_the_dead(&mut self, ack: ResyncAck, here: &Here) -> Result<(), Violation> {
        self.tokens.learn(&ack.holdings);
        self.learned();
        let is_ahead =
            |base: &Base| here.received.within(base.position) && base.generation >= here.other.generation;
        let Some(base) = ack.own.filter(is_ahead) else { return Ok(()) };
        let kind = ResyncKind::Set;
        let reset = Reset {
            kind,
            own: None,
            other: Some(base),
            own_state: bytes::Bytes::new(),
            other_state: ack.state,
        };
        self.reset_to(reset, here);
        Ok(())
    }

    /// Both directions, or the one that is touched, go on from their base.
    fn reset_to(&mut self, reset: Reset, here: &Here) {
        let (own, other) = self.unused(here);
        self.unused = [own, other];
        for (unused, base) in self.unused.iter_mut().zip([reset.own, reset.other]) {
            *unused = base.map_or(*unused, |base| base.serial.max(*unused));
        }
        if let Some(base) = reset.own {
            self.outbox.cut(base.position);
        }
        if let Some(base) = reset.other {
            self.heard_to = base.position;
        }
        self.giving = TokenSet::NONE;
        self.judges = true;
        self.exceptions.settled();
        self.pleases.came(self.tokens.mine());
        self.pleases.gave(self.tokens.available().without(self.tokens.mine()));
        self.reset = Some(reset);
    }

    /// The tokens that are this side's after the resynchronization it was asked for.
    fn wished(&self, request: &Resync, chosen: TokenSet) -> TokenSet {
        let mine = self.tokens.mine();
        let is_mine = |token| match request.wishes.iter().find(|(wished, _)| *wished == token) {
            Some((_, Wish::Mine)) => false,
            Some((_, Wish::Yours)) => true,
            Some((_, Wish::Choose)) => chosen.contains(token),
            None => mine.contains(token),
        };
        self.tokens.available().iter().filter(|token| is_mine(*token)).collect()
    }

    /// Whether the peer can ask for that.
    //= D-11, D-12, I12
    pub(super) fn check_resync(&self, request: &Resync, here: &Here) -> Result<(), Violation> {
        let Resync { kind, own, other, wishes: _, state: _ } = request;
        if let Some(base) = own {
            check_base(base, here, self.was_restored)?;
            if here.other.ended || base.serial > SERIAL_MAX {
                return Err(refused(base.serial, base.position));
            }
        }
        let (_, most) = here.own.serials.range(*kind, Serial::FIRST);
        // A restored side may not know yet how far its points were, nor one whose own reset came at the same time.
        let is_vague = self.was_restored || self.reset.is_some();
        let most = if is_vague { SERIAL_MAX } else { most };
        let beyond = |serial: &Serial| *serial == Serial::NONE || *serial > most;
        match other {
            Some(serial) if beyond(serial) => Err(refused(*serial, here.sent)),
            None if own.is_none() => Err(refused(Serial::NONE, here.sent)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether that answers the request.
//= D-11, D-12, D-13, D-14, I12
fn check_answer(request: &Resync, ack: &ResyncAck, here: &Here) -> Result<(), Violation> {
    let fits = |asked: Serial, agreed: Serial| match request.kind {
        ResyncKind::Set => agreed == asked,
        ResyncKind::Abandon => agreed >= asked,
        ResyncKind::Restart => agreed >= asked && agreed.0 < u64::MAX,
    };
    let own = match (request.own, ack.other) {
        (Some(base), Some(agreed)) => fits(base.serial, agreed),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let (_, most) = here.own.serials.range(request.kind, Serial::FIRST);
    if !own || ack.other.is_some_and(|agreed| agreed > most) {
        return Err(refused(ack.other.unwrap_or_default(), here.sent));
    }
    let Some(base) = &ack.own else { return Ok(()) };
    check_base(base, here, false)?;
    if !request.other.is_some_and(|asked| fits(asked, base.serial)) {
        return Err(refused(base.serial, base.position));
    }
    Ok(())
}

/// Whether the direction that comes in can go on from there. A side that was restored may have stored that it does, and be
/// asked once more by a peer that never had the answer.
fn check_base(base: &Base, here: &Here, restored: bool) -> Result<(), Violation> {
    let known = here.other.generation;
    let is_new = base.generation > known || restored && base.generation == known;
    if base.serial == Serial::NONE || !is_new || !here.received.within(base.position) {
        return Err(refused(base.serial, base.position));
    }
    Ok(())
}

fn refused(serial: Serial, position: Position) -> Violation {
    Violation::Resynchronized { serial, position }
}

/// What a direction that stays untouched has sent arrives before the turn may change.
//= D-30
fn after(own: Option<Base>, here: &Here) -> Position {
    if own.is_some() { Position::ORIGIN } else { here.sent }
}

/// Where the own direction goes on.
//= D-11
fn base(serial: Serial, here: &Here) -> Base {
    let generation = Generation(here.own.generation.0.saturating_add(1));
    Base { serial, position: here.sent, generation }
}
