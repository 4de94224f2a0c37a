//! When sync points are placed by themselves.

use std::time::Duration;

use super::Config;
use super::position::Position;
use crate::policy::Checkpoint;
use crate::time::Timestamp;

/// How old the first message after the last point is, when a sender that is stopped places another one.
const STOPPED: Duration = Duration::from_millis(100);

/// Where the last point lies, and when the next one is due: by the policy and by the window.
#[derive(Debug)]
pub(super) struct Cadence {
    window: Position,
    policy: Option<Checkpoint>,
    last: Position,
    /// When the first message after the last point was there.
    since: Option<Timestamp>,
}

impl Cadence {
    /// The last point lies at `last`, or the direction begins there.
    pub(super) fn new(config: &Config, last: Position) -> Self {
        Self { window: config.window(), policy: config.checkpoint, last, since: None }
    }

    /// A message after the last point is there.
    pub(super) fn messages(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    pub(super) fn placed(&mut self, at: Position) {
        (self.last, self.since) = (at, None);
    }

    /// Where the last point lies.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// Whether policy or window want a point at `here`. A quarter of the window, so that before half of it is unsecured
    /// one is always on its way; half of it within a batch that does not end.
    //= S-8, S-9
    pub(super) fn is_due(&self, now: Timestamp, here: Position, batch_ended: bool) -> bool {
        let since = here.since(self.last);
        if since.messages == 0 {
            return false;
        }
        let part = |part: u64| {
            since.bytes.saturating_mul(part) >= self.window.bytes
                || since.messages.saturating_mul(part) >= self.window.messages
        };
        let Some(policy) = self.policy else { return part(2) || batch_ended && part(4) };
        let enough = policy.every_messages.is_some_and(|most| since.messages >= u64::from(most))
            || policy.every_bytes.is_some_and(|most| since.bytes >= most);
        let late = self.wake().is_some_and(|at| at <= now);
        part(2) || late || batch_ended && (enough || part(4))
    }

    /// When a sender that is stopped places a point although one is on its way.
    pub(super) fn wake_when_stopped(&self) -> Option<Timestamp> {
        Some(self.since? + STOPPED)
    }

    /// When a point is due without another message.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        Some(self.since? + self.policy?.every?)
    }
}
