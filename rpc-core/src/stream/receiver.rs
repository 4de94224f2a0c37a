//! One direction at the side that receives it.

mod arrival;
mod frameless;
mod here;
mod holding;
mod resetting;
mod securing;
mod storing;

use std::collections::VecDeque;

use bytes::Bytes;

use super::cadence::Cadence;
use super::digest::Running;
use super::error::{SecureError, StreamError, Violation};
use super::position::{Generation, Position, Serial};
use super::resetting::Heard;
use super::run::Run;
use super::secured::Secured;
use super::{Config, POINTS_UNCONFIRMED_MAX, STATE_BYTES_UNCONFIRMED_MAX, Verify};
use crate::frame::{At, Credit, Frame, PointKind, Received, STATE_BYTES_MAX, SyncPoint};
use crate::planted::{self, Bug};
use arrival::{Arrival, Part};
use here::Here;
use holding::Answers;
use securing::Securing;

/// What the application gets when it asks for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Messages.
    Messages(Run),
    /// A point, where the application secures them itself.
    Point(SyncPoint),
    /// The direction ended, and everything was taken.
    End,
    /// Nothing yet.
    Wait,
}

/// Hands each message to the application once, in order, over all attempts.
///
/// The positions hold *secured* ≤ *taken* ≤ *delivered* ≤ *received*, and what lies between *taken* and *received* is
/// never more than the window, or a single message that is longer.
#[derive(Debug)]
pub struct Receiver {
    window: Position,
    credit_at_first: Position,
    verify: Verify,
    cadence: Cadence,
    digest: Running,
    received: Position,
    /// What a digest has vouched for.
    verified: Position,
    delivered: Position,
    /// The application asked for more after it had got everything before this place.
    taken: Position,
    queue: VecDeque<Queued>,
    securing: Securing,
    /// V(M) of this side: the number that the next point must have.
    next_serial: Serial,
    ended: Option<Position>,
    /// The credit that was given, and what was said to have arrived.
    granted: Position,
    /// Beyond the credit: what a sender may send that does not know yet that this side was restored.
    tentative: Position,
    told: Position,
    credit_due: bool,
    /// Nobody will ask for more: what comes is dropped.
    unwanted: bool,
    arrival: Option<Arrival>,
    generation: Generation,
    here: Here,
    /// In which END came.
    ended_in: Generation,
    /// V(R) of this side: nothing goes back behind it.
    restart: Serial,
    /// Nothing is delivered beyond the last separating point.
    held: bool,
    reset: Heard,
    /// The generation of what the application is given, and how many begin behind it in the queue.
    delivers: Generation,
    bases: usize,
    /// Told by RECEIVED that a separating point came.
    received_due: bool,
    answers: Answers,
}

#[derive(Debug)]
enum Queued {
    Messages(Run),
    Point(SyncPoint),
    /// Of a resynchronization: what follows belongs to the next generation, and lies after that place.
    Base(Position, Generation),
}

impl Receiver {
    /// A direction from which nothing came yet.
    pub fn new(config: &Config) -> Self {
        Self::from_point(config, None)
    }

    /// A direction of which nothing is left but its last secured point, `None`: nothing was secured.
    //= D-18
    pub fn from_point(config: &Config, secured: Option<&Secured>) -> Self {
        let start = secured.map_or(Position::ORIGIN, |point| point.position);
        let credit = config.credit_at_first();
        Self {
            window: config.window(),
            credit_at_first: credit,
            verify: config.verify,
            cadence: Cadence::new(config, start),
            digest: Running::from_point(config.digest, secured.map(|point| &point.digest)),
            received: start,
            verified: start,
            delivered: start,
            taken: start,
            queue: VecDeque::new(),
            securing: Securing::new(config, secured),
            next_serial: secured.map_or(Serial::FIRST, |point| point.serial.next()),
            ended: None,
            granted: start.plus(credit.messages, credit.bytes),
            tentative: Position::ORIGIN,
            told: start,
            credit_due: false,
            unwanted: false,
            arrival: None,
            generation: Generation::default(),
            here: Here::default(),
            ended_in: Generation::default(),
            restart: Serial::FIRST,
            held: false,
            reset: Heard::Yes,
            delivers: Generation::default(),
            bases: 0,
            received_due: false,
            answers: Answers::default(),
        }
    }

