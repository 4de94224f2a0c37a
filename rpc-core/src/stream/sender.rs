//! One direction at the side that sends it.

mod line;
mod out;

use std::collections::VecDeque;

use bytes::Bytes;

use super::digest::Running;
use super::error::{StreamError, SyncError, Unsendable, Violation};
use super::points::{NotPlaced, Points};
use super::position::{Generation, Position, Serial};
use super::replay::Replay;
use super::splitter::{Piece, Splitter};
use super::{Config, POINTS_UNCONFIRMED_MAX};
use crate::frame::{At, Credit, Frame, Received, STATE_BYTES_MAX, SyncAck, SyncPoint};
use crate::policy::Checkpoint;
use crate::time::Timestamp;
use line::{Line, Tentative};
pub use out::Out;

/// Keeps what the application sends until it is secured, and sends it again where it must.
///
/// The positions hold *secured* ≤ *sent* ≤ *accepted*, and what lies between the first two is never more than the window,
/// or a single message that is longer.
#[derive(Debug)]
pub struct Sender {
    window: Position,
    checkpoint: Option<Checkpoint>,
    splitter: Splitter,
    replay: Replay,
    /// Of everything that was sent at least once.
    digest: Running,
    points: Points,
    /// Points that the application asked for and that are not placed yet: where, and with which state.
    asked: VecDeque<(Position, Bytes)>,
    ended: bool,
    /// How far the peer lets us go.
    limit: Position,
    /// The most that the peer said it has.
    peer_received: Position,
    /// When the first message after the last point was sent.
    unpointed_since: Option<Timestamp>,
    batch_ended: bool,
    confirmed: Option<SyncAck>,
    tentative: Tentative,
    line: Option<Line>,
}

impl Sender {
    /// A direction in which nothing was sent yet.
    pub fn new(config: &Config) -> Self {
        Self {
            window: config.window(),
            checkpoint: config.checkpoint,
            splitter: Splitter::new(config.message_bytes_max),
            replay: Replay::default(),
            digest: Running::new(config.digest),
            points: Points::new(),
            asked: VecDeque::new(),
            ended: false,
            limit: config.window(),
            peer_received: Position::ORIGIN,
            unpointed_since: None,
            batch_ended: false,
            confirmed: None,
            tentative: Tentative::new(),
            line: None,
        }
    }

    /// Whether the application may give more: what is kept costs less than the window.
    ///
    /// The one [`push`](Self::push) that follows may go beyond it, by one batch.
    //= S-11
    pub fn has_room(&self) -> bool {
        !self.ended && self.replay.cost() < self.window.bytes && self.asked.len() < POINTS_UNCONFIRMED_MAX
    }

    /// Takes the next bytes of the application's body, cut anywhere. Their end is the end of a batch.
    ///
    /// # Errors
    ///
    /// They cannot be sent; the stream is over.
    pub fn push(&mut self, bytes: Bytes) -> Result<(), Unsendable> {
        if self.ended {
            return Err(Unsendable::AfterEnd);
        }
        self.splitter.push(bytes);
        let mut piece = self.splitter.next()?;
        while let Some(current) = piece {
            piece = self.splitter.next()?;
            match current {
                Piece::Messages(run) => {
                    let messages = run.messages();
                    self.replay.push(run.into_bytes(), messages, piece.is_none());
                }
                //= W-17
                Piece::Control(_) => return Err(Unsendable::LooksLikeControl),
            }
        }
        Ok(())
    }

    /// The application asks for a point after everything it has given, and leaves `state` with it.
    ///
    /// # Errors
    ///
    /// The point is not placed; the stream is as it was.
    //= S-9, S-10
    pub fn sync(&mut self, state: Bytes) -> Result<(), SyncError> {
        if self.ended {
            return Err(SyncError::AfterEnd);
        }
        if !self.splitter.is_whole() {
            return Err(SyncError::WithinMessage);
        }
        if state.len() > STATE_BYTES_MAX {
            return Err(SyncError::StateTooLong(state.len()));
        }
        let asked: usize = self.asked.iter().map(|(_, state)| state.len()).sum();
        if self.asked.len() >= POINTS_UNCONFIRMED_MAX || !self.points.has_room(asked + state.len()) {
            return Err(SyncError::TooManyPoints);
        }
        self.asked.push_back((self.replay.end(), state));
        Ok(())
    }

