//! How a stream ends otherwise than in order.

use super::position::{Generation, Position, Serial};
use super::splitter::TooLong;
use crate::dialog::{self, Token};
use crate::error::Reason;
use crate::id::Attempt;
use crate::negotiate::Unit;

/// Why a stream is over before its end. Nothing more is delivered or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer sent what the protocol does not allow.
    #[error("the peer broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The two sides do not have the same messages.
    #[error("the sides diverged before {0}")]
    Diverged(Position),
    /// The caller gave the call up.
    #[error("the caller cancelled the call")]
    Cancelled,
    /// The stream broke off and nobody will resume it.
    #[error("the stream broke off after {0}")]
    Incomplete(Position),
    /// What was secured could not be stored, so that nothing more can be confirmed.
    #[error("what was secured could not be stored")]
    Unstored,
    /// The own application sent what cannot be sent.
    #[error("cannot be sent: {0}")]
    Unsendable(#[from] Unsendable),
}

impl StreamError {
    /// The reason under which the call fails.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Violation(_) | Self::Unsendable(_) => Reason::ProtocolViolated,
            Self::Diverged(_) => Reason::StreamDiverged,
            Self::Cancelled => Reason::CallCancelled,
            Self::Incomplete(_) => Reason::StreamIncomplete,
            Self::Unstored => Reason::StoreUnavailable,
        }
    }
}

/// What the peer did that it may not do. It has changed nothing of what is kept, delivered or secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A point was confirmed that does not exist.
    #[error("point {serial} confirmed, the next one to be placed is {next}")]
    ConfirmedUnplaced {
        /// What was confirmed.
        serial: Serial,
        /// V(M).
        next: Serial,
    },
    /// A position beyond what was sent, before what was secured, or within a message.
    #[error("claims to have {claimed}, sent are {sent}, secured {secured}")]
    ImpossiblePosition {
        /// What the peer says it has.
        claimed: Position,
        /// What was sent.
        sent: Position,
        /// What it had secured.
        secured: Position,
    },
    /// Messages between what arrived and what comes are missing.
    #[error("a gap: {at} comes after {received}")]
    Gap {
        /// What arrived.
        received: Position,
        /// What comes.
        at: Position,
    },
    /// Data or a point without a position in a resumed attempt.
    #[error("no position before the first byte of a resumed attempt")]
    Unplaced,
    /// A frame states another position than the one that it has.
    #[error("states {stated}, is at {is}")]
    Misplaced {
        /// What the frame says.
        stated: Position,
        /// Where it came.
        is: Position,
    },
    /// A sync point's number is not the next one.
    #[error("point {serial}, expected {expected}")]
    Serial {
        /// Its number.
        serial: Serial,
        /// V(M).
        expected: Serial,
    },
    /// More than the credit allows.
    #[error("sent up to {end}, credit was up to {limit}")]
    OverCredit {
        /// Where it ends.
        end: Position,
        /// The credit.
        limit: Position,
    },
    /// More unconfirmed points, or more state with them, than allowed.
    #[error("too many unconfirmed sync points, or too much state with them")]
    TooManyPoints,
    /// Messages after END, or another END.
    #[error("the direction ended at {end}, and more came")]
    AfterEnd {
        /// The final position.
        end: Position,
    },
    /// A frame of another generation.
    #[error("generation {stated}, expected {expected}")]
    Generation {
        /// What it says.
        stated: Generation,
        /// The current one.
        expected: Generation,
    },
    /// HEAD to a server, CANCEL to a client.
    #[error("a frame that only the other side sends")]
    WrongSide,
    /// A frame that does not parse.
    #[error("a control frame that does not parse")]
    Malformed,
    /// A primitive of the dialog was confirmed that was not said.
    #[error("primitive {number} confirmed, the last one was {last}")]
    Unsaid {
        /// What was confirmed.
        number: u64,
        /// The last that was said.
        last: u64,
    },
    /// A primitive of the dialog is missing.
    #[error("primitive {number} comes after {last}")]
    Missed {
        /// What came.
        number: u64,
        /// The last that came before.
        last: u64,
    },
    /// More pieces of typed or expedited data, or more primitives that wait for data, than allowed.
    #[error("too many primitives that nobody has taken")]
    TooManyPieces,
    /// A transfer of a token that was not the peer's, or of which the two sides know different owners.
    #[error("generation {generation} of the {token} token cannot be, it has {known}")]
    Token {
        /// Which.
        token: Token,
        /// What the peer says.
        generation: u64,
        /// What this side knows.
        known: u64,
    },
    /// A resynchronization does not say who has which token.
    #[error("not each available token once")]
    Tokens,
    /// A primitive of a unit that is off.
    #[error("the unit {0:?} is off")]
    UnitOff(Unit),
    /// What the peer may not say now, by the table of the dialog.
    #[error("{event} in the state {state}")]
    OutOfPlace {
        /// What it said.
        event: dialog::Event,
        /// The state of this side.
        state: dialog::State,
    },
    /// A resynchronization to where it cannot go.
    #[error("resynchronizes to {serial} at {position}")]
    Resynchronized {
        /// The serial.
        serial: Serial,
        /// Where it is to go on.
        position: Position,
    },
    /// A message or frame over the bound.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// What the own application did that cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// Its message has the form of a control frame: field 536870911 and nothing else.
    #[error("a message with the form of a control frame")]
    LooksLikeControl,
    /// Its body ended within a message.
    #[error("half a message at the end")]
    HalfMessage,
    /// A message over the bound.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// Something after the end.
    #[error("the direction was ended")]
    AfterEnd,
    /// Response headers over the bounds of HEAD.
    #[error("response headers of more than 128 entries or 16 KiB")]
    HeadTooLong,
}

