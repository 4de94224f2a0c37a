//! What comes in one attempt, and how it joins what is there.

use crate::checksum::append;
use crate::frame::At;
use crate::stream::error::{StreamError, Violation};
use crate::stream::position::Position;
use crate::stream::run::Run;

/// One attempt as the receiver sees it.
#[derive(Debug)]
pub(super) struct Arrival {
    place: Place,
    /// The sender, which did not know better, began after what this side has: it is told by RECEIVED and goes back.
    /// Happens once in an attempt, and only to a side that lost what it had received and not secured.
    excused: bool,
    /// The sender knows no control frames: it was given no credit.
    frameless: bool,
}

#[derive(Debug)]
enum Place {
    /// AT must come first.
    Unknown,
    /// The next byte belongs here; with the CRC of everything before it, as the sender sent it.
    Known { position: Position, crc: Option<u32> },
    /// What comes is of no use until the next AT.
    Ahead,
}

/// What of a run is new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    New(Run),
    Nothing,
}

impl Arrival {
    /// The first byte belongs to that place, with the CRC of everything before it where that is known; `None`: AT says
    /// where.
    pub(super) fn new(from: Option<(Position, Option<u32>)>) -> Self {
        let place = from.map_or(Place::Unknown, |(position, crc)| Place::Known { position, crc });
        Self { place, excused: false, frameless: false }
    }

    pub(super) fn without_frames(&mut self) {
        self.frameless = true;
    }

    pub(super) fn keeps_to_credit(&self) -> bool {
        !self.frameless
    }

    /// Where the next byte belongs; `None` if it is of no use.
    pub(super) fn position(&self) -> Result<Option<Position>, Violation> {
        match self.place {
            Place::Known { position, .. } => Ok(Some(position)),
            Place::Ahead => Ok(None),
            Place::Unknown => Err(Violation::Unplaced),
        }
    }

    /// Nothing came in this attempt, and the sender has not said where it begins.
    pub(super) fn is_unplaced(&self) -> bool {
        matches!(self.place, Place::Unknown)
    }

    /// The sender states a position. `received` and `crc` are what this side has.
    pub(super) fn at(&mut self, at: At, received: Position, crc: u32) -> Result<(), StreamError> {
        if at.position > received || !at.position.within(received) {
            let first = matches!(self.place, Place::Unknown) && !std::mem::replace(&mut self.excused, true);
            if !first {
                return Err(Violation::Gap { received, at: at.position }.into());
            }
            self.place = Place::Ahead;
            return Ok(());
        }
        self.place = Place::Known { position: at.position, crc: Some(at.crc) };
        self.compare(received, crc)
    }

    /// Takes a run to its place, and answers what of it is new: all, nothing, or the messages after what is there.
    pub(super) fn run(&mut self, mut run: Run, received: Position, crc: u32) -> Result<Part, StreamError> {
        let Place::Known { position, crc: stated } = &mut self.place else {
            return match self.place {
                Place::Ahead => Ok(Part::Nothing),
                Place::Unknown | Place::Known { .. } => Err(Violation::Unplaced.into()),
            };
        };
        let (begin, end) = (*position, position.plus(run.messages(), run.bytes()));
        if begin == received {
            *position = end;
            *stated = None;
            return Ok(Part::New(run));
        }
        let known = received.since(begin);
        let repeated = if end.messages <= received.messages {
            std::mem::replace(&mut run, Run::nothing())
        } else {
            // What is there ends between two messages of the sender, or the two do not have the same messages.
            run.split_front(known).ok_or(StreamError::Diverged(received))?
        };
        if !begin.plus(repeated.messages(), repeated.bytes()).within(received) {
            return Err(StreamError::Diverged(received));
        }
        *position = begin.plus(repeated.messages(), repeated.bytes());
        *stated = stated.map(|stated| repeated.parts().iter().fold(stated, |crc, part| append(crc, part)));
        self.compare(received, crc)?;
        if run.messages() == 0 {
            return Ok(Part::Nothing);
        }
        self.place = Place::Known { position: end, crc: None };
        Ok(Part::New(run))
    }

    /// Where what is repeated meets the end of what is there, both must be the same. This is what keeps a sender that
    /// repeats itself wrongly from being delivered.
    //= S-20, I13
    fn compare(&self, received: Position, crc: u32) -> Result<(), StreamError> {
        let Place::Known { position, crc: stated } = self.place else { return Ok(()) };
        if position.messages != received.messages {
            return Ok(());
        }
        let same = position == received && stated.is_none_or(|stated| stated == crc);
        if same { Ok(()) } else { Err(StreamError::Diverged(received)) }
    }
}
