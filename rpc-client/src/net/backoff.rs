//! Pauses between failed dials.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::config::Backoff;

/// By how much each pause is longer than the one before it: gRPC's factor.
const FACTOR: f32 = 1.6;

/// Gives the next pause, longer each time until [`reset`](Self::reset).
pub(super) struct Pauses {
    settings: ExponentialBuilder,
    series: ExponentialBackoff,
}

impl Pauses {
    /// Begins a series. Slots that share one configured seed differ by `salt`.
    pub(super) fn new(backoff: Backoff, salt: u64) -> Self {
        // backon adds between nothing and the whole delay; given the halves, a pause lies between half of the
        // configured delay and all of it, and the longest pause is never exceeded.
        let mut settings = ExponentialBuilder::new()
            .with_factor(FACTOR)
            .with_min_delay(backoff.initial / 2)
            .with_max_delay(backoff.max / 2)
            .without_max_times()
            .with_jitter();
        if let Some(seed) = backoff.seed {
            settings = settings.with_jitter_seed(seed.wrapping_add(salt));
        }
        Self { settings, series: settings.build() }
    }

    /// Starts again with the shortest pause.
    pub(super) fn reset(&mut self) {
        // With a configured seed the same pauses come again after a reset. That is the point of a seed.
        self.series = self.settings.build();
    }

    /// Takes the next pause.
    pub(super) fn next(&mut self) -> Duration {
        // The series has no end: neither a number of times nor a total was set.
        self.series.next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(backoff: Backoff, salt: u64) -> Vec<Duration> {
        let mut pauses = Pauses::new(backoff, salt);
        (0..40).map(|_| pauses.next()).collect()
    }

    #[test]
    fn pauses_lie_in_the_upper_half_of_a_growing_and_bounded_delay() {
        for seed in 0..100 {
            let mut delay = 0.050_f64;
            for pause in series(Backoff::default().seed(seed), 0) {
                let pause = pause.as_secs_f64();
                assert!(pause >= delay * 0.499 && pause <= delay * 1.001, "{pause} for {delay}, seed {seed}");
                delay = (delay * f64::from(FACTOR)).min(10.0);
            }
        }
    }

    #[test]
    fn slots_and_seeds_differ_and_a_seed_repeats() {
        let backoff = Backoff::default().seed(7);
        assert_eq!(series(backoff, 0), series(backoff, 0));
        assert_ne!(series(backoff, 0), series(backoff, 1));
        assert_ne!(series(Backoff::default(), 0), series(Backoff::default(), 0));
    }

    #[test]
    fn a_reset_starts_again_with_the_shortest_pause() {
        let mut pauses = Pauses::new(Backoff::default(), 0);
        for _ in 0..20 {
            pauses.next();
        }
        pauses.reset();
        assert!(pauses.next() <= Duration::from_millis(50));
    }
}
