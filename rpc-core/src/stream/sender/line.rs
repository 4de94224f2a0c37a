//! What a sender knows of one attempt.

use std::collections::VecDeque;

use crate::stream::TENTATIVE_BYTES_MAX;
use crate::stream::position::{Position, Serial};

/// Below this it is not worth the repetition.
const TENTATIVE_BYTES_MIN: u64 = 1 << 10;
/// DATA frames shorter than this count as small in the h2 crate, each against a budget of its connection.
const SMALL_BYTES: u64 = 256;
/// Most small frames of one attempt of which the peer has not said that it has them; at the bound the sender waits until
/// it has more to put into one. A quarter of what h2 bears on a connection with a window of 1 MiB.
const SMALL_FRAMES_MAX: usize = 512;

/// How much is sent before the peer's RECEIVED: half as much after each attempt in which that did not come, down to
/// nothing, and twice as much after each in which it did.
///
/// With a fixed 64 KiB, a link that dies after every 20 kB carries nothing but the same repetition for ever: it dies
/// before RECEIVED is back. With nothing, RECEIVED is among the first bytes of the link and progress is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tentative {
    bytes: u64,
}

impl Tentative {
    pub(super) fn new() -> Self {
        Self { bytes: TENTATIVE_BYTES_MAX }
    }

    //= S-16
    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    pub(super) fn answered(&mut self) {
        self.bytes = (self.bytes * 2).clamp(TENTATIVE_BYTES_MIN, TENTATIVE_BYTES_MAX);
    }

    pub(super) fn unanswered(&mut self) {
        self.bytes /= 2;
        if self.bytes < TENTATIVE_BYTES_MIN {
            self.bytes = 0;
        }
    }
}

#[derive(Debug)]
pub(super) struct Line {
    /// Where this attempt began, or last jumped to.
    start: Position,
    /// The position has jumped, and no AT was sent since.
    pub(super) at_due: bool,
    /// What may be sent before the peer's RECEIVED; `None`: it came, or none is to come.
    pub(super) tentative_bytes: Option<u64>,
    /// The next point to be sent in this attempt.
    pub(super) next_point: Serial,
    pub(super) end_sent: bool,
    /// The major point that waits for its answer was written in this attempt.
    pub(super) unit_written: bool,
    /// Ends of the small frames on their way.
    small: VecDeque<Position>,
}

impl Line {
    pub(super) fn new(
        start: Position,
        tentative_bytes: Option<u64>,
        resumed: bool,
        next_point: Serial,
    ) -> Self {
        let small = VecDeque::new();
        Self {
            start,
            at_due: resumed,
            tentative_bytes,
            next_point,
            end_sent: false,
            unit_written: false,
            small,
        }
    }

    /// The peer's RECEIVED came. Whether the sender has to jump there: not if the peer merely says what it had before
    /// this attempt's first bytes came, for the rest of them is under way.
    pub(super) fn peer_has(&mut self, position: Position, cursor: Position) -> bool {
        self.tentative_bytes = None;
        self.arrived(position);
        position > cursor || position < self.start
    }

    /// The position is now another one than where the last byte ended.
    pub(super) fn jumped(&mut self, to: Position, next_point: Serial) {
        self.start = to;
        self.at_due = true;
        self.next_point = next_point;
        (self.end_sent, self.unit_written) = (false, false);
        self.small.clear();
    }

    pub(super) fn wrote(&mut self, bytes: u64, end: Position) {
        if let Some(left) = &mut self.tentative_bytes {
            *left = left.saturating_sub(bytes);
        }
        if bytes < SMALL_BYTES {
            self.small.push_back(end);
        }
    }

    pub(super) fn arrived(&mut self, position: Position) {
        while self.small.front().is_some_and(|end| *end <= position) {
            self.small.pop_front();
        }
    }

    /// Whether the peer's RECEIVED is still to come.
    pub(super) fn is_tentative(&self) -> bool {
        self.tentative_bytes.is_some()
    }

    /// Whether `available` bytes have to wait for more, so that the connection is not flooded with small frames.
    pub(super) fn is_crowded(&self, available: u64) -> bool {
        available < SMALL_BYTES && self.small.len() >= SMALL_FRAMES_MAX
    }
}
