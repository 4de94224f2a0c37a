//! What a dialog does not let its application do.

use super::token::Token;
use crate::error::Reason;
use crate::negotiate::Unit;
use crate::stream::position::Serial;

/// Nothing was done, and nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialogError {
    /// Its unit is off in this session.
    #[error("the unit {0:?} is off")]
    UnitOff(Unit),
    /// There is no such token in this stream.
    #[error("the {0} token is not available in this stream")]
    Unavailable(Token),
    /// The other side owns a token that this needs, or it is under way.
    #[error("needs the {0} token")]
    Missing(Token),
    /// This side owns the token that it asks for, or that must not be its own.
    #[error("this side owns the {0} token")]
    Owned(Token),
    /// As many pieces as may have not been taken by the other application. Try again when it has taken one.
    #[error("{0} pieces wait for the other side's application")]
    Full(usize),
    /// Over its bound.
    #[error("{bytes} bytes, over the bound of {bytes_max}")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// A resynchronization is under way: nothing else goes on before it is answered.
    #[error("a resynchronization is under way")]
    Busy,
    /// A resynchronization cannot go there.
    #[error("serial {serial} is not between {least} and {most}")]
    Serial {
        /// What was named.
        serial: Serial,
        /// The lowest that may be.
        least: Serial,
        /// The highest that may be.
        most: Serial,
    },
    /// The direction has ended, or none was named: there is nothing to go back in.
    #[error("no direction to resynchronize that has not ended")]
    Ended,
    /// The other side did not ask for a resynchronization, or no longer does.
    #[error("no resynchronization is asked for")]
    NotAsked,
    /// An exception was reported, and the data token has not come since.
    #[error("a report is outstanding")]
    Outstanding,
}

impl DialogError {
    /// The reason under which it is told.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnitOff(_) | Self::Unavailable(_) => Reason::UnitUnsupported,
            Self::Missing(_) => Reason::DialogTokenMissing,
            Self::Full(_) | Self::Busy | Self::Outstanding => Reason::DialogUnanswered,
            Self::Owned(_) | Self::TooLong { .. } | Self::Serial { .. } | Self::Ended | Self::NotAsked => {
                Reason::FieldInvalid
            }
        }
    }
}