    /// Begins an attempt, which voids the one before. Its first byte belongs to `from`, or to where AT says.
    ///
    /// # Errors
    ///
    /// See [`check`](Self::check).
    pub fn attempt(&mut self, from: Option<Position>) -> Result<(), Violation> {
        self.check(from)?;
        self.arrival = Some(Arrival::new(from.map(|from| (from, self.crc_at(from)))));
        self.securing.repeat();
        self.credit_due = true;
        Ok(())
    }

    /// Whether an attempt whose first byte belongs to `from` leaves no gap. Nothing changes.
    ///
    /// # Errors
    ///
    /// It leaves one.
    //= S-19
    pub fn check(&self, from: Option<Position>) -> Result<(), Violation> {
        let ahead = from.filter(|from| !from.within(self.received));
        ahead.map_or(Ok(()), |at| Err(Violation::Gap { received: self.received, at }))
    }

    /// The connection was lost.
    pub fn detached(&mut self) {
        self.arrival = None;
    }

    /// What this side has, for the beginning of an attempt.
    pub fn has(&mut self) -> Received {
        self.granted = self.granted.furthest(self.limit());
        self.told = self.received;
        self.peek()
    }

    /// The same, without a promise of credit.
    pub fn peek(&self) -> Received {
        Received {
            generation: self.generation,
            position: self.received,
            crc: self.digest.crc(),
            secured: self.securing.secured_serial(),
            limit: self.granted,
            next: self.next_serial,
        }
    }

    /// The sender says where the next byte belongs.
    ///
    /// # Errors
    ///
    /// The place leaves a gap, or what was sent before it is not what arrived.
    //= S-17, S-19, S-20, S-35, D-11, I14
    pub fn at(&mut self, at: At) -> Result<(), StreamError> {
        let Some(arrival) = &mut self.arrival else { return Ok(()) };
        let (stated, expected) = (at.generation, self.generation);
        // A sender is restored between two attempts.
        let is_other = stated < expected || stated > expected && !arrival.is_unplaced();
        if is_other && !planted::is(Bug::GenerationNotCompared) {
            return Err(Violation::Generation { stated, expected }.into());
        }
        arrival.at(at, self.received, self.digest.crc())?;
        if stated > expected && arrival.position()?.is_some() {
            // The sender was restored. What this side has stays as it is; points go on from here.
            self.generation = stated;
            self.digest.restart_chain();
            self.here.rejoin();
        }
        Ok(())
    }

    /// Messages arrived.
    ///
    /// # Errors
    ///
    /// They leave a gap, are more than the credit allows, or come after the end; or what was sent again differs from what
    /// arrived before. Nothing of them is delivered.
    //= S-18, S-19, S-26, I9
    pub fn messages(&mut self, run: Run) -> Result<(), StreamError> {
        let Some(arrival) = &mut self.arrival else { return Ok(()) };
        let Part::New(run) = arrival.run(run, self.received, self.digest.crc())? else { return Ok(()) };
        let end = self.received.plus(run.messages(), run.bytes());
        if let Some(ended) = self.ended {
            // A sender that was restored gave an end before that it does not give now.
            let is_new = self.ended_in < self.generation;
            let after_end = Violation::AfterEnd { end: ended };
            return Err(if is_new { StreamError::Diverged(end) } else { after_end.into() });
        }
        // A message longer than the credit is in order when everything before it is secured. The sender, which learns
        // that later than it is so here, begins it only then.
        let alone = run.messages() == 1 && self.securing.secured() == self.received;
        if !end.within(self.granted.furthest(self.tentative)) && !alone && arrival.keeps_to_credit() {
            return Err(Violation::OverCredit { end, limit: self.granted }.into());
        }
        run.parts().iter().for_each(|part| self.digest.update(part));
        self.received = end;
        self.here.leave();
        self.queue.push_back(Queued::Messages(run));
        self.drop_unwanted();
        Ok(())
    }

