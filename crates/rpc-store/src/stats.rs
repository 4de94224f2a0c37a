//! Numbers for operators.

use std::time::Duration;

use rpc_core::store::operations::{BATCH_CLASSES, SinceOpen};

/// Counts a commit of so many writes.
pub(crate) fn committed(since_open: &mut SinceOpen, writes: u64, time: Duration) {
    since_open.syncs += 1;
    since_open.commit_time += time;
    since_open.commit_time_max = since_open.commit_time_max.max(time);
    if writes == 0 {
        return;
    }
    since_open.writes += writes;
    since_open.batch_writes_max = since_open.batch_writes_max.max(writes);
    since_open.batch_classes[class_of(writes)] += 1;
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
