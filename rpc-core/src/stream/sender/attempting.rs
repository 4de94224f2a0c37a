//! How the attempts of a sender begin and end.

use super::Sender;
use super::line::Line;
use super::rejoining::Rejoining;
use crate::frame::Received;
use crate::stream::error::StreamError;
use crate::stream::position::Position;
use crate::stream::replay::Keep;

impl Sender {
    /// Begins an attempt. `peer` is what the peer has, where that is known for certain; otherwise the sender starts
    /// from what it was last told.
    ///
    /// # Errors
    ///
    /// The peer claims to have what it cannot have, or something else than what was sent.
    pub fn attempt(&mut self, resumed: bool, peer: Option<&Received>) -> Result<(), StreamError> {
        self.detached();
        if !resumed && self.rejoining.take().is_some_and(|from| matches!(from, Rejoining::Until(_))) {
            return Err(StreamError::Incomplete(self.peer_received));
        }
        let last = self.peer_received.max(self.replay.base());
        let (start, tentative) = match self.replay.keep() {
            Keep::Bytes => {
                let tentative = (resumed && peer.is_none()).then(|| self.tentative.bytes());
                (self.seek_start(last), tentative)
            }
            // Nothing is read again on the chance that it is the right thing.
            Keep::Positions => (self.stand_before(last), resumed.then_some(0)),
        };
        self.line = Some(Line::new(start, tentative, resumed, self.points.first_from(start)));
        match peer {
            Some(peer) => self.peer_has(peer),
            None if resumed || self.replay.keep() == Keep::Bytes => Ok(()),
            // A caller without frames says nothing.
            None => self.go_on_from(self.known_before(start)),
        }
    }

    /// Moves the cursor to `last` if a message ends there, else to the last secured one.
    fn seek_start(&mut self, last: Position) -> Position {
        let (base, crc) = (self.replay.base(), self.digest.crc());
        [last, base].into_iter().find(|start| self.replay.seek(*start, crc).is_ok()).unwrap_or(base)
    }

    /// The connection was lost.
    pub fn detached(&mut self) {
        if self.line.take().is_some_and(|line| line.is_tentative()) {
            self.tentative.unanswered();
        }
    }
}
