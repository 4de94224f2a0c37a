//! How a direction goes on at a new base after a resynchronization.

use super::Sender;
use super::line::Line;
use crate::dialog::ResyncKind;
use crate::frame::Received;
use crate::frame::dialog::Base;
use crate::stream::position::{Position, Serial};
use crate::stream::replay::Replay;
use crate::stream::resetting::Heard;
use crate::stream::secured::Secured;

impl Sender {
    /// End of everything that was ever sent: where the next generation begins.
    pub fn base_position(&self) -> Position {
        let known = self.replay.sent().furthest(self.peer_received);
        self.rejoins_at().map_or(known, |place| known.furthest(place))
    }

    /// A request for a resynchronization of this direction was said, or is no longer: meanwhile the peer may be in the next
    /// generation.
    pub fn expect_reset(&mut self, is_expected: bool) {
        self.reset = self.reset.expect(is_expected);
    }

    /// Goes on at `base`, with what the two applications left there. Nothing of what was given before is sent any more, and
    /// the points that were asked for are forgotten. What the application has given of a message that is not whole stays, as
    /// the beginning of the first.
    ///
    /// The peer is there: it dropped what it had, or does so when it hears of it.
    //= D-11, I12, I14
    pub fn reset(&mut self, kind: ResyncKind, base: &Base, states: &Secured) {
        let Base { serial: _, position, generation } = *base;
        self.cadence.placed(position);
        self.replay = Replay::starting_at(position);
        self.digest.restart();
        self.points.reset(kind, states.point());
        self.asked = Default::default();
        (self.unit, self.separating, self.answer) = (None, None, None);
        (self.ended, self.end_written, self.batch_ended) = (false, false, false);
        let credit = self.credit_at_first;
        self.limit = self.limit.furthest(position.plus(credit.messages, credit.bytes));
        self.peer_received = position;
        self.peer_next = base.serial;
        self.confirmed = Some((states.point(), states.ack()));
        self.generation = generation;
        (self.rejoining, self.rejoined) = (None, None);
        self.reset = Heard::Unknown;
        if let Some(line) = &mut self.line {
            *line = Line::new(position, line.tentative_bytes, true, base.serial);
        }
    }

    /// The peer has heard of the reset for certain: what it says from now on is of the current generation.
    pub fn reset_heard(&mut self) {
        if self.reset == Heard::Unknown {
            self.reset = Heard::Yes;
        }
    }

    /// A resynchronization of either direction ends the dialogue unit that was to be closed.
    pub fn forget_unit(&mut self) {
        self.unit = None;
    }

    /// Whether the peer speaks of a generation that is not the current one, and may.
    //= I14
    pub(super) fn is_of_another_generation(&self, peer: &Received) -> bool {
        match self.reset {
            Heard::Yes => false,
            // One that was restored knows the generation from the attempt's header, and not where it begins.
            Heard::Unknown => peer.generation < self.generation || !self.replay.base().within(peer.position),
            Heard::Before => peer.generation > self.generation,
        }
    }

    /// Whether a confirmation is of a point that is no longer, or not yet known here: nothing follows from it. The peer
    /// repeats the last one in each attempt, the base after a reset.
    //= I14
    pub(super) fn is_ack_of_another_generation(&self, serial: Serial) -> bool {
        match self.reset {
            Heard::Yes => false,
            Heard::Unknown => true,
            Heard::Before => serial >= self.points.serials().next,
        }
    }

    /// It has said what it has, in words of another generation. What is known of it is enough.
    pub(super) fn answered_from_afar(&mut self, peer: &Received) {
        self.limit = self.limit.furthest(peer.limit);
        if let Some(line) = &mut self.line {
            if line.is_tentative() {
                self.tentative.answered();
            }
            line.tentative_bytes = None;
        }
    }
}
