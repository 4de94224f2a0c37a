//! When a connection is asked to go, and when it is cut: a state machine without a clock of its own.

use std::time::Duration;

use tokio::time::Instant;

use super::streams::Activity;
use super::{CloseReason, Lifetime, Notice};

/// The life of one connection that speaks HTTP/2.
///
/// Ask [`Life::step`] until it answers [`Step::Wait`], and again at that time. [`Life::drain`] may come between.
pub(super) struct Life {
    idle: Duration,
    grace: Duration,
    stage: Stage,
}

enum Stage {
    Serving { unused_until: Instant, age_until: Instant },
    Leaving(Notice),
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this time.
    Wait(Instant),
    /// Ask the peer to go. Answered once.
    Ask(Notice),
    /// Its time is over.
    Cut,
}

impl Life {
    /// A connection that begins at `now`. `jitter` is any number; the same one gives the same age.
    pub(super) fn new(now: Instant, first_request: Duration, lifetime: &Lifetime, jitter: u64) -> Self {
        let age = jittered(lifetime.age, lifetime.age_jitter_percent, jitter);
        Self {
            idle: lifetime.idle,
            grace: lifetime.grace,
            stage: Stage::Serving { unused_until: after(now, first_request), age_until: after(now, age) },
        }
    }

    /// What is to be done at `now`.
    pub(super) fn step(&mut self, now: Instant, activity: Activity) -> Step {
        match &self.stage {
            Stage::Leaving(notice) if now >= notice.deadline => Step::Cut,
            Stage::Leaving(notice) => Step::Wait(notice.deadline),
            Stage::Serving { unused_until, age_until } => {
                let (reason, until) = match activity {
                    Activity::Busy => (None, *age_until),
                    Activity::Unused => (Some(CloseReason::Unused), *unused_until),
                    Activity::IdleSince(since) => (Some(CloseReason::Idle), after(since, self.idle)),
                };
                match reason {
                    Some(reason) if now >= until => self.leave(now, reason),
                    _ if now >= *age_until => self.leave(now, CloseReason::Age),
                    // Nothing wakes us when activity changes, which would cost every call. Whatever it becomes, the
                    // connection cannot have been idle for long enough before this time.
                    _ => Step::Wait(until.min(*age_until).min(after(now, self.idle))),
                }
            }
        }
    }

    /// The server is drained and everything must end by `until`. A connection that is leaving already may have less
    /// time than that, and keeps its reason.
    pub(super) fn drain(&mut self, until: Instant) -> Notice {
        let notice = match &self.stage {
            Stage::Serving { .. } => Notice::new(CloseReason::Drain, until),
            Stage::Leaving(notice) => Notice::new(notice.reason, notice.deadline.min(until)),
        };
        self.stage = Stage::Leaving(notice);
        notice
    }

    /// Why it was asked to go, if it was.
    pub(super) fn asked(&self) -> Option<CloseReason> {
        match &self.stage {
            Stage::Serving { .. } => None,
            Stage::Leaving(notice) => Some(notice.reason),
        }
    }

    fn leave(&mut self, now: Instant, reason: CloseReason) -> Step {
        // Grace also for connections without a stream: until the peer has seen the GOAWAY it may begin one. A peer that
        // no longer answers is found by keepalive, sooner.
        let notice = Notice::new(reason, after(now, self.grace));
        self.stage = Stage::Leaving(notice);
        Step::Ask(notice)
    }
}

/// `start + duration`, or a far time where that does not fit the clock.
fn after(start: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    start.checked_add(duration).unwrap_or_else(|| start + FAR)
}

