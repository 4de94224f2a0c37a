//! What this side says, and what it may write.

use super::resync::Stage;
use super::token::{Token, TokenSet};
use super::{Dialog, Here, Sending};
use crate::frame::Frame;
use crate::frame::dialog::{DialogAck, Numbered, Primitive};
use crate::stream::position::Position;

impl Dialog {
    /// What is to be written next, before any data; `None`: nothing now, or a [`Reset`](super::Reset) is to be taken first.
    //= D-9, D-29, D-30
    pub fn step(&mut self, here: &Here) -> Option<Frame> {
        self.ended = here.own.ended;
        if self.reset.is_some() {
            return None;
        }
        if let Some(ack) = self.ack() {
            return Some(Frame::DialogAck(ack));
        }
        if let Some(again) = self.outbox.repeat() {
            return Some(Frame::Dialog(again));
        }
        if std::mem::take(&mut self.knows_due) {
            self.ack_due = true;
            return self.ack().map(Frame::DialogAck);
        }
        if self.anew {
            return None;
        }
        let numbered = match self.stage {
            Stage::Asking { .. } => None,
            Stage::Idle => {
                self.hand_over(here);
                self.plead();
                self.say_next(here)
            }
            Stage::Preparing(_) | Stage::Asked(_) | Stage::Answering(..) => {
                self.say_next(here).or_else(|| self.step_resync(here))
            }
        };
        numbered.map(Frame::Dialog)
    }

    /// What may be written of the own direction, after [`step`](Self::step) has answered `None`.
    //= D-1, D-16, I16
    pub fn sending(&self) -> Sending {
        if self.reset.is_some() {
            return Sending::Separated;
        }
        // What this side says may not be overtaken by its data, and it can say nothing yet.
        if self.anew {
            return Sending::Again;
        }
        let is_resync = |said: &Primitive| matches!(said, Primitive::Resync(_) | Primitive::ResyncAck(_));
        let touched = match &self.stage {
            Stage::Idle if self.outbox.unsaid().any(is_resync) => return Sending::Separated,
            Stage::Idle if self.may_send() => return Sending::New,
            Stage::Idle => return Sending::Again,
            Stage::Preparing(request) => request.own.is_some(),
            Stage::Asking { request, .. } if request.own.is_some() => return Sending::Separated,
            // It was said where everything ended that may be sent before the answer.
            Stage::Asking { .. } => return Sending::Again,
            Stage::Asked(request) | Stage::Answering(request, _) => request.other.is_some() && !self.ended,
        };
        match (touched, self.may_send()) {
            (true, _) => Sending::Separated,
            // So that nothing is left that could not be sent when the turn is the other side's.
            (false, true) => Sending::Given,
            (false, false) => Sending::Again,
        }
    }

    fn may_send(&self) -> bool {
        let data = TokenSet::of(Token::Data).and(self.tokens.available());
        data.without(self.tokens.mine()).is_empty()
    }

    fn ack(&mut self) -> Option<DialogAck> {
        if !std::mem::take(&mut self.ack_due) {
            return None;
        }
        let first = std::mem::take(&mut self.first_ack);
        let given = self.outbox.unconfirmed().filter_map(|primitive| match primitive {
            Primitive::Give(holdings) => Some(holdings),
            Primitive::Please(_)
            | Primitive::Typed(_)
            | Primitive::Expedited(_)
            | Primitive::Exception(_)
            | Primitive::Resync(_)
            | Primitive::ResyncAck(_) => None,
        });
        let tells = first && self.tokens.is_known() && !self.anew;
        let holdings = if tells { self.tokens.holdings(given.flatten().copied()) } else { Vec::new() };
        // A restored side says before which number all is lost, and then what it has.
        let anew = first && self.anew;
        self.ack_due = anew && self.inbox.received() > 0;
        Some(DialogAck {
            received: if anew { self.inbox.first() } else { self.inbox.received() },
            typed_taken: self.typed.taken(),
            expedited_taken: self.expedited.taken(),
            holdings,
            anew,
            // What it answers then, it answers to this side, which has said everything again.
            knows_anew: self.knows_anew && self.outbox.is_repeated(),
        })
    }

    /// The next primitive that is new.
    fn say_next(&mut self, here: &Here) -> Option<Numbered> {
        let numbered = self.outbox.next(here.sent)?;
        match &numbered.primitive {
            Primitive::Typed(_) => self.typed.said(numbered.number),
            Primitive::Expedited(_) => self.expedited.said(numbered.number),
            Primitive::Give(_)
            | Primitive::Please(_)
            | Primitive::Exception(_)
            | Primitive::Resync(_)
            | Primitive::ResyncAck(_) => {}
        }
        Some(numbered)
    }

    /// Hands over what the application gave away, once everything before it is sent. A side that has nothing more to send
    /// keeps nothing that the other one may need.
    //= D-3, D-31
    fn hand_over(&mut self, here: &Here) {
        if here.own.ended && !here.other.ended {
            self.giving = self.tokens.mine();
        }
        let giving = self.giving.and(self.tokens.mine());
        let is_idle = here.idle || here.own.ended || !giving.contains(Token::Data);
        if giving.is_empty() || !is_idle || here.given != here.sent {
            return;
        }
        self.giving = TokenSet::NONE;
        let holdings = self.tokens.give(giving);
        self.judges |= giving.contains(Token::Data);
        self.pleases.gave(giving);
        self.outbox.push(here.given, Primitive::Give(holdings));
    }

    /// One request for tokens is on its way at a time; the last one stands for those that were not said. What this side
    /// is about to give is asked for behind that: the other side hears nothing of tokens that it has not.
    fn plead(&mut self) {
        let giving = self.giving.and(self.tokens.mine());
        if self.pleases.wanted().is_some_and(|please| !please.tokens.and(giving).is_empty()) {
            return;
        }
        let is_please = |primitive: &Primitive| matches!(primitive, Primitive::Please(_));
        if !self.outbox.unconfirmed().any(is_please)
            && let Some(please) = self.pleases.say()
        {
            self.outbox.push(Position::ORIGIN, Primitive::Please(please));
        }
    }
}
