//! What keeps a sender from sending although it has something: the turn, a resynchronization, a major point.

use super::Sender;
use super::answering::Unit;
use super::line::Line;
use crate::dialog::Sending;
use crate::frame::PointKind;
use crate::planted::{self, Bug};
use crate::stream::position::Serial;

impl Sender {
    /// From now on it sends that and no more, over all attempts.
    //= I16
    pub fn set_sending(&mut self, sending: Sending) {
        if planted::is(Bug::DataOutOfTurn) && sending == Sending::Again {
            return;
        }
        let goes_back = sending == Sending::Separated;
        // A separating point that follows a major one without an answer cannot be placed, whatever comes yet.
        self.is_stuck = goes_back && (self.is_stuck || self.unit.is_some());
        self.sending = sending;
    }

    /// Whether the peer has everything up to the last separating point that the application has given, and the point.
    pub fn is_separated(&self) -> bool {
        self.separating_to_come().is_none()
            && self.separating.is_none_or(|(serial, _)| serial < self.peer_next)
    }

    /// Whether nothing new may be sent, whatever was given.
    pub fn is_listening(&self) -> bool {
        self.sending == Sending::Again
    }

    /// Whether the application's body is to be polled: there is room, and this side may send what it gives.
    pub fn wants_data(&self) -> bool {
        self.sending == Sending::New && self.has_room()
    }

    /// Bytes that the application gave and that are still to be written in this attempt.
    pub fn unsent_bytes(&self) -> u64 {
        self.replay.unsent()
    }

    /// After how many messages nothing may be sent.
    pub(super) fn holds_at(&self) -> u64 {
        let held = match self.sending {
            Sending::New | Sending::Given => u64::MAX,
            Sending::Again => self.replay.sent().messages,
            Sending::Separated => self.separates_at().unwrap_or(0),
        };
        //= S-7
        let barrier = self.unit.as_ref().map_or(u64::MAX, |unit| unit.point.position.messages);
        held.min(barrier)
    }

    /// Whether it may write nothing at all.
    pub(super) fn is_silent(&self) -> bool {
        match self.sending {
            Sending::New | Sending::Given => false,
            // What the peer lacks it says first: who has the turn has got everything that was sent before.
            Sending::Again => self.line.as_ref().is_some_and(Line::is_tentative),
            Sending::Separated => self.is_separated(),
        }
    }

    /// Whether a point may be placed where the sending stands.
    pub(super) fn may_place_point(&self) -> bool {
        match self.sending {
            Sending::New | Sending::Given | Sending::Again => true,
            Sending::Separated => {
                self.separating_to_come().is_some()
                    || self.separates_at().is_some_and(|at| self.replay.sent().messages < at)
            }
        }
    }

    /// Whether END may be written.
    pub(super) fn may_end(&self) -> bool {
        self.sending != Sending::Separated && !self.awaits_answer()
    }

    /// A point of that kind was placed: the last one.
    pub(super) fn placed(&mut self, kind: PointKind) {
        let Some(point) = self.points.last() else { return };
        match kind {
            PointKind::Minor | PointKind::MajorAnswer => {}
            PointKind::Separating => {
                self.separating = Some((point.serial, point.position.messages));
            }
            PointKind::Major => {
                self.unit = Some(Unit::new(point.clone()));
                self.is_stuck = self.sending == Sending::Separated;
            }
        }
    }

    /// The peer has come to that number.
    pub(super) fn peer_expects(&mut self, next: Serial) {
        self.peer_next = self.peer_next.max(next);
    }

    /// After how many messages the last separating point lies that the peer does not have.
    fn separates_at(&self) -> Option<u64> {
        let placed = self.separating.filter(|(serial, _)| *serial >= self.peer_next).map(|(_, at)| at);
        self.separating_to_come().or(placed)
    }

    /// It can send no more before the resynchronization that it waits with: the peer takes nothing meanwhile, so that there
    /// is no credit to come. What lies before a separating point that is not placed by then is given up, too.
    pub(super) fn stuck(&mut self) {
        let is_tentative = self.line.as_ref().is_some_and(Line::is_tentative);
        let is_at_end = self.replay.cursor() == self.replay.sent();
        self.is_stuck |= self.sending == Sending::Separated && is_at_end && !is_tentative;
    }

    /// After how many messages the last separating point is to be placed, of those that the application has given.
    fn separating_to_come(&self) -> Option<u64> {
        if self.is_stuck { None } else { self.asked.separating(self.replay.end().messages) }
    }
}
