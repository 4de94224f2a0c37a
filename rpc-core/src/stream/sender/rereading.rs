//! How a sender sends again what it did not keep: its application gives it once more.
//!
//! Where an application can begin anywhere, the sender knows of what was sent no more than where its sync points lie and
//! the CRC of everything before each of them. When the peer lacks something, the application begins again at the last such
//! place that the peer has. What it gives up to where the peer is goes no further, and what follows is sent, with the points
//! at their places. Wherever the CRC is known it is compared: a source that has something else now is found out.

use bytes::Bytes;

use super::Sender;
use super::asked::Asked;
use super::line::Line;
use super::rejoining::Place;
use crate::checksum::append;
use crate::stream::error::{KeepError, StreamError};
use crate::stream::position::Position;
use crate::stream::replay::Keep;
use crate::stream::run::boundary;

/// A place between two messages, and the CRC of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) position: Position,
    pub(super) crc: u32,
}

/// The application is to give again, or gives again, what it gave before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rereading {
    /// It does not know yet: what it gives is of before, and goes nowhere.
    is_due: bool,
    /// How far it has come.
    here: Known,
    /// What the peer has.
    to: Known,
}

/// The points that the application asked for right at the end of what was sent. It asks for them again when it comes there
/// again.
#[derive(Debug, Default)]
pub(super) struct PlacedLast {
    messages: u64,
    points: usize,
    /// How many of them it is still to ask for again.
    again: usize,
}

impl PlacedLast {
    /// One was placed after so many messages, which is the end.
    pub(super) fn placed(&mut self, messages: u64) {
        let points = if self.messages == messages { self.points + 1 } else { 1 };
        *self = Self { messages, points, again: 0 };
    }

    fn repeat(&mut self, sent: u64) {
        self.again = if self.messages == sent { self.points } else { 0 };
    }

    /// So many more wait there.
    fn add(&mut self, sent: u64, points: usize) {
        let here = if self.messages == sent { self.points } else { 0 };
        *self = Self { messages: sent, points: here, again: here + points };
    }

    fn is_repeated(&mut self, messages: u64) -> bool {
        let is_repeated = self.messages == messages && self.again > 0;
        self.again -= usize::from(is_repeated);
        is_repeated
    }
}

impl Sender {
    /// The application can give again whatever it gave: from here on nothing that was sent is kept but its place.
    ///
    /// # Errors
    ///
    /// Something was given already. Nothing has changed.
    //= S-1
    pub fn keep_positions(&mut self) -> Result<(), KeepError> {
        let is_new = self.replay.keep() == Keep::Bytes && self.splitter.is_whole() && !self.ended;
        if !is_new || self.replay.end() != self.replay.base() {
            return Err(KeepError::Begun);
        }
        self.replay.keep_positions();
        // The source may begin with the point after which it begins.
        let own = self.points.confirmed().filter(|point| !point.state.is_empty());
        if let Some(point) = own {
            self.placed_last = PlacedLast { messages: point.position.messages, points: 1, again: 1 };
        }
        Ok(())
    }

    /// Whether the application is to begin again, and does not know. Until then what it gives goes nowhere.
    pub fn is_reread_due(&self) -> bool {
        self.rereading.is_some_and(|rereading| rereading.is_due)
    }

    /// After how many messages of the direction the application begins again; `None` where it goes on. Each answer is given
    /// once: what it gives from now on begins there.
    pub fn reread(&mut self) -> Option<u64> {
        let rereading = self.rereading.as_mut().filter(|rereading| rereading.is_due)?;
        rereading.is_due = false;
        let from = rereading.here.position;
        if from == self.replay.sent() {
            self.rereading = None;
        }
        Some(from.messages)
    }

    /// Whether the application gives again what it gave before, or is to.
    pub fn is_rereading(&self) -> bool {
        self.rereading.is_some()
    }

    /// Whether the application has ended, and what the peer has of it is known.
    pub(in crate::stream) fn is_given(&self) -> bool {
        self.ended && self.rereading.is_none() && self.rejoining.is_none()
    }

    /// A new attempt begins at the last known place that the peer is known to have, or at an earlier one.
    pub(super) fn stand_before(&mut self, at: Position) -> Position {
        let start = self.known_before(at).position;
        self.replay.stand_at(start);
        start
    }

    /// The peer is there, or is taken to be.
    ///
    /// # Errors
    ///
    /// It has something else than what was sent.
    //= S-20
    pub(super) fn go_on_from(&mut self, to: Known) -> Result<(), StreamError> {
        let here = self.known_before(to.position);
        if here.position == to.position && here.crc != to.crc {
            return Err(StreamError::Diverged(to.position));
        }
        if to.position == self.replay.sent() && self.rereading.is_none() {
            self.replay.stand_at(to.position);
        } else {
            self.read_again(here, to);
        }
        Ok(())
    }

    /// The peer has secured what is not sent again yet, or not given again.
    pub(super) fn secured_ahead(&mut self) {
        // What the peer has is still to be told.
        if self.line.as_ref().is_some_and(|line| !line.is_tentative()) {
            let here = self.known_before(self.replay.base());
            self.read_again(here, here);
        }
    }