    /// The application has given everything.
    ///
    /// # Errors
    ///
    /// It ended within a message; the stream is over.
    pub fn end(&mut self) -> Result<(), Unsendable> {
        if !self.splitter.is_whole() {
            return Err(Unsendable::HalfMessage);
        }
        self.ended = true;
        Ok(())
    }

    /// Begins an attempt. `peer` is what the peer has, where that is known for certain; otherwise the sender starts
    /// from what it was last told.
    ///
    /// # Errors
    ///
    /// The peer claims to have what it cannot have, or something else than what was sent.
    pub fn attempt(&mut self, resumed: bool, peer: Option<&Received>) -> Result<(), StreamError> {
        self.detached();
        let crc = self.digest.crc();
        let start = [self.peer_received.max(self.replay.base()), self.replay.base()]
            .into_iter()
            .find(|start| self.replay.seek(*start, crc).is_ok())
            .unwrap_or_else(|| self.replay.base());
        let tentative = (resumed && peer.is_none()).then(|| self.tentative.bytes());
        self.line = Some(Line::new(start, tentative, resumed, self.points.first_from(start)));
        peer.map_or(Ok(()), |peer| self.peer_has(peer))
    }

    /// The connection was lost.
    pub fn detached(&mut self) {
        if self.line.take().is_some_and(|line| line.is_tentative()) {
            self.tentative.unanswered();
        }
    }

    /// The peer says what it has: the sender goes on from there.
    ///
    /// # Errors
    ///
    /// As with [`attempt`](Self::attempt).
    pub fn peer_has(&mut self, peer: &Received) -> Result<(), StreamError> {
        self.check(peer)?;
        self.confirm(peer.secured)?;
        self.peer_received = peer.position;
        self.limit = peer.limit;
        let Some(line) = &mut self.line else { return Ok(()) };
        if line.is_tentative() {
            self.tentative.answered();
        }
        if !line.peer_has(peer.position, self.replay.cursor()) {
            return Ok(());
        }
        line.jumped(peer.position, self.points.first_from(peer.position));
        //= S-20
        match self.replay.seek(peer.position, self.digest.crc()) {
            Ok(crc) if crc == peer.crc => Ok(()),
            Ok(_) => Err(StreamError::Diverged(peer.position)),
            Err(_) => Err(self.impossible(peer.position).into()),
        }
    }

    /// Whether the peer can have what it says it has. Nothing changes.
    ///
    /// # Errors
    ///
    /// Another generation, a point that does not exist, or a place that was not sent or is no longer kept.
    //= S-12
    pub fn check(&self, peer: &Received) -> Result<(), Violation> {
        let (stated, expected) = (peer.generation, Generation::default());
        if stated != expected {
            return Err(Violation::Generation { stated, expected });
        }
        let next = self.points.serials().next;
        if peer.secured >= next {
            return Err(Violation::ConfirmedUnplaced { serial: peer.secured, next });
        }
        let secured = self.points.waiting(peer.secured).map_or(self.replay.base(), |point| point.position);
        let possible = secured.within(peer.position) && self.replay.has_boundary(peer.position);
        if possible { Ok(()) } else { Err(self.impossible(peer.position)) }
    }

    /// The peer's credit. It frees nothing.
    ///
    /// # Errors
    ///
    /// It claims to have what was never sent.
    //= S-2
    pub fn credit(&mut self, credit: Credit) -> Result<(), Violation> {
        if !credit.received.within(self.replay.sent()) {
            return Err(self.impossible(credit.received));
        }
        self.limit = self.limit.furthest(credit.limit);
        self.peer_received = self.peer_received.max(credit.received);
        if let Some(line) = &mut self.line {
            line.arrived(credit.received);
        }
        Ok(())
    }

