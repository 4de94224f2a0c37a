//! One direction at the side that sends it.

mod answering;
mod asked;
mod attempting;
mod holding;
mod line;
mod out;
mod placing;
mod rejoining;
mod rereading;
mod resetting;
mod standing;

use bytes::Bytes;

use super::Config;
use super::answer::Answered;
use super::cadence::Cadence;
use super::digest::Running;
use super::error::{StreamError, Unsendable, Violation};
use super::points::{NotPlaced, Points};
use super::position::{Generation, Position, Serial};
use super::replay::{Keep, Replay};
use super::resetting::Heard;
use super::secured::Secured;
use super::splitter::{Piece, Splitter};
use crate::dialog::Sending;
use crate::frame::{At, Credit, Frame, PointKind, Received, SyncAck, SyncPoint};
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use answering::Unit;
use asked::Asked;
use line::{Line, Tentative};
pub use out::Out;
use rejoining::{Place, Rejoining};
use rereading::{Known, PlacedLast, Rereading};

/// Keeps what the application sends until it is secured, and sends it again where it must. Where the application can give
/// it again, it keeps no more than [where things lie](Self::keep_positions).
///
/// The positions hold *secured* ≤ *sent* ≤ *accepted*, and what lies between the first two is never more than the window,
/// or a single message that is longer.
#[derive(Debug)]
pub struct Sender {
    window: Position,
    credit_at_first: Position,
    cadence: Cadence,
    splitter: Splitter,
    replay: Replay,
    /// Of everything that was sent at least once.
    digest: Running,
    points: Points,
    asked: Asked,
    ended: bool,
    /// How far the peer lets us go.
    limit: Position,
    /// The most that the peer said it has.
    peer_received: Position,
    /// Bytes that were sent when they had been sent before.
    sent_again: u64,
    batch_ended: bool,
    /// The last point that the peer confirmed with its state.
    confirmed: Option<(SyncPoint, SyncAck)>,
    tentative: Tentative,
    line: Option<Line>,
    generation: Generation,
    rejoining: Option<Rejoining>,
    /// What the peer had when this sender, which was restored, came to it.
    rejoined: Option<Place>,
    rereading: Option<Rereading>,
    placed_last: PlacedLast,
    sending: Sending,
    /// While a resynchronization is under way: no credit is left for what lies before a separating point.
    is_stuck: bool,
    /// The last separating point that was placed, and after how many messages it lies.
    separating: Option<(Serial, u64)>,
    /// The number of the next point, as far as the peer has come for certain.
    peer_next: Serial,
    unit: Option<Unit>,
    /// After how many messages the answer to the peer's major point is to be placed.
    answer: Option<(u64, Answered)>,
    /// END was written in some attempt: no point can follow.
    end_written: bool,
    reset: Heard,
}

impl Sender {
    /// A direction in which nothing was sent yet.
    pub fn new(config: &Config) -> Self {
        Self::from_point(config, None)
    }

    /// A direction of which nothing is left but its last secured point, `None`: nothing was secured. The application gives
    /// again what follows it.
    //= D-18
    pub fn from_point(config: &Config, secured: Option<&Secured>) -> Self {
        let start = secured.map_or(Position::ORIGIN, |point| point.position);
        let credit = config.credit_at_first();
        Self {
            window: config.window(),
            credit_at_first: credit,
            cadence: Cadence::new(config, start),
            splitter: Splitter::new(config.message_bytes_max),
            replay: Replay::starting_at(start),
            digest: Running::from_point(config.digest, secured.map(|point| &point.digest)),
            points: Points::new(secured),
            asked: Asked::default(),
            ended: false,
            limit: start.plus(credit.messages, credit.bytes),
            peer_received: start,
            sent_again: 0,
            batch_ended: false,
            confirmed: secured.map(|point| (point.point(), point.ack())),
            tentative: Tentative::new(),
            line: None,
            generation: Generation::default(),
            rejoining: None,
            rejoined: None,
            rereading: None,
            placed_last: PlacedLast::default(),
            sending: Sending::New,
            is_stuck: false,
            separating: None,
            peer_next: secured.map_or(Serial::FIRST, |point| point.serial.next()),
            unit: None,
            answer: None,
            end_written: false,
            reset: Heard::Yes,
        }
    }

    /// Whether the application may give more: what is kept costs less than the window.
    ///
    /// The one [`push`](Self::push) that follows may go beyond it, by one batch. Once it is false, only what the peer says
    /// makes it true again: [`step`](Self::step) does not, unless nothing is kept of what it hands out.
    //= S-11
    pub fn has_room(&self) -> bool {
        // A point that lies ahead needs what is to come, and one that was placed what is to come again.
        let has_room_for_points = self.has_room_for_points()
            || self.asked.is_ahead(self.replay.end().messages)
            || self.is_rereading();
        !self.ended && self.replay.cost() < self.window.bytes && has_room_for_points
    }

