//! What a session wants its shell to do.

use std::fmt;

use super::slots::CallState;
use crate::error::Reason;
use crate::id::{CallId, ConnectionId, Epoch, Sequence};
use crate::record::{Change, End, Summary};

/// A request of the session service that waits for its answer, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Counts the records that one session has sent to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordId(u64);

impl RecordId {
    /// The record after this one.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Give this change to the store; tell the session by `durable` or `store_failed` what became of it.
    Persist {
        /// What to call it in the answer.
        record: RecordId,
        /// Under which epoch.
        epoch: Epoch,
        /// What to keep.
        change: Change,
    },
    /// Answer a waiting request.
    Answer {
        /// Which one.
        request: RequestId,
        /// With what.
        answer: Answer,
    },
    /// The store knows of this call: run its handler.
    Dispatch(CallId),
    /// The store has the reply of this call: answer it.
    Recorded(CallId),
    /// The store refused the transaction of this call, which has had no effect: run its handler again.
    RunAgain(CallId),
    /// The record of this call was not kept: its handler is not to run, or its reply is not to be answered.
    NotRecorded(CallId, Reason),
    /// The store knows up to where the stream of this call is secured: tell the other side.
    StreamRecorded(CallId),
    /// The store does not know it: the stream fails.
    StreamNotRecorded(CallId, Reason),
    /// Drop the handler of this call at its next await.
    Stop(CallId),
    /// Tell whoever watches.
    Event(Event),
}

/// The answer to a request of the session service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The session is open.
    Opened {
        /// It was before: this answers a repeated opening.
        existing: bool,
    },
    /// Lease, authority and ticket are renewed as asked.
    Renewed,
    /// Ended in order, after this was exchanged.
    Released(Summary),
    /// Not ended: so many calls are not at their end.
    ReleaseRefused {
        /// Calls that run, and streams of which not everything is secured.
        running: u32,
    },
    /// Not ended: the acceptor owns the release token.
    ReleaseTokenMissing,
    /// The initiator goes on although it was asked to release the session.
    ReleaseDeclined,
    /// The release that the acceptor asked for, or what else ended the session.
    Ended(End),
    /// Ended now.
    Aborted {
        /// What became of the calls under way.
        calls: Vec<(CallId, CallState)>,
    },
    /// What became of the call that was asked for, and the last sequence of its slot.
    Queried(CallState, Sequence),
    /// What the answer rests on could not be kept.
    Failed(Reason),
}

/// What happened to a session, for logs, metrics and watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// It is open.
    Opened,
    /// A connection carries it that did not before.
    Attached(ConnectionId),
    /// A connection that carried it is gone.
    Detached(ConnectionId),
    /// None is left.
    Lingering,
    /// Its owner came back.
    Returned,
    /// Its authority was renewed.
    AuthorityRenewed,
    /// A new ticket was used for the first time; the old one is void.
    TicketRotated,
    /// It is over.
    Ended(End),
    /// The store knows that it is over.
    EndRecorded(End),
    /// What the initiator is to be told of the release or of its token may have changed: ask [`Session::said`].
    ///
    /// [`Session::said`]: super::Session::said
    ReleaseMoved,
    /// The record of its opening was not kept: nobody ever learned its number.
    NeverOpened,
    /// Another server owns it.
    Fenced,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::Attached(connection) => write!(f, "attached to connection {connection}"),
            Self::Detached(connection) => write!(f, "detached from connection {connection}"),
            Self::Lingering => f.write_str("lingering"),
            Self::Returned => f.write_str("returned"),
            Self::AuthorityRenewed => f.write_str("authority renewed"),
            Self::TicketRotated => f.write_str("ticket rotated"),
            Self::Ended(End::Released) => f.write_str("released"),
            Self::Ended(End::Aborted) => f.write_str("aborted"),
            Self::Ended(End::Expired) => f.write_str("expired"),
            Self::EndRecorded(_) => f.write_str("end recorded"),
            Self::ReleaseMoved => f.write_str("release moved"),
            Self::NeverOpened => f.write_str("never opened"),
            Self::Fenced => f.write_str("fenced"),
        }
    }
}
