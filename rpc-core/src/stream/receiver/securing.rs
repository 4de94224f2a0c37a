//! Which points are secured, which of them are stored, and who is told.

use std::collections::VecDeque;

use bytes::Bytes;

use super::has_room;
use crate::frame::{SyncAck, SyncPoint};
use crate::planted::{self, Bug};
use crate::policy::Secure;
use crate::stream::Config;
use crate::stream::error::{SecureError, StreamError};
use crate::stream::position::{Position, Serial};
use crate::stream::secured::Secured;

/// The points that arrived and are not declared secured, oldest first, and the last one that is.
///
/// A declaration counts when it is made, or, where confirmations are held, when it is stored: a sender that was told of it
/// sooner would forget what nobody has after a crash.
#[derive(Debug)]
pub(super) struct Securing {
    mode: Secure,
    held: bool,
    waiting: VecDeque<Waiting>,
    state_bytes: usize,
    /// The last point that the application has come to.
    passed: Serial,
    /// The last point that the application declared secured.
    declared: Option<Declared>,
    /// The last one that counts. Not after `declared`.
    secured: Option<Declared>,
    due: bool,
}

/// A point that is not declared secured.
#[derive(Debug)]
struct Waiting {
    point: SyncPoint,
    /// The application knows it under an older number: it is secured with the one before.
    again: bool,
}

/// A point with what the application left there.
#[derive(Debug, Clone)]
struct Declared {
    point: SyncPoint,
    state: Bytes,
}

impl Securing {
    /// Of a direction that goes on from `secured`, or from its beginning.
    pub(super) fn new(config: &Config, secured: Option<&Secured>) -> Self {
        let secured =
            secured.map(|secured| Declared { point: secured.point(), state: secured.receiver_state.clone() });
        Self {
            mode: config.secure,
            held: config.durable,
            waiting: VecDeque::new(),
            state_bytes: 0,
            passed: secured.as_ref().map_or(Serial::NONE, |last| last.point.serial),
            declared: secured.clone(),
            secured,
            due: false,
        }
    }

    pub(super) fn explicitly(&mut self) {
        self.mode = Secure::Explicit;
    }

    pub(super) fn has_room(&self, state_bytes: usize) -> bool {
        has_room(self.waiting.len(), self.state_bytes, state_bytes)
    }

    /// The next point. One that was here `again` is not shown to the application.
    pub(super) fn arrived(&mut self, point: SyncPoint, again: bool) {
        self.state_bytes += point.state.len();
        self.waiting.push_back(Waiting { point, again });
    }

    /// A point that arrived before comes again: it must be the same one.
    pub(super) fn compare(&self, point: &SyncPoint) -> Result<(), StreamError> {
        let known = self.points().find(|known| known.serial == point.serial);
        match known {
            Some(known) if known.position != point.position || known.digest != point.digest => {
                Err(StreamError::Diverged(known.position))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The application took everything before the point, and asks for more. Whether it is to see the point; if not, the
    /// point is secured.
    /// One `is_old`, of an older generation, needs no answer.
    pub(super) fn passed(&mut self, point: &SyncPoint, is_old: bool) -> bool {
        if is_old {
            return self.mode == Secure::Explicit;
        }
        self.passed = point.serial;
        match self.mode {
            Secure::Explicit => !self.passed_again(point.serial),
            Secure::Automatic => {
                self.declare(point.serial, Bytes::new());
                false
            }
        }
    }

    /// The direction goes on after a resynchronization: nothing that was here before counts any more.
    pub(super) fn reset(&mut self, base: &Secured) {
        self.waiting.clear();
        self.state_bytes = 0;
        self.passed = base.serial;
        self.declared = Some(Declared { point: base.point(), state: base.receiver_state.clone() });
        self.secured.clone_from(&self.declared);
        self.due = false;
    }

    pub(super) fn secure(&mut self, serial: Serial, state: Bytes) -> Result<(), SecureError> {
        if serial > self.passed || serial == Serial::NONE {
            return Err(SecureError::NotDelivered { serial, delivered: self.passed });
        }
        if serial > self.declared_serial() {
            self.declare(serial, state);
        }
        Ok(())
    }

    /// The last declaration, if it does not count yet.
    pub(super) fn unstored(&self) -> Option<Secured> {
        self.declared
            .as_ref()
            .filter(|last| last.point.serial > self.secured_serial())
            .map(Declared::to_secured)
    }

    /// What was declared up to there is stored, and counts. Nothing happens for what was not declared, or counts already.
    pub(super) fn stored(&mut self, secured: &Secured) {
        if secured.serial > self.secured_serial() && secured.serial <= self.declared_serial() {
            self.count(Declared { point: secured.point(), state: secured.receiver_state.clone() });
        }
    }

    /// The confirmation that is due: one for all points since the last.
    pub(super) fn ack(&mut self) -> Option<SyncAck> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        self.secured.as_ref().map(|last| SyncAck { serial: last.point.serial, state: last.state.clone() })
    }

    /// The last confirmation may have been lost. A resynchronization to the beginning has left none to be repeated.
    pub(super) fn repeat(&mut self) {
        self.due = self.secured_serial() > Serial::NONE;
    }

    pub(super) fn secured(&self) -> Position {
        self.secured.as_ref().map_or(Position::ORIGIN, |last| last.point.position)
    }

    pub(super) fn secured_serial(&self) -> Serial {
        self.secured.as_ref().map_or(Serial::NONE, |last| last.point.serial)
    }

    pub(super) fn secured_point(&self) -> Option<&SyncPoint> {
        self.secured.as_ref().map(|last| &last.point)
    }

    pub(super) fn resumption(&self) -> Option<Secured> {
        self.secured.as_ref().map(Declared::to_secured)
    }

    pub(super) fn declared_serial(&self) -> Serial {
        self.declared.as_ref().map_or(Serial::NONE, |last| last.point.serial)
    }

    /// Those that are remembered.
    pub(super) fn points(&self) -> impl Iterator<Item = &SyncPoint> {
        let declared = self.declared.iter().chain(&self.secured).map(|last| &last.point);
        self.waiting.iter().map(|waiting| &waiting.point).chain(declared)
    }

    /// Whether the application knows that point under an older number.
    fn passed_again(&mut self, serial: Serial) -> bool {
        let mut waiting = self.waiting.iter();
        let again =
            waiting.find(|waiting| waiting.point.serial == serial).is_some_and(|waiting| waiting.again);
        let is_next = self.waiting.front().is_some_and(|waiting| waiting.point.serial == serial);
        if again && is_next {
            let state = self.declared.as_ref().map(|last| last.state.clone());
            self.declare(serial, state.unwrap_or_default());
        }
        again
    }

    fn declare(&mut self, serial: Serial, state: Bytes) {
        let mut last = None;
        while let Some(Waiting { point, again }) = self.waiting.front()
            && (point.serial <= serial || *again && point.serial <= self.passed)
        {
            self.state_bytes -= point.state.len();
            last = self.waiting.pop_front();
        }
        let Some(Waiting { point, .. }) = last else { return };
        let declared = Declared { point, state };
        self.declared = Some(declared.clone());
        if !self.held || planted::is(Bug::PointBeforeRecord) {
            self.count(declared);
        }
    }

    fn count(&mut self, declared: Declared) {
        self.secured = Some(declared);
        self.due = true;
    }
}

impl Declared {
    fn to_secured(&self) -> Secured {
        Secured::new(&self.point, self.state.clone())
    }
}
