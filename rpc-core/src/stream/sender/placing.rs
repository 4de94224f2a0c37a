//! Where a sender places its sync points.

use bytes::Bytes;

use super::Sender;
use super::asked::AskedPoint;
use super::line::Line;
use crate::frame::{PointKind, STATE_BYTES_MAX, SyncPoint};
use crate::stream::POINTS_UNCONFIRMED_MAX;
use crate::stream::error::SyncError;
use crate::stream::position::Serial;
use crate::time::Timestamp;

impl Sender {
    /// The application asks for a point after everything it has given, and leaves `state` with it.
    ///
    /// # Errors
    ///
    /// The point is not placed; the stream is as it was.
    //= S-9, S-10
    pub fn sync(&mut self, state: Bytes) -> Result<(), SyncError> {
        self.sync_as(PointKind::Minor, state)
    }

    /// The same for a point of that kind.
    ///
    /// # Errors
    ///
    /// As with [`sync`](Self::sync). No second major point before the first is answered.
    pub fn sync_as(&mut self, kind: PointKind, state: Bytes) -> Result<(), SyncError> {
        if !self.ended && !self.splitter.is_whole() {
            return Err(SyncError::WithinMessage);
        }
        self.ask(self.replay.end().messages, AskedPoint { kind, state })
    }

    /// The application asks for a point right after that many messages of the direction, counted over all attempts and
    /// resumptions, whether or not it has given the last of them yet. If it ends before, the point is never placed.
    ///
    /// # Errors
    ///
    /// The point is not placed; the stream is as it was.
    //= S-9, S-10
    pub fn sync_at(&mut self, messages: u64, state: Bytes) -> Result<(), SyncError> {
        self.ask(messages, AskedPoint { kind: PointKind::Minor, state })
    }

    /// The same for a point of that kind.
    ///
    /// # Errors
    ///
    /// As with [`sync_at`](Self::sync_at).
    pub fn sync_at_as(&mut self, messages: u64, kind: PointKind, state: Bytes) -> Result<(), SyncError> {
        self.ask(messages, AskedPoint { kind, state })
    }

    fn ask(&mut self, messages: u64, point: AskedPoint) -> Result<(), SyncError> {
        let state = &point.state;
        if self.ended {
            return Err(SyncError::AfterEnd);
        }
        let given = self.replay.end().messages;
        if self.rejoins_at().is_some_and(|place| messages < place.messages) || self.was_placed(messages) {
            // The peer has what follows the point, so it has the point, or had it; or it was placed before.
            return if state.len() > STATE_BYTES_MAX {
                Err(SyncError::StateTooLong(state.len()))
            } else {
                Ok(())
            };
        }
        if messages < given {
            return Err(SyncError::Passed { after: messages, given });
        }
        if state.len() > STATE_BYTES_MAX {
            return Err(SyncError::StateTooLong(state.len()));
        }
        let room_for_state = self.points.has_room(self.asked.state_bytes() + state.len());
        if !room_for_state || !self.has_room_for_points() {
            return Err(SyncError::TooManyPoints);
        }
        self.asked.push(messages, point);
        Ok(())
    }

    /// Whether one more may be asked for. As with what is kept, only a confirmation makes room.
    pub(super) fn has_room_for_points(&self) -> bool {
        self.asked.len() + self.points.len() < POINTS_UNCONFIRMED_MAX
    }

    /// Places the point that is due at the end of what was sent.
    pub(super) fn place_point(&mut self, now: Timestamp) -> bool {
        let sent = self.replay.sent();
        if self.replay.cursor() != sent || !self.may_place_point() {
            return false;
        }
        if self.place_answer() {
            return true;
        }
        if self.awaits_answer() {
            return false;
        }
        match self.asked.at(sent.messages) {
            Some(point) if !self.points.has_room(point.state.len()) => false,
            Some(_) => {
                let Some(AskedPoint { kind, state }) = self.asked.pop() else { return false };
                self.placed_last.placed(sent.messages);
                self.place(kind, state);
                true
            }
            None => self.cadence.is_due(now, sent, self.batch_ended) && self.place_own(),
        }
    }

    /// A sender that can go no further, and one that has sent everything, places a point, so that it is answered.
    ///
    /// While another point is on its way it waits for a moment first: a receiver that takes a message at a time would
    /// otherwise get a point, and write to its disk, with each. It may also pass a point over and wait for the next one.
    //= S-8
    pub(super) fn place_point_at_rest(&mut self, now: Timestamp) -> bool {
        if !self.may_place_point() {
            return false;
        }
        let long = self.cadence.wake_when_stopped().is_some_and(|at| at <= now);
        // Small frames stop it that the peer has not told of: it tells when a point comes.
        let crowded = self.line.as_ref().is_some_and(|line| line.is_crowded(self.replay.unsent()));
        let stopped = self.is_stopped() && (self.points.len() == 0 || long || crowded);
        let at_rest = stopped || self.replay.cursor() == self.replay.sent() && self.all_is_sent();
        at_rest && self.place_own()
    }

    /// Whether window or credit keep it from sending what follows.
    pub(super) fn is_stopped(&self) -> bool {
        let blocked =
            self.replay.sent() < self.replay.end() && !self.line.as_ref().is_some_and(Line::is_tentative);
        // Short messages cost more to keep than their bytes: the window may be full of a few of them.
        let full = self.replay.cost() >= self.window.bytes;
        self.replay.cursor() == self.replay.sent() && (blocked || full)
    }

    fn place_own(&mut self) -> bool {
        let room = if self.all_is_sent() { self.points.has_room_for_last() } else { self.points.has_room(0) };
        let due = self.cadence.last() < self.replay.sent() && room;
        if due {
            self.place(PointKind::Minor, Bytes::new());
        }
        due
    }

    pub(super) fn place(&mut self, kind: PointKind, state: Bytes) {
        let (position, digest) = (self.replay.sent(), self.digest.at_point());
        self.points.place(SyncPoint { serial: Serial::NONE, position, digest, state, kind });
        self.cadence.placed(position);
        self.placed(kind);
    }
}
