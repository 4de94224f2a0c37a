//! Major sync points: both sides wait until each has answered.

use super::Sender;
use crate::frame::{PointKind, SyncPoint};
use crate::planted::{self, Bug};
use crate::stream::answer::Answered;

/// A dialogue unit that is being closed: its major point is placed, and the own application was not told that it is
/// confirmed.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) point: SyncPoint,
    /// The peer's answering point came, or its direction had ended.
    answered: bool,
    /// The own application has taken everything before that.
    passed: bool,
}

impl Unit {
    pub(super) fn new(point: SyncPoint) -> Self {
        Self { point, answered: false, passed: false }
    }
}

impl Sender {
    /// A major point was placed, or asked for, and is not closed.
    pub fn is_closing_unit(&self) -> bool {
        self.unit.is_some() || self.asked.has(PointKind::Major)
    }

    /// A major point was placed and is not closed: nothing that follows it is sent.
    pub fn is_barred(&self) -> bool {
        self.unit.is_some()
    }

    /// The peer's answer to the major point came. Ignored where none is waited for: a resynchronization was faster.
    pub(in crate::stream) fn unit_answered(&mut self, answered: Answered) {
        if let Some(unit) = self.unit_of(answered) {
            unit.answered = true;
        }
    }

    /// The application has taken everything before the answer.
    pub(in crate::stream) fn unit_passed(&mut self, answered: Answered) {
        if let Some(unit) = self.unit_of(answered) {
            (unit.answered, unit.passed) = (true, true);
        }
    }

    /// The application has taken everything that there is, and there will be no answer but the confirmation.
    pub fn unit_ended(&mut self) {
        if let Some(unit) = &mut self.unit {
            (unit.answered, unit.passed) = (true, true);
        }
    }

    /// Closes the unit if its point is confirmed and everything before the answer taken. Whether it did.
    //= S-6, S-7, I17
    pub fn close_unit(&mut self) -> bool {
        let unconfirmed = self.points.serials().unconfirmed;
        let is_passed = |unit: &Unit| unit.passed || planted::is(Bug::MajorNotAwaited);
        let is_closed =
            self.unit.as_ref().is_some_and(|unit| is_passed(unit) && unit.point.serial < unconfirmed);
        if is_closed {
            self.unit = None;
        }
        is_closed
    }

    /// The own application has secured the peer's major point: the answer lies at the end of what it has given so far.
    /// Where it has ended, the confirmation is all the answer that there is.
    pub(in crate::stream) fn answer_major(&mut self, answered: Answered) {
        if !self.end_written {
            let unit = self.unit.as_ref().map(|unit| unit.point.position.messages);
            let at = unit.unwrap_or(self.replay.end().messages);
            let at = at.max(self.rejoins_at().map_or(0, |place| place.messages));
            self.answer = Some((at, answered));
        }
    }

    /// Whether what follows a major point of the own waits.
    pub(super) fn awaits_answer(&self) -> bool {
        self.unit.is_some()
    }

    /// The major point, where the peer has confirmed it and not answered: it is written once in each attempt, since the
    /// answer may be lost with the peer's process.
    pub(super) fn unanswered(&mut self) -> Option<SyncPoint> {
        let unit = self.unit.as_ref().filter(|unit| !unit.answered)?;
        let is_confirmed = unit.point.serial < self.points.serials().unconfirmed;
        let is_here = unit.point.position == self.replay.cursor();
        let line = self.line.as_mut().filter(|_| is_confirmed && is_here)?;
        let is_due = !std::mem::replace(&mut line.unit_written, true);
        is_due.then(|| unit.point.clone())
    }

    /// Places the answer where it is due.
    pub(super) fn place_answer(&mut self) -> bool {
        let sent = self.replay.sent().messages;
        let Some((_, answered)) = self.answer.filter(|(at, _)| *at <= sent) else { return false };
        if !self.points.has_room(0) {
            return false;
        }
        self.answer = None;
        self.place(PointKind::MajorAnswer, answered.to_state());
        true
    }

    /// The own unit, if that is its major point.
    fn unit_of(&mut self, answered: Answered) -> Option<&mut Unit> {
        let generation = self.generation;
        self.unit.as_mut().filter(|unit| Answered { generation, serial: unit.point.serial } == answered)
    }
}
