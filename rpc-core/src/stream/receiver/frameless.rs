//! Callers without control frames: they place no points, keep to no credit, and end with their body.

use bytes::Bytes;

use super::Receiver;
use super::arrival::Arrival;
use crate::frame::{PointKind, SyncPoint};
use crate::stream::error::{StreamError, Violation};
use crate::stream::position::Position;
use crate::time::Timestamp;

impl Receiver {
    /// Begins an attempt of a caller without control frames, which voids the one before. Its first byte belongs to
    /// `from`.
    ///
    /// # Errors
    ///
    /// See [`check_frameless`](Self::check_frameless).
    //= S-29
    pub fn attempt_frameless(&mut self, from: Position) -> Result<(), Violation> {
        self.check_frameless(from)?;
        let mut arrival = Arrival::new(Some((from, self.crc_at(from))));
        arrival.without_frames();
        self.arrival = Some(arrival);
        Ok(())
    }

    /// Whether a body that begins at `from` leaves no gap and can be of the same stream. Nothing changes.
    ///
    /// A place between two messages is known only at the points that are remembered, at the end, and at the beginning.
    /// Elsewhere what is repeated shows whether it was one: it ends where this side is, or the stream has diverged.
    ///
    /// # Errors
    ///
    /// It leaves a gap, or no message of this stream can end there.
    //= S-12, S-19
    pub fn check_frameless(&self, from: Position) -> Result<(), Violation> {
        self.check(Some(from))?;
        let points = self.securing.points().map(|point| point.position);
        let mut known = points.chain([Position::ORIGIN, self.received]);
        if known.all(|place| place.agrees_with(from)) {
            return Ok(());
        }
        let (sent, secured) = (self.received, self.secured());
        Err(Violation::ImpossiblePosition { claimed: from, sent, secured })
    }

    /// Places a point over what arrived, if this side's policy wants one: the sender places none. Points that are asked
    /// for by time come with the next message or the end.
    ///
    /// What arrived counts as verified, since nobody will vouch for it.
    //= S-8, S-29
    pub fn place_point(&mut self, now: Timestamp) {
        let Some(arrival) = &mut self.arrival else { return };
        arrival.without_frames();
        self.verified = self.received;
        if self.cadence.last() < self.received {
            self.cadence.messages(now);
        }
        if self.cadence.is_due(now, self.received, true) && self.securing.has_room(0) {
            self.place();
        }
    }

    /// Whether more is to be read of the body. Its sender has no credit, so that this alone holds it back. What one read
    /// brings may go beyond the window.
    pub fn has_room(&self) -> bool {
        let waiting = self.received.since(self.taken);
        self.unwanted || waiting.bytes < self.window.bytes && waiting.messages < self.window.messages
    }

    /// The body ended in order: that is its END, and the last point.
    ///
    /// # Errors
    ///
    /// It repeated less than what is here: it is not the same stream.
    //= S-23
    pub fn end_without_frames(&mut self) -> Result<(), StreamError> {
        let Some(arrival) = &self.arrival else { return Ok(()) };
        let Some(stated) = arrival.position()? else { return Ok(()) };
        if stated != self.received {
            return Err(Violation::Misplaced { stated, is: self.received }.into());
        }
        self.ended = Some(self.received);
        self.verified = self.received;
        // One more than may wait, so that the last messages are secured like all others.
        if self.cadence.last() < self.received {
            self.place();
        }
        Ok(())
    }

    fn place(&mut self) {
        let (serial, position, digest) = (self.next_serial, self.received, self.digest.at_point());
        self.arrived(SyncPoint { serial, position, digest, state: Bytes::new(), kind: PointKind::Minor });
    }
}
