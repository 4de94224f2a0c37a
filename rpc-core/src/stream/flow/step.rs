//! What goes in and out of a flow.

use bytes::Bytes;

use super::Flow;
use crate::frame::{Frame, SyncPoint};
use crate::stream::error::StreamError;
use crate::stream::position::Position;
use crate::stream::run::Run;
use crate::time::Timestamp;

/// Which side of the call this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It made the call: it may cancel, and resumes.
    Client,
    /// It answers the call.
    Server,
}

/// What the application gets when it asks for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// Messages, whole. They never reach over a sync point that the application is to see.
    Messages(Run),
    /// A sync point, where the application secures them itself.
    Point(SyncPoint),
    /// The direction ended in order, and everything was taken.
    End,
    /// Nothing yet: ask again after the next input of the transport.
    Wait,
    /// The stream is over before its end.
    Failed(StreamError),
}

/// What a shell writes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes, as they are.
    Data(Bytes),
    /// This frame, encoded.
    Control(Frame),
    /// Nothing until the next input, or until `wake`.
    Idle {
        /// When to poll again without an input.
        wake: Timestamp,
    },
    /// The stream is over: the call ends with this error. A server answers with it; a client has said CANCEL before.
    Failed(StreamError),
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What was sent at least once, what of it the peer said that it has, and what the peer has secured.
    pub sent: Position,
    /// See [`sent`](Self::sent).
    pub sent_received: Position,
    /// See [`sent`](Self::sent).
    pub sent_secured: Position,
    /// Bytes that were sent more than once, each time counted: what resuming has cost so far.
    pub sent_again: u64,
    /// What arrived, what of it the application was given, and what is secured.
    pub received: Position,
    /// See [`received`](Self::received).
    pub delivered: Position,
    /// See [`received`](Self::received).
    pub received_secured: Position,
    /// How often another attempt took over.
    pub resumes: u32,
}

impl Flow {
    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress {
            sent: self.sender.sent(),
            sent_received: self.sender.received(),
            sent_secured: self.sender.secured(),
            sent_again: self.sender.sent_again(),
            received: self.receiver.received(),
            delivered: self.receiver.delivered(),
            received_secured: self.receiver.secured(),
            resumes: self.resumes,
        }
    }
}
