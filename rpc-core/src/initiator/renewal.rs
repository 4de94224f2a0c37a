//! When a session is renewed: a pure function of what was heard and when.

use std::time::Duration;

use crate::time::Timestamp;

/// Part of the authority's life after which it is renewed: four fifths.
const AUTHORITY_USED: (u32, u32) = (4, 5);
/// The authority is renewed at least this long before it ends, where it lasts twice as long.
const AUTHORITY_MARGIN: Duration = Duration::from_secs(10);
/// Shortest time between two renewals of the authority. A token that never changes has less life left each time it is
/// sent again, and would otherwise be sent at ever shorter intervals towards its end.
const AUTHORITY_PAUSE: Duration = Duration::from_secs(1);
/// First wait after a renewal that failed; it doubles with each failure.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest wait after a renewal that failed. A shorter lease shortens it: there are at least four tries in the last
/// two thirds of a lease.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Shortest time between two renewals, whatever lease an acceptor states: a lease of a nanosecond must not keep this
/// program busy.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// What a renewal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Renew the lease only.
    Lease,
    /// Renew the authority with a fresh token, which renews the lease too.
    Authority {
        /// Ask for a new ticket.
        rotate_ticket: bool,
    },
}

/// Whether the ticket is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rotation {
    /// With every renewal of the authority.
    #[default]
    WithAuthority,
    /// Never; the ticket of the opening lasts as long as the session.
    Never,
}

/// Knows when the next renewal is due.
#[derive(Debug, Clone)]
pub struct Renewal {
    lease: Duration,
    /// When the acceptor is last known to have taken traffic.
    heard: Timestamp,
    /// When the authority is to be renewed; `None`: it lasts as long as the session.
    authority_due: Option<Timestamp>,
    authority_until: Option<Timestamp>,
    rotation: Rotation,
    failures: u32,
    /// No renewal before this.
    not_before: Timestamp,
}

impl Renewal {
    /// A session whose opening was asked for at `now`, with the lease and the authority that it got.
    ///
    /// `now` is when the request was sent, not when the answer came: the acceptor's clock started in between, and the
    /// earlier point errs on the safe side.
    pub fn new(now: Timestamp, lease: Duration, authority: Option<Duration>, rotation: Rotation) -> Self {
        let mut renewal = Self {
            lease,
            heard: now,
            authority_due: None,
            authority_until: None,
            rotation,
            failures: 0,
            not_before: Timestamp::ORIGIN,
        };
        renewal.set_authority(now, authority);
        renewal
    }

    /// A request that was sent at `sent` was accepted by the session: that renewed its lease.
    pub fn heard(&mut self, sent: Timestamp) {
        self.heard = self.heard.max(sent);
    }

    /// A renewal that was sent at `sent` was answered with this lease and authority.
    pub fn renewed(&mut self, sent: Timestamp, lease: Duration, authority: Option<Duration>) {
        self.lease_renewed(sent, lease);
        self.set_authority(sent, authority);
    }

    /// A renewal of the lease alone, sent at `sent`, was answered; the authority is as it was.
    pub fn lease_renewed(&mut self, sent: Timestamp, lease: Duration) {
        self.heard(sent);
        self.lease = lease;
        self.failures = 0;
        self.not_before = Timestamp::ORIGIN;
    }

    /// The acceptor has said that the authority is over: it is renewed as soon as failures allow.
    pub fn authority_ended(&mut self, now: Timestamp) {
        self.authority_due = Some(now);
    }

    /// A renewal failed at `now`: the next one waits.
    pub fn failed(&mut self, now: Timestamp) {
        let longest = RETRY_MAX.min(self.lease / 6).max(PAUSE_MIN);
        let wait = RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait;
    }

    /// The next renewal and when it is due, if nothing is heard until then.
    //= L-9
    //= L-12
    pub fn next(&self) -> (Timestamp, Action) {
        let lease = self.heard + (self.lease / 3).max(PAUSE_MIN);
        let (due, action) = match self.authority_due {
            Some(authority) if authority <= lease => (authority, self.authority_action()),
            Some(_) | None => (lease, Action::Lease),
        };
        (due.max(self.not_before), action)
    }

    /// What is to be done at `now`; `None` if nothing is due.
    pub fn due(&self, now: Timestamp) -> Option<Action> {
        // Both may be due after a wait; the renewal of the authority serves for the lease.
        let authority = self.authority_due.is_some_and(|due| due <= now);
        let (at, action) = self.next();
        (at <= now).then(|| if authority { self.authority_action() } else { action })
    }

    /// When the session has surely expired at the acceptor, if it heard nothing since what is known.
    pub fn lease_until(&self) -> Timestamp {
        self.heard + self.lease
    }

