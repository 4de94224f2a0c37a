//! How far a sender has come.

use super::Sender;
use crate::dialog::Serials;
use crate::frame::SyncAck;
use crate::stream::position::{Generation, Position};
use crate::stream::secured::Secured;

impl Sender {
    /// End of the whole messages that the application has given.
    pub fn given(&self) -> Position {
        self.replay.end()
    }

    /// The application has given its last.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// No point waits to be placed after what was given.
    pub fn has_placed_all(&self) -> bool {
        self.asked.next().is_none_or(|next| next > self.replay.end().messages)
    }

    /// V(M), V(A) and V(R) of the direction.
    pub fn serials(&self) -> Serials {
        self.points.serials()
    }

    /// End of what was sent at least once.
    pub fn sent(&self) -> Position {
        self.replay.sent()
    }

    /// End of what the peer said that it has.
    pub fn received(&self) -> Position {
        self.peer_received.max(self.points.secured())
    }

    /// Bytes that were sent when they had been sent before, in all attempts so far.
    pub fn sent_again(&self) -> u64 {
        self.sent_again
    }

    /// End of what the peer has secured.
    pub fn secured(&self) -> Position {
        self.points.secured()
    }

    /// What the peer's application left when it last secured a point.
    pub fn confirmed(&self) -> Option<&SyncAck> {
        self.confirmed.as_ref().map(|(_, ack)| ack)
    }

    /// From where this direction can go on without what is kept here: the last point whose confirmation came with the
    /// state of the peer's application.
    ///
    /// That may be an earlier one than [`secured`](Self::secured): a resume tells the serial first and the state after
    /// it. The peer's application, whose confirmation may be lost altogether, has to expect an earlier one anyway.
    //= S-10
    pub fn resumption(&self) -> Option<Secured> {
        self.confirmed.as_ref().map(|(point, ack)| Secured::new(point, ack.state.clone()))
    }

    /// Where the next byte belongs.
    pub fn cursor(&self) -> Position {
        self.replay.cursor()
    }

    /// Bytes kept, and what it costs to keep them.
    pub fn kept_bytes(&self) -> u64 {
        self.replay.cost()
    }

    /// How often the direction was set anew.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Everything including END was written in this attempt.
    pub fn is_finished(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.end_sent)
    }

    /// Everything was given, sent and secured: the peer needs nothing more of this direction.
    pub fn is_secured(&self) -> bool {
        let all = self.points.secured() == self.replay.end() && self.asked.is_empty();
        self.ended && all && self.rejoining.is_none()
    }
}
