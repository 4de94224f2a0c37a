//! How attempts begin and end.

use super::{Flow, Side};
use crate::id::Attempt;
use crate::stream::error::{AttemptError, Fenced, StreamError};
use crate::stream::position::Position;
use crate::stream::resume::Resume;
use crate::time::Timestamp;

/// The attempt that goes on.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) attempt: Attempt,
    pub(super) received_due: bool,
    pub(super) head_due: bool,
    pub(super) cancel_due: bool,
    pub(super) spoke: Timestamp,
}

impl Flow {
    /// An attempt begins on a connection; an older one that still goes on is void. `peer` is what came in
    /// `session-resume-bin`; a client, which asks first, has none.
    ///
    /// # Errors
    ///
    /// An attempt with this or a higher number was begun before, or the peer claims to have what it cannot have. Nothing
    /// has changed; an older attempt goes on.
    //= S-12, S-13, S-14, S-15
    pub fn attempt(
        &mut self,
        now: Timestamp,
        attempt: Attempt,
        peer: Option<&Resume>,
    ) -> Result<(), AttemptError> {
        self.check_number(attempt)?;
        if let Some(peer) = peer {
            self.sender.check(&peer.received)?;
            if !self.is_restored {
                self.receiver.check_generation(peer.generation)?;
            }
            self.receiver.check(self.from(peer))?;
        }
        let resumed = self.is_resumed || attempt > Attempt::default();
        self.begin(now, attempt, resumed);
        self.dialog_attempt(resumed);
        if let Some(peer) = peer.filter(|_| self.is_restored) {
            self.receiver.learn_generation(peer.generation);
        }
        let from = if resumed { peer.and_then(|peer| self.from(peer)) } else { Some(Position::ORIGIN) };
        let begun = self
            .sender
            .attempt(resumed, peer.map(|peer| &peer.received))
            .and_then(|()| self.receiver.attempt(from).map_err(StreamError::from));
        self.keep(begun);
        Ok(())
    }

    /// The same for a caller without control frames, in its first attempt and in later ones. Its body begins at `from`:
    /// at the origin, or where `Query` or the caller itself says.
    ///
    /// What arrived before is dropped by its count. This side goes on after what it counts as secured.
    ///
    /// # Errors
    ///
    /// An attempt with this or a higher number was begun before, or `from` leaves a gap, or no message of this stream can
    /// end there. Nothing has changed; an older attempt goes on.
    //= S-12, S-14, S-29
    pub fn attempt_without_frames(
        &mut self,
        now: Timestamp,
        attempt: Attempt,
        from: Position,
    ) -> Result<(), AttemptError> {
        self.check_number(attempt)?;
        self.receiver.check_frameless(from)?;
        self.begin(now, attempt, false);
        let begun = self
            .sender
            .attempt(false, None)
            .and_then(|()| self.receiver.attempt_frameless(from).map_err(StreamError::from));
        self.keep(begun);
        Ok(())
    }

    /// The value of `session-resume-bin` for the current attempt. Call it right after [`attempt`](Self::attempt).
    pub fn resume(&mut self) -> Resume {
        Resume {
            generation: self.sender.generation(),
            send_from: self.sender.cursor(),
            received: self.receiver.has(),
        }
    }

    /// Places a sync point over what a caller without control frames has sent, where this side's policy wants one: such a
    /// caller places none, and without points nothing of what it sent is ever secured. Call it when its data came; its end
    /// [places the last one](Self::ended_without_frames).
    ///
    /// Without effect between two attempts.
    //= S-29
    pub fn place_received_point(&mut self, now: Timestamp) {
        if self.failed.is_none() {
            self.receiver.place_point(now);
        }
    }

    /// Whether the body of a caller without control frames is to be read on. It has no credit: reading no further is what
    /// holds it back. Ask again after [`take`](Self::take).
    //= S-31
    pub fn reads_without_frames(&self) -> bool {
        self.failed.is_some() || self.receiver.has_room()
    }

    /// The connection of this attempt was lost, or its request or response ended otherwise than in order. Ignored if a
    /// newer attempt goes on.
    pub fn detached(&mut self, attempt: Attempt) {
        if self.is_current(attempt).is_ok() {
            self.current = None;
            self.sender.detached();
            self.receiver.detached();
        }
    }

    /// The incoming body of this attempt ended in order. True if the direction is complete: END came. Otherwise it is as
    /// if the connection was lost, and the stream waits to be resumed.
    ///
    /// # Errors
    ///
    /// A newer attempt goes on.
    //= W-23
    pub fn transport_ended(&mut self, attempt: Attempt) -> Result<bool, Fenced> {
        self.is_current(attempt)?;
        if self.receiver.is_complete() {
            return Ok(true);
        }
        self.detached(attempt);
        Ok(false)
    }

    /// The incoming body of a caller without control frames ended in order, which is all the END that it has. A body that
    /// repeated less than what had arrived before ends the stream.
    ///
    /// # Errors
    ///
    /// A newer attempt goes on.
    pub fn ended_without_frames(&mut self, attempt: Attempt) -> Result<(), Fenced> {
        self.is_current(attempt)?;
        if self.failed.is_none() {
            let done = self.receiver.end_without_frames();
            self.keep(done);
        }
        Ok(())
    }

    /// Where the first byte of an attempt belongs, as far as the peer knows. One that does not know that this side lost what
    /// it had received is told, and says it again with AT.
    //= S-19
    fn from(&self, peer: &Resume) -> Option<Position> {
        let is_lost = self.is_restored && !peer.send_from.within(self.receiver.received());
        let is_other = peer.generation != self.receiver.generation();
        (!is_lost && !is_other).then_some(peer.send_from)
    }

    fn check_number(&self, attempt: Attempt) -> Result<(), Fenced> {
        if self.last.is_some_and(|last| attempt <= last) { Err(Fenced { attempt }) } else { Ok(()) }
    }

    fn begin(&mut self, now: Timestamp, attempt: Attempt, resumed: bool) {
        if self.last.replace(attempt).is_some() {
            self.resumes = self.resumes.saturating_add(1);
        }
        self.current = Some(Current {
            attempt,
            received_due: resumed,
            head_due: self.side == Side::Server && self.head.is_some(),
            cancel_due: self.side == Side::Client && self.cancelled,
            spoke: now,
        });
    }
}