    /// The peer has secured everything up to a point: only this frees what is kept.
    ///
    /// # Errors
    ///
    /// There is no such point.
    //= S-2, S-5, S-12
    pub fn ack(&mut self, ack: SyncAck) -> Result<(), Violation> {
        self.confirm(ack.serial)?;
        // A resume repeats the last confirmation, since RECEIVED brings the serial without the state.
        if self.confirmed.as_ref().is_none_or(|last| last.serial <= ack.serial) && ack.serial > Serial::NONE {
            self.confirmed = Some(ack);
        }
        Ok(())
    }

    /// What is to be written next in this attempt; `None` if there is nothing, or it has to wait.
    pub fn step(&mut self, now: Timestamp) -> Option<Out> {
        loop {
            let line = self.line.as_mut()?;
            //= S-17
            if std::mem::take(&mut line.at_due) {
                let (position, crc) = (self.replay.cursor(), self.replay.crc(self.digest.crc()));
                return Some(Out::Frame(Frame::At(At { generation: Generation::default(), position, crc })));
            }
            if let Some(point) = self.points.waiting(line.next_point)
                && point.position == self.replay.cursor()
            {
                line.next_point = point.serial.next();
                return Some(Out::Frame(Frame::Sync(point.clone())));
            }
            if self.place_point(now) {
                continue;
            }
            if let Some(data) = self.data(now) {
                return Some(Out::Data(data));
            }
            if !self.place_point_at_rest() {
                return self.finish();
            }
        }
    }

    /// When [`step`](Self::step) has something to do without another input: a point whose time has come.
    pub fn wake(&self) -> Option<Timestamp> {
        self.line.as_ref()?;
        Some(self.unpointed_since? + self.checkpoint?.every?)
    }

    /// End of what was sent at least once.
    pub fn sent(&self) -> Position {
        self.replay.sent()
    }

    /// End of what the peer has secured.
    pub fn secured(&self) -> Position {
        self.points.secured()
    }

    /// What the peer's application left when it last secured a point.
    pub fn confirmed(&self) -> Option<&SyncAck> {
        self.confirmed.as_ref()
    }

    /// Where the next byte belongs.
    pub fn cursor(&self) -> Position {
        self.replay.cursor()
    }

    /// Bytes kept, and what it costs to keep them.
    pub fn kept_bytes(&self) -> u64 {
        self.replay.cost()
    }

