//! How a direction goes on at a new base after a resynchronization.

use super::arrival::Arrival;
use super::{Queued, Receiver};
use crate::dialog::ResyncKind;
use crate::frame::PointKind;
use crate::frame::dialog::Base;
use crate::planted::{self, Bug};
use crate::stream::error::Violation;
use crate::stream::position::{Generation, Position};
use crate::stream::resetting::Heard;
use crate::stream::secured::Secured;

impl Receiver {
    /// Goes on at `base`, with what the two applications left there. What is here and was not delivered is dropped, except
    /// what lies before the last separating point: the application is given that first.
    ///
    /// Until it has that, up to 64 KiB more than the window wait here.
    //= D-11, D-16, I14
    pub fn reset(&mut self, kind: ResyncKind, base: &Base, states: &Secured) {
        let Base { serial, position, generation } = *base;
        self.keep_separated();
        match self.queue.is_empty() {
            true => self.delivers_from(position, generation),
            false => {
                self.queue.push_back(Queued::Base(position, generation));
                self.bases += 1;
            }
        }
        let older = self.serials();
        // A major point may have been secured since this side asked; that was void.
        self.restart = older.after(kind, serial).restart.min(serial);
        (self.received, self.verified, self.told) = (position, position, position);
        self.cadence.placed(position);
        self.digest.restart();
        self.securing.reset(states);
        (self.next_serial, self.generation, self.ended) = (serial, generation, None);
        let credit = self.credit_at_first;
        self.granted = self.granted.furthest(position.plus(credit.messages, credit.bytes));
        (self.credit_due, self.received_due, self.tentative) = (true, false, Position::ORIGIN);
        self.answers = Default::default();
        self.here = Default::default();
        self.reset = Heard::Unknown;
        if let Some(arrival) = &mut self.arrival {
            *arrival = Arrival::new(None);
        }
        self.drop_unwanted();
    }

    /// A request for a resynchronization of this direction was said, or is no longer: meanwhile the peer may be in the next
    /// generation.
    pub fn expect_reset(&mut self, is_expected: bool) {
        self.reset = self.reset.expect(is_expected);
    }

    /// The answer to a major point of the own side is not to come any more. One of the peer's is answered still, although
    /// nobody waits for that: what it does to V(R) both sides have to know.
    pub fn forget_unit(&mut self) {
        self.answers.passed = None;
    }

    /// The peer has heard of the reset for certain.
    pub fn reset_heard(&mut self) {
        if self.reset == Heard::Unknown {
            self.reset = Heard::Yes;
        }
    }

    /// Takes the generation of a peer's direction that this side, which was restored, does not know.
    pub(in crate::stream) fn learn_generation(&mut self, stated: Generation) {
        self.generation = self.generation.max(stated);
    }

    /// Whether the peer may begin an attempt of that generation: the current one; an older one when it has not heard of the
    /// last resynchronization; a newer one when it has answered one that was asked for here.
    //= I14
    pub(in crate::stream) fn check_generation(&self, stated: Generation) -> Result<(), Violation> {
        let expected = self.generation;
        let is_possible = match self.reset {
            Heard::Yes => stated == expected,
            Heard::Unknown => stated <= expected,
            Heard::Before => stated >= expected,
        };
        if is_possible { Ok(()) } else { Err(Violation::Generation { stated, expected }) }
    }

    /// The generation of what arrives.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The generation of what the application is given.
    pub fn delivers(&self) -> Generation {
        self.delivers
    }

    /// Everything that an older generation left was taken: the next one is delivered from its base on.
    pub(super) fn delivers_from(&mut self, base: Position, generation: Generation) {
        (self.delivered, self.taken, self.delivers) = (base, base, generation);
        self.credit_due = true;
    }

    /// Whether what is delivered lies before the base of a resynchronization: a separating point kept it. A point that is
    /// [taken](Self::take) meanwhile is not to be [secured](Self::secure): it would stand for a newer one of its number.
    pub fn is_before_base(&self) -> bool {
        self.bases > 0
    }

    /// Bytes that wait for the application or are in its hands.
    pub fn kept_bytes(&self) -> u64 {
        if self.is_before_base() { self.queued_bytes() } else { self.received.since(self.taken).bytes }
    }

    /// The same, of whatever generation.
    pub(super) fn queued_bytes(&self) -> u64 {
        let in_hands = self.delivered.since(self.taken).bytes;
        let waiting = self.queue.iter().map(|queued| match queued {
            Queued::Messages(run) => run.bytes(),
            Queued::Point(_) | Queued::Base(..) => 0,
        });
        in_hands + waiting.sum::<u64>()
    }

    fn keep_separated(&mut self) {
        if planted::is(Bug::OldGenerationDelivered) {
            return;
        }
        let separates =
            |queued: &Queued| matches!(queued, Queued::Point(point) if point.kind == PointKind::Separating);
        let kept = self.queue.iter().rposition(separates).map_or(0, |last| last + 1);
        self.queue.truncate(kept);
        self.bases = self.queue.iter().filter(|queued| matches!(queued, Queued::Base(..))).count();
    }
}