/// `duration`, longer or shorter by at most `percent`, evenly spread over all `seed`s.
fn jittered(duration: Duration, percent: u32, seed: u64) -> Duration {
    // Steps of 1/1000 of a percent are fine enough to part connections that came together.
    const STEPS: u64 = 1_000;
    let span = u64::from(percent.min(100)) * STEPS;
    let whole = 100 * STEPS;
    let factor = whole - span + mix(seed) % (2 * span + 1);
    let nanos = duration.as_nanos().saturating_mul(u128::from(factor)) / u128::from(whole);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Spreads consecutive numbers over all of 64 bits (the finalizer of `SplitMix64`).
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// First request within 3 s, idle 10 s, age 60 s, grace 5 s.
    fn life(start: Instant) -> Life {
        let lifetime = Lifetime {
            age: 60 * SECOND,
            age_jitter_percent: 0,
            jitter_seed: None,
            grace: 5 * SECOND,
            idle: 10 * SECOND,
        };
        Life::new(start, 3 * SECOND, &lifetime, 0)
    }

    #[test]
    fn an_unused_connection_goes_early() {
        let start = Instant::now();
        let mut life = life(start);
        assert_eq!(life.step(start, Activity::Unused), Step::Wait(start + 3 * SECOND));
        let notice = Notice::new(CloseReason::Unused, start + 8 * SECOND);
        assert_eq!(life.step(start + 3 * SECOND, Activity::Unused), Step::Ask(notice));
        assert_eq!(life.asked(), Some(CloseReason::Unused));
    }

    #[test]
    fn a_busy_connection_is_not_idle_however_long() {
        let start = Instant::now();
        let mut life = life(start);
        for second in 0..60 {
            let step = life.step(start + second * SECOND, Activity::Busy);
            assert!(matches!(step, Step::Wait(_)), "{second}: {step:?}");
        }
        let notice = Notice::new(CloseReason::Age, start + 65 * SECOND);
        assert_eq!(life.step(start + 60 * SECOND, Activity::Busy), Step::Ask(notice));
    }

    #[test]
    fn idle_time_counts_from_the_end_of_the_last_stream() {
        let start = Instant::now();
        let mut life = life(start);
        let ended = Activity::IdleSince(start + 7 * SECOND);
        assert_eq!(life.step(start + 10 * SECOND, ended), Step::Wait(start + 17 * SECOND));
        let notice = Notice::new(CloseReason::Idle, start + 22 * SECOND);
        assert_eq!(life.step(start + 17 * SECOND, ended), Step::Ask(notice));
    }

    #[test]
    fn a_connection_is_looked_at_again_before_it_can_have_been_idle_for_long() {
        let start = Instant::now();
        let mut life = Life { idle: SECOND, ..life(start) };
        assert_eq!(life.step(start, Activity::Unused), Step::Wait(start + SECOND));
        assert_eq!(life.step(start, Activity::Busy), Step::Wait(start + SECOND));
    }

    #[test]
    fn one_that_leaves_is_asked_once_and_cut_after_its_grace() {
        let start = Instant::now();
        let mut life = life(start);
        let age = start + 60 * SECOND;
        assert!(matches!(life.step(age, Activity::Busy), Step::Ask(_)));
        assert_eq!(life.step(age, Activity::Busy), Step::Wait(age + 5 * SECOND));
        assert_eq!(life.step(age + 5 * SECOND, Activity::Busy), Step::Cut);
    }

    #[test]
    fn a_drain_shortens_and_never_lengthens() {
        let start = Instant::now();
        let mut serving = life(start);
        assert_eq!(serving.drain(start + SECOND), Notice::new(CloseReason::Drain, start + SECOND));
        assert_eq!(serving.drain(start), Notice::new(CloseReason::Drain, start));
        assert_eq!(serving.step(start, Activity::Unused), Step::Cut);

        let mut leaving = life(start);
        leaving.step(start + 60 * SECOND, Activity::Busy);
        let notice = leaving.drain(start + 600 * SECOND);
        assert_eq!(notice, Notice::new(CloseReason::Age, start + 65 * SECOND));
    }

    #[test]
    fn jitter_stays_within_its_percentage_and_uses_all_of_it() {
        let age = 1_000 * SECOND;
        let ages: Vec<_> = (0..1_000).map(|seed| jittered(age, 10, seed)).collect();
        assert!(ages.iter().all(|age| (900 * SECOND..=1_100 * SECOND).contains(age)));
        assert!(ages.iter().any(|age| *age < 910 * SECOND));
        assert!(ages.iter().any(|age| *age > 1_090 * SECOND));
        assert_eq!(jittered(age, 0, 7), age);
    }

    #[test]
    fn endless_durations_do_not_overflow() {
        let lifetime = Lifetime {
            age: Duration::MAX,
            age_jitter_percent: 200,
            jitter_seed: None,
            grace: Duration::MAX,
            idle: Duration::MAX,
        };
        let now = Instant::now();
        for seed in 0..100 {
            let mut life = Life::new(now, Duration::MAX, &lifetime, seed);
            life.step(now, Activity::Busy);
            life.step(now, Activity::IdleSince(now));
        }
    }
}