    /// Takes what the application gives where only places are kept. What it gives again is compared, and sent from where
    /// the peer is.
    ///
    /// # Errors
    ///
    /// It is not what it gave before.
    //= S-20
    pub(super) fn give(
        &mut self,
        mut bytes: Bytes,
        mut messages: u64,
        ends_batch: bool,
    ) -> Result<(), StreamError> {
        while let Some(mut rereading) = self.rereading.filter(|_| messages > 0) {
            let next = self.known_after(&rereading);
            let Known { position: here, crc } = rereading.here;
            let count = messages.min(next.position.since(here).messages);
            let part = bytes.split_to(boundary(&bytes, count).unwrap_or(bytes.len()));
            messages -= count;
            let there = here.plus(count, part.len() as u64);
            rereading.here = Known { position: there, crc: append(crc, &part) };
            let is_same = there != next.position || rereading.here.crc == next.crc;
            if !is_same || !there.agrees_with(next.position) {
                return Err(StreamError::Diverged(next.position));
            }
            self.rereading = (there != self.replay.sent()).then_some(rereading);
            if here.messages >= rereading.to.position.messages {
                self.replay.push(part, count, ends_batch && messages == 0);
            }
        }
        if messages == 0 {
            return Ok(());
        }
        // The peer was told that there is no more.
        if self.end_written {
            return Err(StreamError::Diverged(self.replay.sent()));
        }
        self.replay.push(bytes, messages, ends_batch);
        Ok(())
    }

    /// Whether a point there was placed before, as far as anybody can tell; one that was is not placed again.
    pub(super) fn was_placed(&mut self, messages: u64) -> bool {
        if self.replay.keep() == Keep::Bytes {
            return false;
        }
        let sent = self.replay.sent().messages;
        match self.rereading {
            Some(Rereading { is_due: true, .. }) => true,
            Some(_) if messages < sent => true,
            Some(_) | None => {
                messages == sent && (self.end_written || self.placed_last.is_repeated(messages))
            }
        }
    }

    /// Whether the place is not known from which the application is to give again: the peer has not said what it has.
    pub(super) fn is_unplaced(&self) -> bool {
        self.replay.keep() == Keep::Positions && self.line.as_ref().is_some_and(Line::is_tentative)
    }

    /// Whether nothing may be written yet: that place is not known, or the application has not come to where the peer is.
    pub(super) fn is_on_its_way(&self) -> bool {
        let is_behind = |Rereading { here, to, .. }| here.position.messages < to.position.messages;
        self.is_unplaced() || self.rereading.is_some_and(is_behind)
    }

    /// Whether something that was sent lies there, as far as that is known.
    //= S-12
    pub(super) fn may_have_boundary(&self, at: Position) -> bool {
        if self.replay.keep() == Keep::Bytes {
            return self.replay.has_boundary(at);
        }
        let after = self.points.first_after(at.messages).map_or(self.replay.sent(), |point| point.position);
        let is_between = self.replay.base().within(at) && at.within(self.replay.sent());
        is_between && self.known_before(at).position.agrees_with(at) && at.agrees_with(after)
    }

    /// The last place up to `at` of which the CRC is known.
    pub(super) fn known_before(&self, at: Position) -> Known {
        let sent = Known { position: self.replay.sent(), crc: self.digest.crc() };
        if at.messages >= sent.position.messages {
            return sent;
        }
        let base = self.replay.base();
        let rejoined = self.rejoined.map(Place::known).filter(|known| known.position == base);
        let points = self.points.last_up_to(at.messages).or_else(|| self.points.confirmed());
        let point = points.map(|point| Known { position: point.position, crc: point.digest.crc });
        let origin = Known { position: Position::ORIGIN, crc: 0 };
        let [point, rejoined] = [point, rejoined].map(|known| known.unwrap_or(origin));
        if point.position > rejoined.position { point } else { rejoined }
    }

    /// The next place on the way of which the CRC is known.
    fn known_after(&self, rereading: &Rereading) -> Known {
        let here = rereading.here.position.messages;
        let sent = Known { position: self.replay.sent(), crc: self.digest.crc() };
        let point = self.points.first_after(here);
        let point = point.map(|point| Known { position: point.position, crc: point.digest.crc });
        let to = Some(rereading.to).filter(|to| here < to.position.messages);
        [point, to].into_iter().flatten().fold(sent, |next, known| {
            if known.position.messages < next.position.messages { known } else { next }
        })
    }

    /// The application begins again at `here`, and what it gives is sent from `to`. What it gave and was not sent comes
    /// again, too, with the points that were not placed.
    fn read_again(&mut self, here: Known, to: Known) {
        self.replay.restart_at(to.position, to.crc);
        self.splitter.clear();
        let sent = self.replay.sent();
        self.placed_last.repeat(sent.messages);
        if here.position == sent {
            // The source begins behind those that are to lie here, or with them.
            self.asked.end_at(sent.messages);
            self.placed_last.add(sent.messages, self.asked.len());
        } else {
            self.asked = Asked::default();
        }
        self.ended = false;
        self.rereading = Some(Rereading { is_due: true, here, to });
    }
}
