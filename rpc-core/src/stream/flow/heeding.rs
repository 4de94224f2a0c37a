//! What the dialog does to the bytes of a stream.

use super::Flow;
use super::dialog::{Speech, Unstored};
use crate::dialog::{Dialog, Direction, Here, Phase, Reset};
use crate::frame::dialog::{DialogAck, Numbered, Primitive};
use crate::frame::{Frame, PointKind};
use crate::negotiate::Unit;
use crate::stream::error::{StreamError, Violation};
use crate::stream::secured::{Resumption, Secured};
use crate::time::Timestamp;

impl Flow {
    /// Where the two directions stand.
    pub(super) fn here(&self) -> Here {
        let (sender, receiver) = (&self.sender, &self.receiver);
        // What waits for the turn, or behind a major point, cannot go before the resynchronization, which ends the unit.
        let is_going_back = self.dialog().is_some_and(Dialog::is_resynchronizing);
        let is_stuck = is_going_back && (sender.is_barred() || sender.is_listening());
        let idle = self.speech.as_ref().is_some_and(|speech| speech.idle) || sender.is_ended();
        Here {
            given: if is_stuck { sender.base_position() } else { sender.given() },
            sent: sender.base_position(),
            received: receiver.received(),
            idle: idle && sender.has_placed_all(),
            separated: sender.is_separated(),
            own: Direction {
                serials: sender.serials(),
                generation: sender.generation(),
                ended: sender.is_ended(),
            },
            other: Direction {
                serials: receiver.serials(),
                generation: receiver.generation(),
                ended: receiver.is_complete(),
            },
        }
    }

    /// What the dialog allows now.
    //= D-16, I16
    pub(super) fn heed(&mut self) {
        let Some(Speech { dialog, .. }) = self.speech.as_deref() else { return };
        let is_held = dialog.holds_delivery();
        let is_asked_for = dialog.state().phase == Phase::Asking;
        self.sender.set_sending(dialog.sending());
        self.sender.expect_reset(is_asked_for);
        self.receiver.hold(is_held);
        self.receiver.expect_reset(is_asked_for);
    }

    /// The next frame of the dialog. What it resets is reset before the frame that tells the peer.
    //= O-21
    pub(super) fn dialog_step(&mut self, now: Timestamp) -> Option<Frame> {
        loop {
            let here = self.here();
            let speech = self.speech.as_mut().filter(|speech| speech.unstored.is_none())?;
            speech.dialog.tick(now);
            let frame = speech.dialog.step(&here);
            if let Some(Frame::Dialog(Numbered { number, primitive: Primitive::ResyncAck(_), .. })) = &frame {
                speech.answer = Some(*number);
            }
            let reset = if frame.is_none() { speech.dialog.take_reset() } else { None };
            match reset {
                Some(reset) => self.reset(reset, false),
                None => {
                    self.heed();
                    return frame;
                }
            }
        }
    }

    /// Whether nothing but RECEIVED may be written: what a resynchronization left is to be stored first.
    //= S-3, D-11
    pub(super) fn is_storing_base(&self) -> bool {
        self.speech.as_ref().is_some_and(|speech| speech.unstored.is_some())
    }

    /// A primitive of the peer.
    pub(super) fn heard(&mut self, said: Numbered) -> Result<(), StreamError> {
        let here = self.here();
        // No unit of the dialog is on.
        let Some(speech) = &mut self.speech else { return Err(Violation::Malformed.into()) };
        speech.dialog.heard(said, &here)?;
        self.follow();
        Ok(())
    }

    /// How far the peer has come with what this side said.
    pub(super) fn heard_ack(&mut self, ack: DialogAck) -> Result<(), StreamError> {
        let Some(speech) = &mut self.speech else { return Err(Violation::Malformed.into()) };
        let is_answer_heard = speech.answer.is_some_and(|number| number <= ack.received) && !ack.anew;
        speech.dialog.acked(ack)?;
        if is_answer_heard {
            speech.answer = None;
            self.sender.reset_heard();
            self.receiver.reset_heard();
        }
        self.follow();
        Ok(())
    }

