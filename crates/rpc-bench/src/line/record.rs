//! What was seen of a stream of messages over all its connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::scanner::{Found, Part, Scanner};

/// One stream whose messages count from 1, over one connection at a time.
#[derive(Debug, Default)]
pub(crate) struct Record {
    seen: Mutex<Seen>,
    /// The first message that was not handed on when the last connection was cut; 0: none is waited for.
    awaited: AtomicU64,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the server's settings were handed on.
    up: Option<Instant>,
    /// The last message that was handed on whole.
    handed_on: u64,
    /// The last message of which anything came, and how many bytes of it.
    furthest: (u64, u64),
    totals: Totals,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Connections that came up.
    pub(crate) connections: u64,
    /// Connections that were cut.
    pub(crate) cuts: u64,
    /// Bytes of messages that the server sent although it had sent them before, framing included.
    pub(crate) bytes_again: u64,
}

impl Record {
    /// How long ago the present connection came up, if this message is the first that could not come over the one before.
    pub(crate) fn resumed(&self, index: u64) -> Option<u64> {
        let awaited = self.awaited.load(Ordering::Relaxed);
        if awaited == 0 || index < awaited {
            return None;
        }
        self.awaited.store(0, Ordering::Relaxed);
        self.seen().up.map(|up| up.elapsed().as_nanos() as u64)
    }

    /// What was counted so far.
    pub(crate) fn totals(&self) -> Totals {
        self.seen().totals
    }

    /// The messages count from 1 again: another stream has begun.
    pub(crate) fn begin(&self) {
        let mut seen = self.seen();
        (seen.handed_on, seen.furthest) = (0, (0, 0));
        // Where a message of the last one is waited for, the first of this will do.
        self.awaited.fetch_min(1, Ordering::Relaxed);
    }

    /// The connection is cut.
    pub(super) fn cut(&self) {
        let mut seen = self.seen();
        seen.up = None;
        seen.totals.cuts += 1;
        self.awaited.store(seen.handed_on + 1, Ordering::Relaxed);
    }

    /// These bytes were handed on to HTTP/2.
    pub(super) fn handed_on(&self, scanner: &mut Scanner, bytes: &[u8]) {
        let mut seen = self.seen();
        scanner.feed(bytes, |found| match found {
            Found::Settings => {
                seen.up = Some(Instant::now());
                seen.totals.connections += 1;
            }
            Found::Part(part) => {
                seen.part(part);
                if part.is_last {
                    seen.handed_on = seen.handed_on.max(part.index);
                }
            }
        });
    }

    /// These bytes came and were not handed on.
    pub(super) fn lost(&self, scanner: &mut Scanner, bytes: &[u8]) {
        let mut seen = self.seen();
        scanner.feed(bytes, |found| match found {
            // It was not handed on, so it is not up.
            Found::Settings => {}
            Found::Part(part) => seen.part(part),
        });
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn part(&mut self, Part { index, from, to, .. }: Part) {
        let (furthest, known) = self.furthest;
        let before = match index.cmp(&furthest) {
            std::cmp::Ordering::Less => to,
            std::cmp::Ordering::Equal => known,
            std::cmp::Ordering::Greater => 0,
        };
        self.totals.bytes_again += before.min(to).saturating_sub(from);
        self.furthest = self.furthest.max((index, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_counted_once() {
        let mut seen = Seen::default();
        let mut part = |index, from, to| seen.part(Part { index, from, to, is_last: to == 100 });
        part(1, 0, 100);
        part(2, 0, 60);
        // The client had neither.
        part(1, 0, 100);
        part(2, 0, 14);
        part(2, 14, 100);
        part(3, 0, 100);
        assert_eq!(seen.totals.bytes_again, 160);
    }
}
