//! The serial arithmetic of X.215 11.4: where a resynchronization may go, and what it leaves.

use super::resync::ResyncKind;
use crate::stream::position::Serial;

/// Highest serial that a resynchronization names: far enough from the largest number that points can follow.
pub(super) const SERIAL_MAX: Serial = Serial(u64::MAX >> 1);

/// The three variables of one direction, as one side knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serials {
    /// V(M): the number of the next point.
    pub next: Serial,
    /// V(A): the lowest number that is not confirmed.
    pub unconfirmed: Serial,
    /// V(R): the lowest number to which a restart may go back.
    pub restart: Serial,
}

impl Default for Serials {
    fn default() -> Self {
        Self::START
    }
}

impl Serials {
    /// As a direction begins: all three are 1.
    pub const START: Self = Self { next: Serial::FIRST, unconfirmed: Serial::FIRST, restart: Serial::FIRST };

    /// The lowest and the highest serial to which a resynchronization may go; `unused` is the lowest number that no point
    /// ever had.
    //= D-12, D-13, D-14, I12
    pub fn range(self, kind: ResyncKind, unused: Serial) -> (Serial, Serial) {
        match kind {
            ResyncKind::Restart => (self.restart.max(Serial::FIRST), self.next),
            ResyncKind::Abandon => (unused.max(self.next), SERIAL_MAX),
            ResyncKind::Set => (Serial::FIRST, SERIAL_MAX),
        }
    }

    /// What the answering side makes of the serial that it is asked for: what the asking one did not know yet raises it.
    ///
    /// A restart thus never goes back behind a major point whose answer was under way, and an abandon never to a number
    /// that the answering side has used meanwhile.
    //= D-12, D-13, I12
    #[must_use]
    pub fn agree(self, kind: ResyncKind, asked: Serial, unused: Serial) -> Serial {
        let (least, _) = self.range(kind, unused);
        asked.max(least)
    }

    /// The variables after a resynchronization to `serial`.
    //= D-12, D-13, D-14
    #[must_use]
    pub fn after(self, kind: ResyncKind, serial: Serial) -> Self {
        let restart = match kind {
            ResyncKind::Restart => self.restart,
            ResyncKind::Abandon | ResyncKind::Set => Serial::NONE,
        };
        Self { next: serial, unconfirmed: serial, restart }
    }
}
