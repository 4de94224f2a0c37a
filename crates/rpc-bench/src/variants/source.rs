//! Messages that are made for as long as is wanted.

use std::time::{Duration, Instant};

use crate::payload::Tally;

/// How many messages are made between two looks at the clock, which costs as much as making one.
const SMALL_AT_ONCE: u64 = 64;
/// From this size on the clock is looked at for each.
const LARGE: usize = 16 << 10;

/// The indices of the messages of one stream, until its time is over.
pub(crate) struct Source {
    tally: Tally,
    until: Instant,
    at_once: u64,
    /// Told what was made, once, when the time is over.
    ended: Option<Box<dyn FnOnce(Tally) + Send + Sync>>,
}

impl Source {
    /// Messages of `size` bytes for this long, from now on.
    pub(crate) fn new(
        time: Duration,
        size: usize,
        ended: impl FnOnce(Tally) + Send + Sync + 'static,
    ) -> Self {
        let at_once = if size < LARGE { SMALL_AT_ONCE } else { 1 };
        Self { tally: Tally::default(), until: Instant::now() + time, at_once, ended: Some(Box::new(ended)) }
    }
}

impl Iterator for Source {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.tally.messages.is_multiple_of(self.at_once)
            && self.tally.messages > 0
            && Instant::now() >= self.until
        {
            if let Some(ended) = self.ended.take() {
                ended(self.tally);
            }
            return None;
        }
        Some(self.tally.make())
    }
}