    /// A sync point arrived.
    ///
    /// # Errors
    ///
    /// It is not the next one, not where it says, or its digest differs: what follows it is never delivered.
    //= S-20
    pub fn sync(&mut self, point: SyncPoint) -> Result<(), StreamError> {
        let Some(arrival) = &self.arrival else { return Ok(()) };
        let Some(is) = arrival.position()? else { return Ok(()) };
        if point.position != is {
            return Err(Violation::Misplaced { stated: point.position, is }.into());
        }
        self.credit_due = true;
        if point.serial < self.next_serial {
            self.securing.compare(&point)?;
            self.came_again(&point);
            return Ok(());
        }
        if point.serial > self.next_serial || is != self.received {
            return Err(Violation::Serial { serial: point.serial, expected: self.next_serial }.into());
        }
        // A sender that was restored does not know the point that lies at the end.
        if let Some(end) = self.ended.filter(|_| self.ended_in == self.generation) {
            return Err(Violation::AfterEnd { end }.into());
        }
        if !self.securing.has_room(point.state.len()) {
            return Err(Violation::TooManyPoints.into());
        }
        //= I13
        if self.digest.at_point() != point.digest && !planted::is(Bug::PointDigestNotCompared) {
            return Err(StreamError::Diverged(is));
        }
        self.arrived(point);
        Ok(())
    }

    /// The sender says that its direction ends here.
    ///
    /// # Errors
    ///
    /// It ends elsewhere.
    //= S-22
    pub fn end(&mut self, stated: Position) -> Result<(), StreamError> {
        let Some(arrival) = &self.arrival else { return Ok(()) };
        let Some(is) = arrival.position()? else { return Ok(()) };
        if planted::is(Bug::EndNotCompared) {
            self.ended = Some(self.received);
            return Ok(());
        }
        if stated != is || stated != self.received || self.ended.is_some_and(|end| end != stated) {
            return Err(Violation::Misplaced { stated, is }.into());
        }
        (self.ended, self.ended_in) = (Some(stated), self.generation);
        Ok(())
    }

    /// The application asks for more: everything it was given before is taken.
    //= S-3, I10
    pub fn take(&mut self) -> Taken {
        self.taken = self.delivered;
        while !self.is_held_here()
            && let Some(next) = self.queue.pop_front()
        {
            match next {
                Queued::Messages(run) => {
                    let end = self.delivered.plus(run.messages(), run.bytes());
                    if self.verify == Verify::Held && !end.within(self.verified) {
                        self.queue.push_front(Queued::Messages(run));
                        return Taken::Wait;
                    }
                    self.delivered = end;
                    return Taken::Messages(run);
                }
                Queued::Point(mut point) => {
                    self.credit_due = true;
                    self.answers.passed(&point);
                    let is_old = self.is_before_base();
                    //= S-3
                    if !self.unwanted && self.securing.passed(&point, is_old) {
                        if point.kind == PointKind::MajorAnswer {
                            point.state = Bytes::new();
                        }
                        return Taken::Point(point);
                    }
                }
                Queued::Base(base, generation) => {
                    self.bases -= 1;
                    self.delivers_from(base, generation);
                    if !self.unwanted {
                        // The application learns first that it goes on elsewhere.
                        return Taken::Wait;
                    }
                }
            }
        }
        if self.is_finished() { Taken::End } else { Taken::Wait }
    }

