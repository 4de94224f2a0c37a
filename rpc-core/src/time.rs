//! Time as the core sees it: an argument.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the shell's monotonic clock, in nanoseconds since an origin that the shell chose.
///
/// Points of two machines, or of two runs of a program, are never compared: leases are stored as durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The shell's origin.
    pub const ORIGIN: Self = Self(0);
    /// Later than every point that a clock shows: a timer at this point never fires.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `since_origin` after the shell's origin.
    pub fn from_origin(since_origin: Duration) -> Self {
        Self::ORIGIN + since_origin
    }

    /// Time from `earlier` to this point; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Stops at [`Timestamp::NEVER`], 584 years after the origin.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.since(Self::ORIGIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stop_at_never() {
        assert_eq!(Timestamp::ORIGIN + Duration::MAX, Timestamp::NEVER);
        assert_eq!(Timestamp::NEVER + Duration::from_secs(1), Timestamp::NEVER);
        assert_eq!(Timestamp::ORIGIN - Timestamp::NEVER, Duration::ZERO);
    }
}
