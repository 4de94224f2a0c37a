//! What the application declared secured, and what of it counts.

use super::Receiver;
use crate::frame::SyncPoint;
use crate::stream::TENTATIVE_BYTES_MAX;
use crate::stream::position::{Position, Serial};
use crate::stream::run::PREFIX_BYTES;
use crate::stream::secured::Secured;

impl Receiver {
    /// A direction that goes on from its last stored point, whose sender was given credit for what came after it. In an
    /// attempt it relies on that until RECEIVED has come.
    //= S-26, S-28
    pub(in crate::stream) fn restored(mut self) -> Self {
        let messages = TENTATIVE_BYTES_MAX / PREFIX_BYTES as u64;
        self.restart = self.next_serial;
        self.tentative = self.received.plus(messages, TENTATIVE_BYTES_MAX);
        self
    }

    /// The last point that the application declared secured, if that has to be stored before it counts.
    pub fn unstored(&self) -> Option<Secured> {
        self.securing.unstored()
    }

    /// Everything that was declared up to that point is stored: the sender is told.
    pub fn stored(&mut self, secured: &Secured) {
        self.securing.stored(secured);
    }

    /// The number of the last point that the application declared secured, whether or not it is stored.
    pub fn declared(&self) -> Serial {
        self.securing.declared_serial()
    }

    /// End of what is secured, and of which the sender will be told so.
    pub fn secured(&self) -> Position {
        self.securing.secured()
    }

    /// The number of the last secured point.
    pub fn secured_serial(&self) -> Serial {
        self.securing.secured_serial()
    }

    /// The last point that was secured, with the state that the sending application left there.
    pub fn secured_point(&self) -> Option<&SyncPoint> {
        self.securing.secured_point()
    }

    /// From where this direction can go on when nothing else is left of it: the last secured point, with both states.
    //= S-10
    pub fn resumption(&self) -> Option<Secured> {
        self.securing.resumption()
    }
}
