//! How long to wait before a call is sent again.

use std::time::Duration;

use http::HeaderMap;
use rpc_proto::status::Details;

use crate::entropy::Chance;

/// First bound of the random wait.
const WAIT_MIN: Duration = Duration::from_millis(20);
/// Last bound of the random wait.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// No server is obeyed that asks for a longer wait.
const PUSHBACK_MAX: Duration = Duration::from_secs(60);

/// A peer's wish in gRPC's own header: milliseconds, or a negative number for "do not".
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Waits between the attempts of one call: a random time up to a bound that doubles (full jitter), which spreads callers
/// that lost the same connection better than any fixed fraction of it.
pub(crate) struct Waits {
    made: u32,
    chance: Chance,
}

impl Waits {
    pub(crate) fn new(chance: &Chance) -> Self {
        Self { made: 0, chance: chance.clone() }
    }

    /// Begins with the shortest again.
    pub(crate) fn reset(&mut self) {
        self.made = 0;
    }

    /// The next wait after a loss, or after an answer that asks for nothing.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = WAIT_MIN.saturating_mul(1 << self.made.min(16)).min(WAIT_MAX);
        self.made = self.made.saturating_add(1);
        // Without randomness the wait is the whole bound.
        bound.mul_f64(self.chance.fraction())
    }

    /// The next wait after an attempt that the peer did not process: none the first time.
    pub(crate) fn next_soon(&mut self) -> Duration {
        let first = self.made == 0;
        let wait = self.next();
        if first { Duration::ZERO } else { wait }
    }

    /// The next wait after an answer, at least as long as it asks for; `None` if it asks not to be tried again.
    pub(crate) fn next_after(&mut self, details: &Details, metadata: &HeaderMap) -> Option<Duration> {
        let asked = match metadata.get(PUSHBACK) {
            // gRPC: a value that does not parse means no, too.
            Some(value) => Duration::from_millis(value.to_str().ok()?.parse().ok()?),
            None => details.retry_after.unwrap_or_default(),
        };
        Some(self.next().max(asked.min(PUSHBACK_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn waits() -> Waits {
        Waits::new(&Chance::default())
    }

    #[test]
    fn waits_stay_under_a_bound_that_doubles() {
        for _ in 0..50 {
            let mut waits = waits();
            for bound in [20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000] {
                assert!(waits.next() <= Duration::from_millis(bound));
            }
        }
    }

    #[test]
    fn waits_differ() {
        let series = || (0..8).fold(waits(), |mut waits, _| (waits.next(), waits).1).next();
        assert!((0..8).any(|_| series() != series()));
    }

    #[test]
    fn a_server_may_ask_for_more_or_for_an_end() {
        let told = Details { retry_after: Some(Duration::from_secs(9)), ..Details::default() };
        let none = HeaderMap::new();
        assert_eq!(waits().next_after(&told, &none), Some(Duration::from_secs(9)));
        let long = Details { retry_after: Some(Duration::from_secs(9_999)), ..Details::default() };
        assert_eq!(waits().next_after(&long, &none), Some(PUSHBACK_MAX));
        let header =
            |value| HeaderMap::from_iter([(PUSHBACK.parse().unwrap(), HeaderValue::from_static(value))]);
        assert_eq!(
            waits().next_after(&Details::default(), &header("1500")),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(waits().next_after(&told, &header("-1")), None);
        assert_eq!(waits().next_after(&told, &header("soon")), None);
    }
}