    /// Takes the next bytes of the application's body, cut anywhere. Their end is the end of a batch.
    ///
    /// # Errors
    ///
    /// They cannot be sent, or are not what the peer of a restored sender has; the stream is over.
    //= S-1
    pub fn push(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        if self.is_reread_due() {
            return Ok(());
        }
        if self.ended {
            return Err(Unsendable::AfterEnd.into());
        }
        self.splitter.push(bytes);
        let mut piece = self.splitter.next().map_err(Unsendable::from)?;
        while let Some(current) = piece {
            piece = self.splitter.next().map_err(Unsendable::from)?;
            match current {
                Piece::Messages(run) => {
                    let messages = run.messages();
                    match self.replay.keep() {
                        Keep::Bytes => self.replay.push(run.into_bytes(), messages, piece.is_none()),
                        Keep::Positions => self.give(run.into_bytes(), messages, piece.is_none())?,
                    }
                }
                //= W-17
                Piece::Control(_) => return Err(Unsendable::LooksLikeControl.into()),
            }
        }
        self.catch_up()
    }

    /// The application has given everything. Points that it asked for after more messages than that are forgotten.
    ///
    /// # Errors
    ///
    /// It ended within a message, or the peer of a restored sender has more, or it gave more before; the stream is over.
    pub fn end(&mut self) -> Result<(), StreamError> {
        if self.is_reread_due() {
            return Ok(());
        }
        if self.is_rereading() {
            return Err(StreamError::Diverged(self.replay.sent()));
        }
        if !self.splitter.is_whole() {
            return Err(Unsendable::HalfMessage.into());
        }
        self.ended = true;
        self.asked.end_at(self.replay.end().messages);
        self.catch_up()
    }

