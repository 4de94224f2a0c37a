//! Which points are secured, and who is told.

use std::collections::VecDeque;

use bytes::Bytes;

use super::has_room;
use crate::frame::{SyncAck, SyncPoint};
use crate::policy::Secure;
use crate::stream::error::{SecureError, StreamError};
use crate::stream::position::{Position, Serial};
use crate::stream::secured::Secured;

/// The points that arrived and are not secured, oldest first, and the last secured one.
#[derive(Debug)]
pub(super) struct Securing {
    mode: Secure,
    waiting: VecDeque<SyncPoint>,
    state_bytes: usize,
    /// The last point that the application has come to.
    passed: Serial,
    secured: Option<SyncPoint>,
    /// What the application left with it.
    state: Bytes,
    due: bool,
}

impl Securing {
    /// Of a direction that goes on from `secured`, or from its beginning.
    pub(super) fn new(mode: Secure, secured: Option<&Secured>) -> Self {
        Self {
            mode,
            waiting: VecDeque::new(),
            state_bytes: 0,
            passed: secured.map_or(Serial::NONE, |point| point.serial),
            secured: secured.map(Secured::point),
            state: secured.map(|point| point.receiver_state.clone()).unwrap_or_default(),
            due: false,
        }
    }

    pub(super) fn explicitly(&mut self) {
        self.mode = Secure::Explicit;
    }

    pub(super) fn has_room(&self, state_bytes: usize) -> bool {
        has_room(self.waiting.len(), self.state_bytes, state_bytes)
    }

    pub(super) fn arrived(&mut self, point: SyncPoint) {
        self.state_bytes += point.state.len();
        self.waiting.push_back(point);
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
    pub(super) fn passed(&mut self, point: &SyncPoint) -> bool {
        self.passed = point.serial;
        match self.mode {
            Secure::Explicit => true,
            Secure::Automatic => {
                self.confirm(point.serial, Bytes::new());
                false
            }
        }
    }

    pub(super) fn secure(&mut self, serial: Serial, state: Bytes) -> Result<(), SecureError> {
        if serial > self.passed || serial == Serial::NONE {
            return Err(SecureError::NotDelivered { serial, delivered: self.passed });
        }
        if serial > self.secured_serial() {
            self.confirm(serial, state);
        }
        Ok(())
    }

    /// The confirmation that is due: one for all points since the last.
    pub(super) fn ack(&mut self) -> Option<SyncAck> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        Some(SyncAck { serial: self.secured_serial(), state: self.state.clone() })
    }

    /// The last confirmation may have been lost.
    pub(super) fn repeat(&mut self) {
        self.due = self.secured.is_some();
    }

    pub(super) fn secured(&self) -> Position {
        self.secured.as_ref().map_or(Position::ORIGIN, |point| point.position)
    }

    pub(super) fn secured_serial(&self) -> Serial {
        self.secured.as_ref().map_or(Serial::NONE, |point| point.serial)
    }

    pub(super) fn secured_point(&self) -> Option<&SyncPoint> {
        self.secured.as_ref()
    }

    pub(super) fn resumption(&self) -> Option<Secured> {
        self.secured.as_ref().map(|point| Secured::new(point, self.state.clone()))
    }

    /// Those that are remembered.
    pub(super) fn points(&self) -> impl Iterator<Item = &SyncPoint> {
        self.waiting.iter().chain(&self.secured)
    }

    fn confirm(&mut self, serial: Serial, state: Bytes) {
        while self.waiting.front().is_some_and(|point| point.serial <= serial) {
            self.secured = self.waiting.pop_front();
            self.state_bytes -= self.secured.as_ref().map_or(0, |point| point.state.len());
        }
        self.state = state;
        self.due = true;
    }
}