    /// When the authority ends; `None`: with the session.
    pub fn authority_until(&self) -> Option<Timestamp> {
        self.authority_until
    }

    /// How the authority is renewed.
    pub fn authority_action(&self) -> Action {
        Action::Authority { rotate_ticket: self.rotation == Rotation::WithAuthority }
    }

    fn set_authority(&mut self, since: Timestamp, authority: Option<Duration>) {
        self.authority_until = authority.map(|lasts| since + lasts);
        self.authority_due = authority.map(|lasts| {
            let (part, whole) = AUTHORITY_USED;
            let margin = AUTHORITY_MARGIN.min(lasts / 2);
            since + (lasts / whole * part).min(lasts - margin).max(AUTHORITY_PAUSE)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs_f64(seconds))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const ROTATE: Action = Action::Authority { rotate_ticket: true };

    //= test L-9
    #[test]
    fn an_idle_session_is_renewed_after_a_third_of_its_lease() {
        let mut renewal = Renewal::new(at(0.0), seconds(30), None, Rotation::Never);
        assert_eq!(renewal.next(), (at(10.0), Action::Lease));
        assert_eq!((renewal.due(at(9.9)), renewal.due(at(10.0))), (None, Some(Action::Lease)));
        renewal.heard(at(5.0));
        renewal.heard(at(3.0));
        assert_eq!(renewal.next(), (at(15.0), Action::Lease));
        renewal.renewed(at(15.0), seconds(60), None);
        assert_eq!(renewal.next(), (at(35.0), Action::Lease));
        assert_eq!(renewal.lease_until(), at(75.0));
    }

    //= test L-12
    #[test]
    fn the_authority_is_renewed_before_it_ends() {
        for (lasts, due) in [(3600, 2880.0), (100, 80.0), (30, 20.0), (16, 8.0), (2, 1.0), (0, 1.0)] {
            let renewal =
                Renewal::new(at(0.0), seconds(100_000), Some(seconds(lasts)), Rotation::WithAuthority);
            assert_eq!(renewal.next(), (at(due), ROTATE), "{lasts}");
        }
    }

    #[test]
    fn what_is_due_first_comes_first_and_the_authority_serves_for_both() {
        let mut renewal = Renewal::new(at(0.0), seconds(30), Some(seconds(100)), Rotation::Never);
        assert_eq!(renewal.next(), (at(10.0), Action::Lease));
        assert_eq!(renewal.due(at(85.0)), Some(Action::Authority { rotate_ticket: false }));
        renewal.heard(at(79.0));
        assert_eq!(renewal.next(), (at(80.0), Action::Authority { rotate_ticket: false }));
    }

    #[test]
    fn failed_renewals_wait_longer_each_time_but_not_for_ever() {
        let mut renewal = Renewal::new(at(0.0), seconds(30), None, Rotation::Never);
        let mut now = at(10.0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            renewal.failed(now);
            let (next, _) = renewal.next();
            waits.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        renewal.renewed(now, seconds(30), None);
        assert_eq!(renewal.next(), (now + seconds(10), Action::Lease));
    }

    #[test]
    fn an_authority_that_is_over_is_renewed_at_once_and_a_lease_alone_leaves_it_as_it_is() {
        let mut renewal = Renewal::new(at(0.0), seconds(30), Some(seconds(1000)), Rotation::WithAuthority);
        renewal.lease_renewed(at(10.0), seconds(60));
        assert_eq!(renewal.authority_until(), Some(at(1000.0)));
        assert_eq!(renewal.next(), (at(30.0), Action::Lease));
        renewal.authority_ended(at(12.0));
        assert_eq!(renewal.due(at(12.0)), Some(ROTATE));
    }

    #[test]
    fn a_lease_of_next_to_nothing_does_not_keep_the_program_busy() {
        let mut renewal = Renewal::new(at(0.0), Duration::from_nanos(1), None, Rotation::Never);
        assert_eq!(renewal.next(), (at(0.05), Action::Lease));
        for _ in 0..9 {
            renewal.failed(at(1.0));
            assert_eq!(renewal.next(), (at(1.05), Action::Lease));
        }
        renewal.lease_renewed(at(2.0), Duration::from_nanos(1));
        assert_eq!(renewal.next(), (at(2.05), Action::Lease));
    }

    #[test]
    fn a_short_lease_is_tried_often_enough() {
        let mut renewal = Renewal::new(at(0.0), seconds(1), None, Rotation::Never);
        let mut now = renewal.next().0;
        let mut tries = 0;
        while now < renewal.lease_until() {
            tries += 1;
            renewal.failed(now);
            now = renewal.next().0;
        }
        assert!(tries >= 4, "{tries}");
    }
}
