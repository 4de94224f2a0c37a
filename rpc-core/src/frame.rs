//! Control frames: what the two sides of a stream tell each other between the messages of the user.
//!
//! These are the meanings; `rpc-proto` gives them their bytes. Positions count the messages of one direction, so each
//! frame here says for itself which direction it speaks of: [`At`](Frame::At), [`Sync`](Frame::Sync) and
//! [`End`](Frame::End) of the direction they travel in; [`Received`](Frame::Received), [`SyncAck`](Frame::SyncAck) and
//! [`Credit`](Frame::Credit) of the other.

pub mod dialog;

use std::fmt;

use bytes::Bytes;

use crate::stream::digest::Digest;
use crate::stream::position::{Generation, Position, Serial};

/// Longest state that an application may leave with a sync point or its confirmation, in bytes.
pub const STATE_BYTES_MAX: usize = 64 << 10;
/// Most entries in the response headers that HEAD carries.
pub const HEAD_ENTRIES_MAX: usize = 128;
/// Names and values in HEAD together, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// One control frame. `Debug` shows no state and no header values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The handler's own response headers.
    Head(Head),
    /// Where the next byte of this direction belongs: comes before the first byte after any jump.
    At(At),
    /// First frame of a resumed attempt: what this side has of the other direction.
    Received(Received),
    /// A sync point of this direction.
    Sync(SyncPoint),
    /// Everything up to the point is secured.
    SyncAck(SyncAck),
    /// How far the sender of the other direction may go.
    Credit(Credit),
    /// Nothing to say.
    Keepalive,
    /// The caller gave the call up.
    Cancel,
    /// This direction ends here.
    End(Position),
    /// One primitive of the dialog.
    Dialog(dialog::Numbered),
    /// How far this side has come with the other's primitives.
    DialogAck(dialog::DialogAck),
}

/// The handler's own response headers, as they would have been sent without early headers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Names (lower case) and values, in order. At most [`HEAD_ENTRIES_MAX`] and [`HEAD_BYTES_MAX`].
    pub entries: Vec<(Bytes, Bytes)>,
}

impl Head {
    /// Whether it is within the bounds of a HEAD frame.
    pub fn fits(&self) -> bool {
        let bytes: usize = self.entries.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.entries.len() <= HEAD_ENTRIES_MAX && bytes <= HEAD_BYTES_MAX
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head(<{} entries>)", self.entries.len())
    }
}

/// Where the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Generation of the direction.
    pub generation: Generation,
    /// Position of the next byte.
    pub position: Position,
    /// CRC32C of everything before it, as the sender sent it. The receiver compares it where what it has and what now
    /// comes meet, so that nothing is joined that does not belong together.
    pub crc: u32,
}

/// What one side has of the direction that comes in, told when an attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Generation of the direction.
    pub generation: Generation,
    /// End of the last whole message that arrived.
    pub position: Position,
    /// CRC32C of everything up to it.
    pub crc: u32,
    /// The last secured point; [`Serial::NONE`] before the first.
    pub secured: Serial,
    /// How far the sender may go.
    pub limit: Position,
    /// The number that the next point must have; [`Serial::NONE`] from a side that does not say. What a restored sender
    /// numbers its points from.
    pub next: Serial,
}

/// A numbered place in one direction. `Debug` does not show the state.
#[derive(Clone, PartialEq, Eq)]
pub struct SyncPoint {
    /// Its number, from 1, one higher than the last.
    pub serial: Serial,
    /// Where it lies.
    pub position: Position,
    /// Of everything before it.
    pub digest: Digest,
    /// What the sending application left with it. At most [`STATE_BYTES_MAX`].
    pub state: Bytes,
    /// What it does besides.
    pub kind: PointKind,
}

/// What a sync point does besides lying where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PointKind {
    /// Nothing: sending goes on.
    #[default]
    Minor,
    /// What lies before it is safe from a resynchronization.
    Separating,
    /// Both sides wait: its sender sends no data before the answer.
    Major,
    /// Answers the major point of the other direction: a dialogue unit ends here.
    MajorAnswer,
}

impl fmt::Debug for SyncPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncPoint({} at {}, <{} bytes>)", self.serial, self.position, self.state.len())
    }
}

/// A confirmation. `Debug` does not show the state.
#[derive(Clone, PartialEq, Eq)]
pub struct SyncAck {
    /// All points up to this one are secured.
    pub serial: Serial,
    /// What the receiving application left when it secured the point. At most [`STATE_BYTES_MAX`].
    pub state: Bytes,
}

impl fmt::Debug for SyncAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncAck({}, <{} bytes>)", self.serial, self.state.len())
    }
}

/// Flow control of one direction. It frees nothing: only [`SyncAck`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// End of the last whole message that arrived.
    pub received: Position,
    /// The sender may send what ends here or before.
    pub limit: Position,
}
