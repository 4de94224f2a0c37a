//! How a sender that was restored comes back to where its peer is.
//!
//! It begins at the last stored point, the peer lives on and has more, and its sync points after the stored one lie at
//! places and have numbers that are not known here. So nothing is sent until the peer has said what it has. What the
//! application gives up to there is compared and dropped; there the points go on with the number that the peer expects
//! next, in a new generation. In the words of X.215: a resynchronization, *set*.

use super::Sender;
use super::rereading::Known;
use crate::frame::Received;
use crate::stream::error::{StreamError, Violation};
use crate::stream::position::{Generation, Position, Serial};

/// No stream has come further: a peer that says so would have the numbers run out.
const SERIAL_MAX: Serial = Serial(u64::MAX >> 1);

/// A sender that has not come to where its peer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rejoining {
    /// The peer has not said yet what it has.
    Unknown,
    /// Up to there the peer has what the application is to give again.
    Until(Place),
    /// The stored point is the base of a resynchronization of which the peer has not heard. It asks for it once more.
    Behind,
}

/// What the peer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    generation: Generation,
    position: Position,
    crc: u32,
}

impl Place {
    fn of(peer: &Received) -> Self {
        Self { generation: peer.generation, position: peer.position, crc: peer.crc }
    }

    pub(super) fn known(self) -> Known {
        Known { position: self.position, crc: self.crc }
    }
}

impl Sender {
    /// A direction of which its peer may have more than the last stored point.
    //= S-28, S-34
    pub(in crate::stream) fn restored(mut self) -> Self {
        self.rejoining = Some(Rejoining::Unknown);
        self.points.forget_restart();
        self
    }

    /// Up to where the peer has what the application is to give again; `None` when nothing of it is to be given, or it is
    /// not known yet.
    pub(super) fn rejoins_at(&self) -> Option<Position> {
        match self.rejoining {
            Some(Rejoining::Until(place)) => Some(place.position),
            Some(Rejoining::Unknown | Rejoining::Behind) | None => None,
        }
    }

    /// Whether the peer of a restored sender can have what it says.
    //= S-12, D-11
    pub(super) fn check_rejoining(&self, rejoining: Rejoining, peer: &Received) -> Result<(), Violation> {
        let base = self.replay.base();
        let possible = match rejoining {
            Rejoining::Unknown | Rejoining::Behind => {
                self.is_ahead_of(peer) || base.within(peer.position) && base.agrees_with(peer.position)
            }
            // Nothing has come to it meanwhile.
            Rejoining::Until(place) => place == Place::of(peer),
        };
        if !possible {
            return Err(self.impossible(peer.position));
        }
        let next = self.next_of(peer);
        if next > SERIAL_MAX {
            return Err(Violation::Serial { serial: next, expected: self.points.serials().next });
        }
        if peer.secured >= next {
            return Err(Violation::ConfirmedUnplaced { serial: peer.secured, next });
        }
        following(peer.generation).map(drop)
    }

    /// The peer says what it has. It was checked.
    pub(super) fn rejoin(&mut self, rejoining: Rejoining, peer: &Received) -> Result<(), StreamError> {
        if self.is_ahead_of(peer) && !matches!(rejoining, Rejoining::Until(_)) {
            self.generation = following(peer.generation)?;
            self.rejoining = Some(Rejoining::Behind);
            self.answered_from_afar(peer);
            return Ok(());
        }
        if matches!(rejoining, Rejoining::Unknown) {
            self.generation = following(peer.generation)?;
            self.points.set(self.next_of(peer));
            self.asked.begin_at(peer.position.messages);
            self.answer = self.answer.map(|(at, answered)| (at.max(peer.position.messages), answered));
            self.rejoining = Some(Rejoining::Until(Place::of(peer)));
        }
        self.answered(peer);
        self.catch_up()
    }

    /// Compares what the application gave with what the peer has, and forgets it: sent it never is.
    ///
    /// # Errors
    ///
    /// It is not the same. Nothing that follows is sent.
    //= S-20, S-34, I13
    pub(super) fn catch_up(&mut self) -> Result<(), StreamError> {
        let Some(Rejoining::Until(place)) = self.rejoining else { return Ok(()) };
        let diverged = Err(StreamError::Diverged(place.position));
        let rest = |here: Position| place.position.since(here);
        while let Some(taken) =
            self.replay.take(rest(self.replay.cursor()), u64::MAX, false, self.digest.crc())
        {
            self.digest.update(&taken.bytes);
            self.batch_ended = taken.ends_batch;
        }
        let here = self.replay.cursor();
        self.replay.free(here);
        if here != place.position {
            // What comes next does not end where the peer's messages do, or nothing comes.
            let is_other = self.ended || here < self.replay.end();
            return if is_other { diverged } else { Ok(()) };
        }
        if self.digest.crc() != place.crc {
            return diverged;
        }
        self.rejoining = None;
        self.rejoined = Some(place);
        self.digest.restart_chain();
        if let Some(line) = &mut self.line {
            line.jumped(here, self.points.first_from(here));
        }
        Ok(())
    }

    /// Whether the peer may state that generation: the current one, or the one before as long as nothing has come to it.
    //= D-11, I14
    pub(super) fn check_generation(&self, peer: &Received) -> Result<(), Violation> {
        let has_heard_nothing = self.rejoined == Some(Place::of(peer));
        if peer.generation == self.generation || has_heard_nothing {
            return Ok(());
        }
        Err(Violation::Generation { stated: peer.generation, expected: self.generation })
    }

    /// Whether it was restored at the base of a resynchronization of which the peer has not heard.
    fn is_ahead_of(&self, peer: &Received) -> bool {
        let base = self.replay.base();
        let is_base = self.digest.crc() == 0 && base != Position::ORIGIN && self.replay.sent() == base;
        let has_less = peer.position != base && peer.position.within(base);
        is_base && (has_less || peer.position == base && peer.crc != 0)
    }

    /// The number of the next point, as the peer expects it.
    fn next_of(&self, peer: &Received) -> Serial {
        let known = self.points.serials().next;
        if peer.next == Serial::NONE { known.max(peer.secured.next()) } else { peer.next.max(known) }
    }
}

fn following(older: Generation) -> Result<Generation, Violation> {
    let newer = older.0.checked_add(1).map(Generation);
    newer.ok_or(Violation::Generation { stated: older, expected: Generation::default() })
}
