//! The memory that all streams of a server may take together.

/// The least that a direction of a stream gets, in bytes. What a sender may send before it was told of any window.
pub const SHARE_BYTES_MIN: u64 = 64 << 10;

/// One in so many of the free bytes is what a direction gets at most, so that a server that fills up gives less to each
/// instead of all to the first. Of the default budget the first stream gets the default window.
const PARTS: u64 = 256;

/// Bytes that streams have reserved, of those there are.
///
/// A stream reserves for both of its directions when it is admitted, and gives that back when it is forgotten. What it
/// reserved bounds what it keeps, so the sum needs no looking at while it runs.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    taken: u64,
}

/// What one stream has reserved. Give it [back](Budget::give_back) exactly once.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    window_bytes: u64,
}

/// There is not enough left for another stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the streams of the server take {taken} of {bytes_max} bytes, which leaves too little for another")]
pub struct BudgetExhausted {
    /// What is reserved.
    pub taken: u64,
    /// What there is.
    pub bytes_max: u64,
}

impl Budget {
    /// A budget of which nothing is taken.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, taken: 0 }
    }

    /// Reserves for a stream whose session has agreed on windows of up to `window_bytes_max`.
    ///
    /// Each direction gets a 256th of what is free, but at least 64 KiB and at most `window_bytes_max`, or 64 KiB if that
    /// is less.
    ///
    /// # Errors
    ///
    /// Less than twice 64 KiB is free. Nothing has changed.
    //= S-31
    pub fn reserve(&mut self, window_bytes_max: u64) -> Result<Share, BudgetExhausted> {
        let Self { bytes_max, taken } = *self;
        let free = bytes_max.saturating_sub(taken);
        if free < 2 * SHARE_BYTES_MIN {
            return Err(BudgetExhausted { taken, bytes_max });
        }
        let window_bytes = (free / PARTS).min(window_bytes_max).max(SHARE_BYTES_MIN);
        let share = Share { window_bytes };
        self.taken += share.bytes();
        Ok(share)
    }

    /// The stream of this share keeps nothing any more.
    pub fn give_back(&mut self, share: &Share) {
        self.taken = self.taken.saturating_sub(share.bytes());
    }

    /// Bytes that are reserved.
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

impl Share {
    /// The window of each direction, in bytes.
    pub fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    /// What is reserved: the windows of both directions.
    fn bytes(&self) -> u64 {
        2 * self.window_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    //= test S-31
    #[test]
    fn the_first_stream_of_the_default_budget_gets_the_default_window() {
        let mut budget = Budget::new(GIB);
        assert_eq!(budget.reserve(4 << 20).unwrap().window_bytes(), 4 << 20);
        assert_eq!(budget.reserve(1 << 20).unwrap().window_bytes(), 1 << 20, "no more than was agreed on");
        assert_eq!(budget.reserve(1).unwrap().window_bytes(), SHARE_BYTES_MIN, "and no less than all get");
        assert_eq!(budget.taken(), 10 * (1 << 20) + 2 * SHARE_BYTES_MIN);
    }

    //= test S-31
    #[test]
    fn shares_shrink_until_there_is_none() {
        let mut budget = Budget::new(64 << 20);
        let (mut shares, mut last) = (Vec::new(), u64::MAX);
        let refused = loop {
            match budget.reserve(64 << 20) {
                Ok(share) => {
                    assert!(share.window_bytes() <= last && share.window_bytes() >= SHARE_BYTES_MIN);
                    last = share.window_bytes();
                    shares.push(share);
                }
                Err(refused) => break refused,
            }
            assert!(budget.taken() <= 64 << 20);
        };
        assert!(shares.len() > 256, "{} streams", shares.len());
        assert!(refused.bytes_max - refused.taken < 2 * SHARE_BYTES_MIN);
        assert_eq!(budget.taken(), refused.taken, "a refusal reserves nothing");
        budget.give_back(&shares.pop().unwrap());
        shares.push(budget.reserve(64 << 20).unwrap());
        for share in &shares {
            budget.give_back(share);
        }
        assert_eq!(budget.taken(), 0);
    }
}