    /// The peer says what it has: the sender goes on from there.
    ///
    /// # Errors
    ///
    /// As with [`attempt`](Self::attempt).
    pub fn peer_has(&mut self, peer: &Received) -> Result<(), StreamError> {
        self.check(peer)?;
        if self.is_of_another_generation(peer) {
            self.answered_from_afar(peer);
            return Ok(());
        }
        if let Some(rejoining) = self.rejoining {
            return self.rejoin(rejoining, peer);
        }
        self.reset = Heard::Yes;
        self.peer_expects(peer.next);
        self.confirm(peer.secured)?;
        let was_waiting = self.is_unplaced();
        if !self.answered(peer) && !was_waiting {
            return Ok(());
        }
        if let Some(line) = &mut self.line {
            line.jumped(peer.position, self.points.first_from(peer.position));
        }
        if self.replay.keep() == Keep::Positions {
            return self.go_on_from(Known { position: peer.position, crc: peer.crc });
        }
        //= S-20
        match self.replay.seek(peer.position, self.digest.crc()) {
            Ok(crc) if crc == peer.crc || planted::is(Bug::DigestNotCompared) => Ok(()),
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
        if self.is_of_another_generation(peer) {
            return Ok(());
        }
        if let Some(rejoining) = self.rejoining {
            return self.check_rejoining(rejoining, peer);
        }
        self.check_generation(peer)?;
        let next = self.points.serials().next;
        if peer.secured >= next {
            return Err(Violation::ConfirmedUnplaced { serial: peer.secured, next });
        }
        let secured = self.points.waiting(peer.secured).map_or(self.replay.base(), |point| point.position);
        let possible = secured.within(peer.position) && self.may_have_boundary(peer.position);
        if possible { Ok(()) } else { Err(self.impossible(peer.position)) }
    }

    /// The peer's credit. It frees nothing.
    ///
    /// # Errors
    ///
    /// It claims to have what was never sent.
    //= S-2
    pub fn credit(&mut self, credit: Credit) -> Result<(), Violation> {
        let sent = self.rejoins_at().unwrap_or(self.replay.sent());
        if !credit.received.within(sent) {
            return Err(self.impossible(credit.received));
        }
        self.limit = self.limit.furthest(credit.limit);
        self.peer_received = self.peer_received.max(credit.received);
        if planted::is(Bug::FreedOnReceived) {
            self.replay.free(credit.received);
        }
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
    //= S-2, S-5, S-12, I11
    pub fn ack(&mut self, ack: SyncAck) -> Result<(), Violation> {
        if self.is_ack_of_another_generation(ack.serial) {
            return Ok(());
        }
        self.confirm(ack.serial)?;
        self.peer_expects(ack.serial.next());
        // A resume repeats the last confirmation, since RECEIVED brings the serial without the state.
        let last = self.points.confirmed().filter(|point| point.serial == ack.serial);
        if let Some(point) = last {
            self.confirmed = Some((point.clone(), ack));
        }
        Ok(())
    }

    /// What is to be written next in this attempt; `None` if there is nothing, or it has to wait.
    pub fn step(&mut self, now: Timestamp) -> Option<Out> {
        if self.rejoining.is_some() || self.is_silent() || self.is_on_its_way() {
            return None;
        }
        // What a restored sender did not send waits for a point, too.
        if self.cadence.last() < self.replay.sent() {
            self.cadence.messages(now);
        }
        loop {
            let line = self.line.as_mut()?;
            //= S-17
            if std::mem::take(&mut line.at_due) {
                let (position, crc) = (self.replay.cursor(), self.replay.crc(self.digest.crc()));
                return Some(Out::Frame(Frame::At(At { generation: self.generation, position, crc })));
            }
            if let Some(point) = self.points.waiting(line.next_point)
                && point.position == self.replay.cursor()
            {
                line.next_point = point.serial.next();
                line.unit_written |= point.kind == PointKind::Major;
                return Some(Out::Frame(Frame::Sync(point.clone())));
            }
            if let Some(point) = self.unanswered() {
                return Some(Out::Frame(Frame::Sync(point)));
            }
            if self.place_point(now) {
                continue;
            }
            if let Some(data) = self.data(now) {
                return Some(Out::Data(data));
            }
            if !self.place_point_at_rest(now) {
                self.stuck();
                return self.finish();
            }
        }
    }

    /// When [`step`](Self::step) has something to do without another input: a point whose time has come.
    pub fn wake(&self) -> Option<Timestamp> {
        self.line.as_ref()?;
        // Points are placed behind everything that was sent.
        if self.is_on_its_way() || self.replay.cursor() < self.replay.sent() {
            return None;
        }
        let stopped = self.is_stopped().then(|| self.cadence.wake_when_stopped()).flatten();
        [self.cadence.wake(), stopped].into_iter().flatten().min()
    }

    /// The peer's RECEIVED came. Whether this sender has to jump there.
    fn answered(&mut self, peer: &Received) -> bool {
        self.peer_received = peer.position;
        self.limit = peer.limit;
        let Some(line) = &mut self.line else { return false };
        if line.is_tentative() {
            self.tentative.answered();
        }
        line.peer_has(peer.position, self.replay.cursor())
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
        if planted::is(Bug::ConfirmedBeyondSent) && confirmed.is_err() {
            return Ok(());
        }
        let confirmed =
            confirmed.map_err(|NotPlaced { serial, next }| Violation::ConfirmedUnplaced { serial, next })?;
        let Some(secured) = confirmed else { return Ok(()) };
        let jumped = self.replay.free(secured);
        if jumped && self.replay.keep() == Keep::Positions {
            self.secured_ahead();
        }
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

    fn data(&mut self, now: Timestamp) -> Option<Bytes> {
        let held = self.holds_at();
        let line = self.line.as_mut()?;
        let (cursor, base) = (self.replay.cursor(), self.replay.base());
        let first_time = cursor == self.replay.sent();
        let stop = if first_time {
            [self.asked.next(), self.answer.map(|(at, _)| at)].into_iter().flatten().min()
        } else {
            self.points.waiting(line.next_point).map(|point| point.position.messages)
        };
        let stop = stop.unwrap_or(u64::MAX).min(held);
        if stop <= cursor.messages || line.is_crowded(self.replay.unsent()) {
            return None;
        }
        //= S-26, S-31
        let limit = if planted::is(Bug::CreditIgnored) { self.replay.end() } else { self.limit };
        let credit = limit.since(cursor);
        let window = base.bytes.saturating_add(self.window.bytes).saturating_sub(cursor.bytes);
        let tentative = line.tentative_bytes.unwrap_or(u64::MAX);
        let room = Position { messages: credit.messages, bytes: credit.bytes.min(window).min(tentative) };
        // A message longer than that travels when nothing else is under way.
        let alone = cursor == base && base == self.points.secured() && !line.is_tentative();
        let taken = self.replay.take(room, stop, alone, self.digest.crc())?;
        line.wrote(taken.bytes.len() as u64, self.replay.cursor());
        if first_time {
            self.digest.update(&taken.bytes);
            self.batch_ended = taken.ends_batch;
            self.cadence.messages(now);
        } else {
            self.sent_again += taken.bytes.len() as u64;
        }
        Some(taken.bytes)
    }

    fn all_is_sent(&self) -> bool {
        let all_is_placed = self.asked.is_empty() && self.answer.is_none();
        self.ended && self.replay.cursor() == self.replay.end() && all_is_placed
    }

    //= S-22
    fn finish(&mut self) -> Option<Out> {
        let all_is_pointed = self.cadence.last() == self.replay.sent();
        if !self.all_is_sent() || !all_is_pointed || self.is_finished() || !self.may_end() {
            return None;
        }
        self.end_written = true;
        self.line.as_mut()?.end_sent = true;
        Some(Out::Frame(Frame::End(self.replay.end())))
    }
}

#[cfg(test)]
mod tests;
