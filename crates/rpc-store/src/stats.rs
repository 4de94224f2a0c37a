//! Numbers for operators.

use std::time::Duration;

use crate::contents::Contents;
use crate::encode::StoreId;

/// Classes of batch sizes: 1, 2, 3–4, 5–8, … , 513–1,024, more.
pub const BATCH_CLASSES: usize = 12;

/// What a store holds and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Which store it is.
    pub id: StoreId,
    /// What it holds.
    pub contents: Contents,
    /// Session numbers handed out or reserved since the store was made.
    pub numbers_given: u64,
    /// Commits since the store was made, reservations of numbers among them.
    pub commits: u64,
    /// Bytes that its files take.
    pub bytes_on_disk: u64,
    /// Journals that are kept for records not yet in tables.
    pub journals: usize,
    /// Why nothing is written any more; `None`: the store is open.
    pub closed: Option<String>,
    /// What was done since it was opened.
    pub since_open: Activity,
}

/// What a store did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// Syncs, one for each commit that changed something.
    pub syncs: u64,
    /// Writes that were made.
    pub writes: u64,
    /// Writes that were refused: fenced, existing, missing, in conflict or too large.
    pub writes_refused: u64,
    /// Time spent in commits.
    pub commit_time: Duration,
    /// The longest commit.
    pub commit_time_max: Duration,
    /// The largest batch, in writes made.
    pub batch_writes_max: u64,
    /// How many commits were of each [class](BATCH_CLASSES) of size.
    pub batch_classes: [u64; BATCH_CLASSES],
}

impl Activity {
    pub(crate) fn committed(&mut self, writes: u64, time: Duration) {
        self.syncs += 1;
        self.commit_time += time;
        self.commit_time_max = self.commit_time_max.max(time);
        if writes == 0 {
            return;
        }
        self.writes += writes;
        self.batch_writes_max = self.batch_writes_max.max(writes);
        self.batch_classes[class_of(writes)] += 1;
    }
}

/// The class of a batch of `writes`, from 1: the exponent of the next power of two.
fn class_of(writes: u64) -> usize {
    let exponent = writes.saturating_sub(1).checked_ilog2().map_or(0, |log| log as usize + 1);
    exponent.min(BATCH_CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_end_at_powers_of_two() {
        let classes = [1, 2, 3, 4, 5, 8, 9, 512, 513, 1_024, 1_025, u64::MAX].map(class_of);
        assert_eq!(classes, [0, 1, 2, 2, 3, 3, 4, 9, 10, 10, 11, 11]);
    }
}
