//! The wall clock, behind a seam.

use std::time::SystemTime;

/// Tells the time of day, which tokens are valid by.
///
/// Implemented for functions: [`SystemTime::now`] is the default everywhere, and a test passes a closure.
pub trait WallClock: Send + Sync + 'static {
    /// Now. May jump in both directions, as clocks of machines do.
    fn now(&self) -> SystemTime;
}

impl<F: Fn() -> SystemTime + Send + Sync + 'static> WallClock for F {
    fn now(&self) -> SystemTime {
        self()
    }
}