    /// Messages, a point or END arrived.
    pub(super) fn arrived(&mut self) -> Result<(), StreamError> {
        if self.speech.is_none() {
            return Ok(());
        }
        if let Some(answered) = self.receiver.take_answer() {
            self.sender.unit_answered(answered);
        }
        let here = self.here();
        if let Some(speech) = &mut self.speech {
            speech.dialog.received(&here)?;
        }
        self.follow();
        self.synchronize();
        Ok(())
    }

    /// Whether the peer may place a point of that kind.
    //= O-21
    pub(in crate::stream) fn check_kind(&self, kind: PointKind) -> Result<(), Violation> {
        let unit = match kind {
            PointKind::Minor => return Ok(()),
            PointKind::Separating => Unit::DataSeparation,
            PointKind::Major | PointKind::MajorAnswer => Unit::MajorSynchronize,
        };
        let is_on = self.speech.as_ref().is_some_and(|speech| speech.units.contains(unit));
        if is_on { Ok(()) } else { Err(Violation::UnitOff(unit)) }
    }

    /// Something was taken, secured, stored or confirmed: major points are answered and units closed.
    //= S-6, S-7
    pub(super) fn synchronize(&mut self) {
        let Some(speech) = &mut self.speech else { return };
        if let Some(major) = self.receiver.take_major() {
            self.sender.answer_major(major);
        }
        if let Some(answered) = self.receiver.take_passed_answer() {
            self.sender.unit_passed(answered);
        }
        if self.receiver.is_finished() {
            self.sender.unit_ended();
        }
        if self.sender.close_unit() {
            speech.units_closed += 1;
        }
    }

    /// The application's body gave something, or ended.
    pub(super) fn gave(&mut self) {
        if let Some(speech) = &mut self.speech {
            speech.idle = false;
        }
    }

    /// An attempt begins.
    pub(super) fn dialog_attempt(&mut self, resumed: bool) {
        if self.speech.is_none() {
            return;
        }
        let here = self.here();
        let Some(speech) = &mut self.speech else { return };
        speech.dialog.attempt(resumed, &here);
        self.heed();
    }

    /// The resynchronization that is to be stored, where there is one: what counts until then.
    pub(super) fn before_reset(&self) -> Option<&Resumption> {
        let unstored = self.speech.as_ref()?.unstored.as_ref()?;
        Some(&unstored.before)
    }

    /// Whether what was stored has the last resynchronization in it. What was answered before that has not, and does not
    /// count any more.
    pub(super) fn is_of_base(&mut self, sent: Option<&Secured>, received: Option<&Secured>) -> bool {
        let Some(speech) = &mut self.speech else { return true };
        let Some(unstored) = &speech.unstored else { return true };
        let has = |stored: Option<&Secured>, base: &Option<Secured>| {
            let Some(base) = base else { return true };
            stored.is_some_and(|stored| stored.is_from(base))
        };
        let is_stored = has(sent, &unstored.sent) && has(received, &unstored.received);
        if is_stored {
            speech.unstored = None;
        }
        is_stored
    }

    /// What the dialog reset, until it has nothing more to say.
    fn follow(&mut self) {
        while let Some(reset) = self.speech.as_mut().and_then(|speech| speech.dialog.take_reset()) {
            self.reset(reset, true);
        }
        self.heed();
    }

    /// Both directions go on where the two sides agreed, `by_peer`: which told this side, and so knows of it.
    //= D-11, I14
    fn reset(&mut self, reset: Reset, by_peer: bool) {
        let before = self.resumption();
        let Reset { kind, own, other, own_state, other_state } = reset;
        let sent = own.map(|base| base.secured(own_state.clone(), other_state.clone()));
        let received = other.map(|base| base.secured(other_state, own_state));
        self.sender.forget_unit();
        self.receiver.forget_unit();
        if let (Some(base), Some(states)) = (&own, &sent) {
            self.sender.reset(kind, base, states);
        }
        if let (Some(base), Some(states)) = (&other, &received) {
            self.receiver.reset(kind, base, states);
        }
        if by_peer {
            self.sender.reset_heard();
            self.receiver.reset_heard();
        }
        let Some(speech) = &mut self.speech else { return };
        speech.resets = speech.resets.saturating_add(1);
        if self.durable {
            let older = speech.unstored.take();
            let (older_sent, older_received) =
                older.map_or((None, None), |older| (older.sent, older.received));
            let (sent, received) = (sent.or(older_sent), received.or(older_received));
            speech.unstored = Some(Unstored { before, sent, received });
        }
    }
}
