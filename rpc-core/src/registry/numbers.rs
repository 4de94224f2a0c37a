//! Session numbers that the store has reserved for this server.

use std::collections::VecDeque;
use std::ops::Range;

use crate::id::SessionId;

/// Ranges of reserved numbers, used up from the first to the last.
#[derive(Debug, Default)]
pub struct NumberPool {
    ranges: VecDeque<Range<u64>>,
}

impl NumberPool {
    /// Adds a reserved range.
    pub fn refill(&mut self, range: Range<u64>) {
        self.ranges.push_back(range);
    }

    /// The next number; `None` when all are used.
    pub fn take(&mut self) -> Option<SessionId> {
        loop {
            let range = self.ranges.front_mut()?;
            match range.next() {
                Some(number) => {
                    if let Some(id) = SessionId::new(number) {
                        return Some(id);
                    }
                }
                None => {
                    self.ranges.pop_front();
                }
            }
        }
    }
}
