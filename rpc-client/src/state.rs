//! Where a session stands.

use std::fmt;

use rpc_core::error::Reason;

use crate::net;

/// Whether the session takes calls, as far as this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Active,
    /// A release or an abort is under way: calls that run are answered, new ones refused.
    Releasing,
    /// It has ended and never takes a call again.
    Ended(End),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By [`release`](crate::Session::release).
    Released,
    /// By [`abort`](crate::Session::abort).
    Aborted,
    /// The server said so, for this reason. SESSION_UNKNOWN covers all that it does not tell apart: it has expired,
    /// was ended by an operator, or the server lost it.
    Told(Reason),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::Aborted => f.write_str("aborted"),
            Self::Told(reason) => fmt::Display::fmt(reason, f),
        }
    }
}

/// The session and its connections. The two are independent: a session outlives the loss of all of them.
#[derive(Debug, Clone)]
pub struct State {
    /// The session.
    pub life: Life,
    /// Its connections, in gRPC's words.
    pub connection: net::State,
}
