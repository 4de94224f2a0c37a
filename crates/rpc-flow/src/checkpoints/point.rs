//! What an application is given beside its messages.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::frame::{PointKind, SyncPoint};
use rpc_core::stream::position::{Position, Serial};
use rpc_core::stream::secured::Secured;
use tonic::Status;

use crate::shared::Shared;
use crate::status;

/// What comes next in a stream with checkpoints. `Debug` shows no message and no state.
pub enum Item<T> {
    /// A message.
    Message(T),
    /// A sync point: everything before it was given.
    SyncPoint(Point),
}

impl<T> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(_) => f.write_str("Message(..)"),
            Self::SyncPoint(point) => point.fmt(f),
        }
    }
}

/// A sync point that came.
///
/// Dropping it secures nothing: the sender keeps what lies before it, and waits when its window is full. A later point
/// that is secured secures this one, too.
#[must_use = "a sync point that is dropped is not secured"]
pub struct Point {
    shared: Arc<Shared>,
    point: SyncPoint,
    /// How often the direction had gone back when it came.
    resets: u64,
}

impl Point {
    pub(crate) fn new(shared: Arc<Shared>, point: SyncPoint, resets: u64) -> Self {
        Self { shared, point, resets }
    }

    /// Its number: 1 for the first of the direction.
    pub fn serial(&self) -> Serial {
        self.point.serial
    }

    /// Where it lies, counted from the beginning of the direction over everything that it was resumed from.
    pub fn position(&self) -> Position {
        self.point.position
    }

    /// What the sending application left with it. At most 64 KiB; empty where the point was placed by a policy.
    pub fn state(&self) -> &Bytes {
        &self.point.state
    }

    /// Whether a dialogue unit ends here: its sender waits until everything before it is secured, and the answer is that it
    /// is. See [`Dialog::major`](crate::Dialog::major).
    pub fn is_major(&self) -> bool {
        self.point.kind == PointKind::Major
    }

    /// Whether what lies before it is safe from a resynchronization.
    pub fn is_separating(&self) -> bool {
        self.point.kind == PointKind::Separating
    }

    /// Declares that the application has everything before the point safe. `state`, at most 64 KiB, travels to the
    /// sender with the confirmation, and is handed back when the stream is resumed from here.
    ///
    /// Returns when the declaration counts: whoever resumes the stream after that goes on from here or later. In a durable
    /// stream that is when it is stored.
    ///
    /// # Errors
    ///
    /// INTERNAL if the state is too long; ABORTED if the stream went back, meanwhile or before the point was read, so that
    /// there is no such point any more; UNAVAILABLE with the reason STORE_UNAVAILABLE if it could not be stored; otherwise
    /// the error with which the stream is over. Then nobody can rely on the point.
    ///
    /// # Cancel safety
    ///
    /// A future that was dropped after its first poll may have secured the point.
    pub async fn secure(self, state: impl Into<Bytes>) -> Result<(), Status> {
        let state = state.into();
        self.shared.with(|shared| {
            if let Some(failure) = shared.failure() {
                return Err(failure);
            }
            if shared.desk.resets != self.resets {
                return Err(status::point_void());
            }
            let done = shared.flow.secure(self.point.serial, state);
            shared.rouse_outgoing();
            done.map_err(|error| status::misused(&error))
        })?;
        self.shared.until_secured(self.point.serial, self.resets).await
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.point.fmt(f)
    }
}

/// From where one direction of a stream goes on: its last secured point. `Debug` shows no state.
#[derive(Clone, PartialEq, Eq)]
pub struct Resumed {
    serial: Serial,
    position: Position,
    state: Bytes,
    peer_state: Bytes,
}

impl Resumed {
    /// As the application sees it that sends this direction.
    pub(crate) fn sent(secured: &Secured) -> Self {
        Self::of(secured, &secured.sender_state, &secured.receiver_state)
    }

    /// As the application sees it that receives this direction.
    pub(crate) fn received(secured: &Secured) -> Self {
        Self::of(secured, &secured.receiver_state, &secured.sender_state)
    }

    fn of(secured: &Secured, state: &Bytes, peer_state: &Bytes) -> Self {
        let (state, peer_state) = (state.clone(), peer_state.clone());
        Self { serial: secured.serial, position: secured.position, state, peer_state }
    }

    /// The point's number.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// Where it lies: the first message that comes now is the one with this number of messages before it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What this application left with the point, when it asked for it or secured it.
    pub fn state(&self) -> &Bytes {
        &self.state
    }

    /// What the peer's application left with it.
    pub fn peer_state(&self) -> &Bytes {
        &self.peer_state
    }
}

impl fmt::Debug for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, position, state, peer_state } = self;
        let (own, peer) = (state.len(), peer_state.len());
        write!(f, "Resumed({serial} at {position}, <{own} bytes>, <{peer} bytes>)")
    }
}
