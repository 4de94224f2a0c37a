//! What keeps a receiver from delivering although it has something, and what it knows of major points.

use std::collections::VecDeque;

use super::{Queued, Receiver};
use crate::dialog::Serials;
use crate::frame::{PointKind, SyncPoint};
use crate::stream::answer::Answered;
use crate::stream::position::Serial;

impl Receiver {
    /// A resynchronization is under way, or no longer is: meanwhile nothing is delivered beyond the last separating point.
    /// What comes is received within the credit.
    //= D-16
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// The application was given everything that a resynchronization leaves to it.
    pub fn is_drained(&self) -> bool {
        let goes_back = self.held || self.is_before_base();
        !goes_back || !self.queue.iter().any(Queued::separates)
    }

    /// V(M), V(A) and V(R) of the direction, as this side knows them.
    pub fn serials(&self) -> Serials {
        let next = self.next_serial;
        Serials { next, unconfirmed: self.securing.secured_serial().next().min(next), restart: self.restart }
    }

    /// A major point of the peer counts as secured and waits for its answer. Told once for each, and again when the peer says
    /// it again.
    pub(in crate::stream) fn take_major(&mut self) -> Option<Answered> {
        let secured = self.securing.secured_serial();
        let count = self.answers.majors.partition_point(|serial| *serial <= secured);
        let serial = self.answers.majors.drain(..count).next_back()?;
        self.answers.answered = serial;
        self.restart = self.restart.max(serial.next());
        Some(Answered { generation: self.generation, serial })
    }

    /// The answer to a major point of the own side arrived. Told once.
    pub(in crate::stream) fn take_answer(&mut self) -> Option<Answered> {
        let (serial, answered) = self.answers.arrived.take()?;
        self.restart = self.restart.max(serial.next());
        answered
    }

    /// The application has taken everything before the answer. Told once.
    pub(in crate::stream) fn take_passed_answer(&mut self) -> Option<Answered> {
        self.answers.passed.take()
    }

    /// A point that is here came again: its sender has no answer to it perhaps, since it was lost with an older process.
    pub(super) fn came_again(&mut self, point: &SyncPoint) {
        let is_unanswered = point.kind == PointKind::Major && point.serial != self.answers.answered;
        if is_unanswered && !self.answers.majors.contains(&point.serial) {
            let index = self.answers.majors.partition_point(|serial| *serial < point.serial);
            self.answers.majors.insert(index, point.serial);
        }
    }

    /// Whether nothing that is here may be delivered now.
    pub(super) fn is_held_here(&self) -> bool {
        self.held && !self.queue.iter().any(Queued::separates)
    }
}

impl Queued {
    /// Whether what lies before it is delivered whatever is given up.
    fn separates(&self) -> bool {
        match self {
            Self::Point(point) => point.kind == PointKind::Separating,
            Self::Base(..) => true,
            Self::Messages(_) => false,
        }
    }
}

/// Major points and their answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The major points of the peer that are not answered, in order: one, and those that a resynchronization left. No more
    /// than points may be unconfirmed.
    pub(super) majors: VecDeque<Serial>,
    /// The last one that was answered in the life of this process.
    pub(super) answered: Serial,
    /// An answer came, with that number, and the application has come to one.
    pub(super) arrived: Option<(Serial, Option<Answered>)>,
    pub(super) passed: Option<Answered>,
}

impl Answers {
    pub(super) fn arrived(&mut self, point: &SyncPoint) {
        match point.kind {
            PointKind::Minor | PointKind::Separating => {}
            PointKind::Major => self.majors.push_back(point.serial),
            PointKind::MajorAnswer => self.arrived = Some((point.serial, Answered::of(point))),
        }
    }

    pub(super) fn passed(&mut self, point: &SyncPoint) {
        if point.kind == PointKind::MajorAnswer {
            self.passed = Answered::of(point);
        }
    }
}
