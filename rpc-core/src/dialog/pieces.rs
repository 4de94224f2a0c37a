//! Typed or expedited data: pieces of bytes beside the stream, a bounded number of them at a time.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use crate::stream::error::Violation;

/// Most pieces of a kind and direction that the receiving application has not taken.
pub const PIECES_MAX: usize = 16;

/// Both directions of one kind. `Debug` shows no data.
#[derive(Default)]
pub(super) struct Pieces {
    /// Asked for and not said yet.
    waiting: usize,
    /// Numbers of those that were said and that the other application has not taken.
    untaken: VecDeque<u64>,
    /// What came and was not taken here.
    queue: VecDeque<(u64, Bytes)>,
    /// Came, and not heard yet: data has to arrive before.
    gated: usize,
    /// Number of the last that was taken here.
    taken: u64,
    /// Up to here they came from a peer that was restored since, and knows nothing of them.
    old: u64,
}

impl Pieces {
    /// How many wait for the own application.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether one more may be said.
    pub(super) fn has_room(&self) -> bool {
        self.waiting + self.untaken.len() < PIECES_MAX
    }

    /// One more waits to be said.
    pub(super) fn push(&mut self) {
        self.waiting += 1;
    }

    /// One that waited was said for the first time.
    pub(super) fn said(&mut self, number: u64) {
        self.waiting = self.waiting.saturating_sub(1);
        self.untaken.push_back(number);
    }

    /// The other application took all up to there.
    pub(super) fn peer_took(&mut self, number: u64) {
        while self.untaken.front().is_some_and(|first| *first <= number) {
            self.untaken.pop_front();
        }
    }

    /// A piece arrived; it is heard now or later.
    ///
    /// # Errors
    ///
    /// It is one more than may be here.
    pub(super) fn arrived(&mut self) -> Result<(), Violation> {
        let here = self.queue.iter().filter(|(number, _)| *number > self.old).count();
        if here + self.gated >= PIECES_MAX {
            return Err(Violation::TooManyPieces);
        }
        self.gated += 1;
        Ok(())
    }

    /// A piece that arrived is heard.
    pub(super) fn heard(&mut self, number: u64, bytes: Bytes) {
        self.gated = self.gated.saturating_sub(1);
        self.queue.push_back((number, bytes));
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        let (number, bytes) = self.queue.pop_front()?;
        self.taken = number;
        Some(bytes)
    }

    /// What came and was not taken.
    #[cfg(test)]
    pub(super) fn unread(&self) -> impl Iterator<Item = &Bytes> {
        self.queue.iter().map(|(_, bytes)| bytes)
    }

    /// Number of the last that was taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The peer was restored. It lost what it had confirmed, up to the number `confirmed`; what came from it, up to the
    /// number `received`, stays with the application.
    pub(super) fn peer_restored(&mut self, confirmed: u64, received: u64) {
        self.peer_took(confirmed);
        self.old = received;
        self.gated = 0;
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiting, untaken, queue, gated, taken, old } = self;
        let queue = queue.len();
        write!(
            f,
            "Pieces({waiting} to say, untaken {untaken:?}, {queue} here, {gated} early, {taken}, {old})"
        )
    }
}
