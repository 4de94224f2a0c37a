//! Checkpointed streams: what a call sends and receives, over all the connections that carry it.
//!
//! Each direction of a call has a [`Sender`](sender::Sender) at one side and a [`Receiver`](receiver::Receiver) at the
//! other. A [`Flow`](flow::Flow) is one side of a call: the sender of one direction and the receiver of the other. It is
//! what a shell holds, under one lock.
//!
//! ```text
//!   application ─▶ Sender ─▶ DATA, AT, SYNC, END ─────────▶ Receiver ─▶ application
//!                    ▲                                          │
//!                    └───────── RECEIVED, CREDIT, SYNC_ACK ◀────┘
//! ```
//!
//! - The sender keeps every message until it is *secured*: taken by the application, which asked for more,
//!   or declared so by the application. What was merely received may be lost with the receiver. An application that can give
//!   its messages again [keeps them itself](flow::Flow::keep_positions): the sender knows where they lie and their digests.
//! - Numbered [sync points](crate::frame::SyncPoint) lie between messages; a confirmation secures everything before one.
//! - A lost connection ends an *attempt*, not the call. In the next one each side says what it has
//!   ([`Received`](crate::frame::Received)), the other goes on from there, and what arrives twice is dropped, whole
//!   messages at a time.
//! - When both processes die, another call can go on from the last secured points and what the applications left there: a
//!   [`Resumption`](secured::Resumption).
//! - Where a stream is [durable](Config::durable), its server stores that before it confirms anything that rests on it. When
//!   the server has died, its flow is [restored](flow::Flow::restored) while the client's lives on: requests come again from
//!   the stored point, and what the handler gives again of the responses is compared with what the client has. From there
//!   the direction goes on in a new [`Generation`](position::Generation).
//! - Where a stream has a [dialog](crate::dialog), that says when its sender may send, and a resynchronization lets a direction
//!   go on at a new base: nothing older is delivered any more, but for what lies before a separating point. A major point holds
//!   its sender until both sides have everything of the dialogue unit.
//! - Digests are compared wherever two attempts are joined and at each sync point. See [`Verify`] for what that means
//!   for the messages between two points.

mod answer;
mod cadence;
pub mod digest;
pub mod error;
pub mod flow;
mod points;
pub mod position;
pub mod receiver;
mod replay;
mod resetting;
pub mod resume;
pub mod run;
pub mod secured;
pub mod sender;
pub mod splitter;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use points::{POINTS_UNCONFIRMED_MAX, STATE_BYTES_UNCONFIRMED_MAX};

use crate::dialog::Terms;
use crate::policy::{Checkpoint, Secure};
use crate::stream::digest::DigestKind;
use crate::stream::position::Position;

/// What a sender may send in a direction before the receiver's first CREDIT or RECEIVED, where its own window is not
/// smaller: a constant of the protocol, so that neither side has to know the other's window.
const CREDIT_AT_FIRST: Position = Position { messages: 1_024, bytes: 64 << 10 };

/// Most bytes that are sent in a resumed attempt before the peer has said what it has.
const TENTATIVE_BYTES_MAX: u64 = 64 << 10;

/// How one call streams. Both sides have negotiated the digest; the rest is each side's own. Windows below 64 KiB or
/// 1,024 messages have to be the same at both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of one direction that are not secured, and bytes that wait for an application. Default 4 MiB.
    ///
    /// When the first are too many, the sender waits; of the second, it is told how many it may send. A message longer
    /// than this travels alone: when everything before it is secured.
    pub window_bytes: u64,
    /// Messages that wait for an application. Default 16,384: a mebibyte of 64-byte messages.
    pub window_messages: u64,
    /// Longest message, without its framing. Default 4 MiB, as tonic has it. A longer one ends the stream.
    pub message_bytes_max: u32,
    /// When sync points are placed by themselves. Default: only when the window needs one.
    pub checkpoint: Option<Checkpoint>,
    /// Who declares what arrives secured. Default: the session.
    pub secure: Secure,
    /// Whether what is secured here counts only when it is [stored](flow::Flow::stored): nothing is confirmed before.
    /// Default: no. Servers only; a client's promises end with its process.
    pub durable: bool,
    /// Which digests the points carry. Default: CRC32C.
    pub digest: DigestKind,
    /// When what arrives is handed to the application. Default: at once.
    pub verify: Verify,
    /// After how long a silence a side says that it is there. Default 20 s: nginx ends what is silent for 60 s.
    pub keepalive: Duration,
    /// The dialog of the stream, where its method and session have one. Default: none, which costs nothing.
    pub dialog: Option<Terms>,
    /// The protocol's [`CREDIT_AT_FIRST`]; tests of small windows that differ have a smaller one.
    credit_at_first: Position,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_bytes: 4 << 20,
            window_messages: 16 << 10,
            message_bytes_max: 4 << 20,
            checkpoint: None,
            secure: Secure::Automatic,
            durable: false,
            digest: DigestKind::Crc32c,
            verify: Verify::AtOnce,
            keepalive: Duration::from_secs(20),
            dialog: None,
            credit_at_first: CREDIT_AT_FIRST,
        }
    }
}

impl Config {
    /// The window as a distance.
    fn window(&self) -> Position {
        Position { messages: self.window_messages, bytes: self.window_bytes }
    }

    /// The credit that a direction begins with.
    //= S-26
    fn credit_at_first(&self) -> Position {
        let Position { messages, bytes } = self.credit_at_first;
        Position { messages: messages.min(self.window_messages), bytes: bytes.min(self.window_bytes) }
    }
}

/// When a message that arrived is handed to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verify {
    /// When it is whole.
    ///
    /// What a sender sends again is compared with what was delivered before anything new is: a sender that repeats
    /// itself wrongly is found out before the difference is delivered. Damage under way is found at the next sync point,
    /// and what lies after that point is never delivered; what lies before it may have been. TLS and TCP have checksums
    /// of their own against that.
    #[default]
    AtOnce,
    /// When a sync point has vouched for it: nothing that any digest contradicts is ever delivered.
    ///
    /// Messages wait for the next point, so the sender's policy should place one after some time.
    Held,
}