    /// The application will not ask again: what waits and what comes is dropped. The sender may go on, and no point is
    /// confirmed that the application had not come to: nobody has what lies before it.
    pub fn unwanted(&mut self) {
        self.unwanted = true;
        self.drop_unwanted();
    }

    /// From here on the application secures points itself.
    pub fn secure_explicitly(&mut self) {
        self.securing.explicitly();
    }

    /// The application has everything before the point, and leaves `state` with the confirmation. All points before it
    /// are secured with it.
    ///
    /// # Errors
    ///
    /// It was not given that point, or the state is too long. Nothing has changed.
    //= S-3, S-10
    pub fn secure(&mut self, serial: Serial, state: Bytes) -> Result<(), SecureError> {
        if state.len() > STATE_BYTES_MAX {
            return Err(SecureError::StateTooLong(state.len()));
        }
        self.securing.secure(serial, state)
    }

    /// The next frame for the sender: confirmations first, then credit.
    pub fn step(&mut self) -> Option<Frame> {
        self.arrival.as_ref()?;
        if std::mem::take(&mut self.received_due) {
            return Some(Frame::Received(self.has()));
        }
        if let Some(ack) = self.securing.ack() {
            return Some(Frame::SyncAck(ack));
        }
        let limit = self.limit();
        let more = limit.since(self.granted);
        let much = more.bytes.saturating_mul(4) >= self.window.bytes
            || more.messages.saturating_mul(4) >= self.window.messages;
        let asked = std::mem::take(&mut self.credit_due);
        let news = more != Position::ORIGIN || self.told < self.received;
        let due = much || asked && news;
        if !due {
            return None;
        }
        (self.granted, self.told) = (self.granted.furthest(limit), self.received);
        Some(Frame::Credit(Credit { received: self.received, limit: self.granted }))
    }

    /// END came, and the application was given everything before it.
    //= S-23
    pub fn is_finished(&self) -> bool {
        self.ended == Some(self.delivered) && self.queue.is_empty()
    }

    /// END came, and with it everything before.
    pub fn is_complete(&self) -> bool {
        self.ended.is_some()
    }

    /// End of the last whole message that arrived.
    pub fn received(&self) -> Position {
        self.received
    }

    /// End of what the application was given.
    pub fn delivered(&self) -> Position {
        self.delivered
    }

    fn limit(&self) -> Position {
        self.taken.plus(self.window.messages, self.window.bytes)
    }

    /// The next point is here, and its digest right.
    fn arrived(&mut self, point: SyncPoint) {
        self.next_serial = point.serial.next();
        self.received_due |= point.kind == PointKind::Separating;
        self.answers.arrived(&point);
        if self.taken == point.position {
            // Nothing lies before it that the application has not used up, and it may not ask for long: the caller of an upload
            // reads its answer at the end.
            self.answers.passed(&point);
        }
        self.verified = point.position;
        self.cadence.placed(point.position);
        let again = self.here.place(&point.state);
        self.securing.arrived(point.clone(), again);
        self.queue.push_back(Queued::Point(point));
        self.drop_unwanted();
    }

    /// CRC of everything before a place, where it is known: at the end and at the points that are remembered.
    fn crc_at(&self, place: Position) -> Option<u32> {
        if place == self.received {
            return Some(self.digest.crc());
        }
        if place == Position::ORIGIN {
            return Some(0);
        }
        self.securing.points().find(|point| point.position == place).map(|point| point.digest.crc)
    }

    fn drop_unwanted(&mut self) {
        if self.unwanted {
            while !matches!(self.take(), Taken::End | Taken::Wait) {}
        }
    }
}

/// Whether one more point with this much state may wait, of which there are already `points` with `state_bytes`.
fn has_room(points: usize, state_bytes: usize, more: usize) -> bool {
    points < POINTS_UNCONFIRMED_MAX && state_bytes + more <= STATE_BYTES_UNCONFIRMED_MAX
}

#[cfg(test)]
mod tests;