    /// Everything including END was written in this attempt.
    pub fn is_finished(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.end_sent)
    }

    /// Everything was given, sent and secured: the peer needs nothing more of this direction.
    pub fn is_secured(&self) -> bool {
        self.ended && self.points.secured() == self.replay.end() && self.asked.is_empty()
    }

    fn impossible(&self, claimed: Position) -> Violation {
        let (sent, secured) = (self.replay.sent(), self.replay.base());
        Violation::ImpossiblePosition { claimed, sent, secured }
    }

    fn confirm(&mut self, serial: Serial) -> Result<(), Violation> {
        if serial == Serial::NONE {
            return Ok(());
        }
        let confirmed = self.points.confirm(serial);
        let confirmed =
            confirmed.map_err(|NotPlaced { serial, next }| Violation::ConfirmedUnplaced { serial, next })?;
        let Some(secured) = confirmed else { return Ok(()) };
        let jumped = self.replay.free(secured);
        let first = self.points.first_from(self.replay.cursor());
        if let Some(line) = &mut self.line {
            line.arrived(secured);
            if jumped {
                //= S-17
                line.jumped(self.replay.cursor(), first);
            }
            line.next_point = line.next_point.max(self.points.serials().unconfirmed);
        }
        Ok(())
    }

    /// Places the point that is due at the end of what was sent.
    fn place_point(&mut self, now: Timestamp) -> bool {
        if self.replay.cursor() != self.replay.sent() {
            return false;
        }
        match self.asked.front() {
            Some((position, state)) if *position == self.replay.cursor() => {
                if !self.points.has_room(state.len()) {
                    return false;
                }
                let Some((_, state)) = self.asked.pop_front() else { return false };
                self.place(state);
                true
            }
            Some(_) | None => self.is_due(now) && self.place_own(),
        }
    }

    /// A sender that can go no further, and one that has sent everything, places a point, so that it is answered.
    //= S-8
    fn place_point_at_rest(&mut self) -> bool {
        let blocked =
            self.replay.sent() < self.replay.end() && !self.line.as_ref().is_some_and(Line::is_tentative);
        // Short messages cost more to keep than their bytes: the window may be full of a few of them.
        let full = self.replay.cost() >= self.window.bytes;
        let at_rest = self.replay.cursor() == self.replay.sent() && (blocked || full || self.all_is_sent());
        at_rest && self.place_own()
    }

    fn place_own(&mut self) -> bool {
        let due = self.points.last() < self.replay.sent() && self.points.has_room(0);
        if due {
            self.place(Bytes::new());
        }
        due
    }

    fn place(&mut self, state: Bytes) {
        let (position, digest) = (self.replay.sent(), self.digest.at_point());
        self.points.place(SyncPoint { serial: Serial::NONE, position, digest, state });
        self.unpointed_since = None;
    }

    /// Whether policy or window want a point here. A quarter of the window, so that before half of it is unsecured one
    /// is always on its way.
    //= S-8, S-9
    fn is_due(&self, now: Timestamp) -> bool {
        let since = self.replay.sent().since(self.points.last());
        if since.messages == 0 {
            return false;
        }
        let part = |part: u64| {
            since.bytes.saturating_mul(part) >= self.window.bytes
                || since.messages.saturating_mul(part) >= self.window.messages
        };
        let Some(policy) = self.checkpoint else { return part(2) || self.batch_ended && part(4) };
        let enough = policy.every_messages.is_some_and(|most| since.messages >= u64::from(most))
            || policy.every_bytes.is_some_and(|most| since.bytes >= most);
        let late = self.wake().is_some_and(|at| at <= now);
        part(2) || late || self.batch_ended && (enough || part(4))
    }

    fn data(&mut self, now: Timestamp) -> Option<Bytes> {
        let line = self.line.as_mut()?;
        let (cursor, base) = (self.replay.cursor(), self.replay.base());
        let first_time = cursor == self.replay.sent();
        let stop = if first_time {
            self.asked.front().map_or(self.replay.end(), |(position, _)| *position)
        } else {
            self.points.waiting(line.next_point).map_or(self.replay.end(), |point| point.position)
        };
        if stop <= cursor || line.is_crowded(self.replay.end().since(cursor).bytes) {
            return None;
        }
        //= S-26, S-31
        let credit = self.limit.since(cursor);
        let window = base.bytes.saturating_add(self.window.bytes).saturating_sub(cursor.bytes);
        let tentative = line.tentative_bytes.unwrap_or(u64::MAX);
        let room = Position { messages: credit.messages, bytes: credit.bytes.min(window).min(tentative) };
        // A message longer than the window travels when nothing else is under way.
        let alone = cursor == base
            && !line.is_tentative()
            && credit.messages > 0
            && credit.bytes >= self.window.bytes;
        let taken = self.replay.take(room, stop, alone, self.digest.crc())?;
        line.wrote(taken.bytes.len() as u64, self.replay.cursor());
        if first_time {
            self.digest.update(&taken.bytes);
            self.batch_ended = taken.ends_batch;
            self.unpointed_since.get_or_insert(now);
        }
        Some(taken.bytes)
    }

    fn all_is_sent(&self) -> bool {
        self.ended && self.replay.cursor() == self.replay.end() && self.asked.is_empty()
    }

    //= S-22
    fn finish(&mut self) -> Option<Out> {
        let all_is_pointed = self.points.last() == self.replay.sent();
        if !self.all_is_sent() || !all_is_pointed || self.is_finished() {
            return None;
        }
        self.line.as_mut()?.end_sent = true;
        Some(Out::Frame(Frame::End(self.replay.end())))
    }
}

#[cfg(test)]
mod tests;