/// A sync point was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The state is over [`STATE_BYTES_MAX`](crate::frame::STATE_BYTES_MAX).
    #[error("state of {0} bytes, over the bound of 65536")]
    StateTooLong(usize),
    /// Too many points wait for their confirmation. Try again when the peer has secured one.
    #[error("too many unconfirmed sync points, or too much state with them")]
    TooManyPoints,
    /// The direction was ended.
    #[error("the direction was ended")]
    AfterEnd,
    /// The last message is not whole.
    #[error("within a message")]
    WithinMessage,
    /// More messages were given already than the point was to follow.
    #[error("a point after {after} messages, of which {given} were given already")]
    Passed {
        /// After how many it was to lie.
        after: u64,
        /// How many were given, those before a resumption included.
        given: u64,
    },
}

/// A sender keeps the bytes of what it sends all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// Something was given already.
    #[error("the direction has begun")]
    Begun,
    /// In a dialog a direction may go back to where nobody can begin again.
    #[error("the stream has a dialog")]
    Dialog,
}

/// A sync point was not taken in a stream with a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The dialog does not permit it now.
    #[error(transparent)]
    Dialog(#[from] dialog::DialogError),
    /// As where there is no dialog.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// A major point waits for its answer.
    #[error("a major point waits for its answer")]
    Closing,
    /// Answers to major points are the session's own.
    #[error("not a point that applications place")]
    NotForApplications,
}

/// A point was not secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecureError {
    /// The application was not handed this point.
    #[error("point {serial} was not delivered, the last one was {delivered}")]
    NotDelivered {
        /// What was to be secured.
        serial: Serial,
        /// The last that was delivered.
        delivered: Serial,
    },
    /// The state is over [`STATE_BYTES_MAX`](crate::frame::STATE_BYTES_MAX).
    #[error("state of {0} bytes, over the bound of 65536")]
    StateTooLong(usize),
}

/// An attempt was not begun. The stream is untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// A newer one was begun before.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The peer's positions cannot be.
    #[error("the peer broke the protocol: {0}")]
    Refused(#[from] Violation),
}

impl AttemptError {
    /// The reason under which the attempt is refused.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Fenced(_) => Reason::AttemptFenced,
            Self::Refused(_) => Reason::ProtocolViolated,
        }
    }
}

/// What came belongs to an attempt that is over. The stream is untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attempt {attempt} is not the current one")]
pub struct Fenced {
    /// The attempt that asked.
    pub attempt: Attempt,
}
