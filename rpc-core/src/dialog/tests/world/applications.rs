//! What the two applications do, as far as their dialog lets them.

use bytes::Bytes;

use super::{Message, Wire, World};
use crate::dialog::{Answer, Phase, Request, Sending, TokenSet};
use crate::frame::dialog::{Cause, Exception, Please};
use crate::stream::position::{Generation, Serial};

impl World {
    /// The application places a separating point after what is sent.
    pub(in crate::dialog::tests) fn separate(&mut self, side: usize) {
        let peer = &mut self.peers[side];
        if peer.dialog.sending() == Sending::New {
            peer.separating = peer.sent;
        }
    }

    /// The receiving application has closed a dialogue unit.
    pub(in crate::dialog::tests) fn close_unit(&mut self, side: usize) {
        let peer = &mut self.peers[side];
        if peer.dialog.state().phase == Phase::Idle && self.connected {
            peer.other.serials.restart = peer.other.serials.next;
            let closed = Wire::Closed(peer.other.generation, peer.other.serials.next);
            self.links[1 - side].push_back(closed);
        }
    }

    /// The application gives data, if it is asked for some.
    pub(in crate::dialog::tests) fn give_data(&mut self, side: usize) {
        let stamp = self.model.stamp();
        let peer = &mut self.peers[side];
        if peer.own.ended || peer.dialog.sending() != Sending::New {
            return;
        }
        let message = Message { position: 0, serial: Serial::NONE, generation: Generation::default(), stamp };
        peer.given.push_back(message);
        peer.given_to += 1;
        peer.idle = false;
    }

    pub(in crate::dialog::tests) fn end(&mut self, side: usize) {
        let peer = &mut self.peers[side];
        if peer.dialog.state().phase == Phase::Idle
            && self.peers[1 - side].dialog.state().phase == Phase::Idle
        {
            self.peers[side].own.ended = true;
        }
    }

    pub(in crate::dialog::tests) fn typed(&mut self, side: usize, expedited: bool) {
        let stamp = self.model.stamp();
        let peer = &mut self.peers[side];
        let here = peer.here();
        let bytes = Bytes::copy_from_slice(&stamp.to_be_bytes());
        let done = if expedited { peer.dialog.expedited(bytes) } else { peer.dialog.typed(bytes, &here) };
        if done.is_ok() {
            self.model.piece(side, expedited, stamp);
        }
    }

    pub(in crate::dialog::tests) fn take_pieces(&mut self, side: usize) {
        while let Some(bytes) = self.peers[side].dialog.take_typed() {
            self.model.took(side, false, &bytes);
        }
        while let Some(bytes) = self.peers[side].dialog.take_expedited() {
            self.model.took(side, true, &bytes);
        }
        self.peers[side].dialog.take_exception();
    }

    pub(in crate::dialog::tests) fn report(&mut self, side: usize) {
        let report = Exception { cause: Cause::Local, detail: String::new() };
        let _ = self.peers[side].dialog.report(report);
    }

    pub(in crate::dialog::tests) fn please(&mut self, side: usize, tokens: TokenSet) {
        let please = Please { tokens, priority: 1, within_ms: 5 };
        let _ = self.peers[side].dialog.please(please, self.now);
    }

    pub(in crate::dialog::tests) fn give_tokens(&mut self, side: usize, tokens: TokenSet) {
        let dialog = &mut self.peers[side].dialog;
        let owned = dialog.owned();
        let _ = dialog.give(tokens.and(owned));
    }

    pub(in crate::dialog::tests) fn resynchronize(&mut self, side: usize, mut request: Request) {
        let peer = &mut self.peers[side];
        let here = peer.here();
        request.own = request.own.filter(|_| !here.own.ended);
        request.other = request.other.filter(|_| !here.other.ended);
        let _ = peer.dialog.resynchronize(request, &here);
    }

    pub(in crate::dialog::tests) fn answer(&mut self, side: usize, mine: TokenSet) {
        if self.peers[side].dialog.indication().is_some() {
            self.peers[side].dialog.answer(Answer { state: Bytes::new(), mine }).expect("it is asked");
        }
    }
}
