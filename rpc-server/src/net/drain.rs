//! Stopping a server: one order, seen by each accept loop and each connection.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Stops a server. A cheap clone; dropping it does nothing.
#[derive(Debug, Clone)]
pub struct Handle {
    /// The time by which everything must have ended, once somebody has asked for it. It only moves forward.
    until: Arc<watch::Sender<Option<Instant>>>,
}

impl Handle {
    /// A handle for [`serve_with_incoming`](super::serve_with_incoming); a [`Bound`](super::Bound) has its own.
    /// Give it to one server.
    #[must_use]
    pub fn new() -> Self {
        Self { until: Arc::new(watch::Sender::new(None)) }
    }

    /// Stops accepting, asks every connection to go, and cuts those that are left after `within`. Returns at once;
    /// the server's `serve` returns when all has ended.
    ///
    /// `Duration::ZERO`, and any second call, mean now.
    pub fn drain(&self, within: Duration) {
        let now = Instant::now();
        self.until.send_modify(|until| {
            let wanted = match until {
                None => now.checked_add(within).unwrap_or_else(|| now + LONGEST),
                Some(earlier) => now.min(*earlier),
            };
            *until = Some(wanted);
        });
    }

    /// Like [`Handle::drain`], unless somebody has already ordered one.
    pub(super) fn drain_unless_draining(&self, within: Duration) {
        if !self.is_draining() {
            self.drain(within);
        }
    }

    /// Whether somebody has asked the server to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.until.borrow().is_some()
    }

    /// The time by which everything must have ended, if there is one.
    pub(super) fn until(&self) -> Option<Instant> {
        *self.until.borrow()
    }

    /// The orders, for one that obeys them.
    pub(super) fn orders(&self) -> Orders {
        Orders { until: self.until.subscribe(), seen: None }
    }
}

impl Default for Handle {
    fn default() -> Self {
        Self::new()
    }
}

/// What stands for "no deadline" where a duration does not fit the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The orders of a [`Handle`], each told once.
pub(super) struct Orders {
    until: watch::Receiver<Option<Instant>>,
    seen: Option<Instant>,
}

impl Orders {
    /// The next deadline that was not told yet, at once if there is one.
    ///
    /// # Cancel safety
    ///
    /// An order is taken only by the call that returns it.
    pub(super) async fn next(&mut self) -> Instant {
        loop {
            if let Some(until) = *self.until.borrow_and_update()
                && self.seen != Some(until)
            {
                self.seen = Some(until);
                return until;
            }
            if self.until.changed().await.is_err() {
                // No handle is left, so no order will come.
                return pending().await;
            }
        }
    }
}

/// What a server did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Connections that got as far as having a service.
    pub served: u64,
    /// Those of them that were cut at a deadline instead of ending by themselves.
    pub cut: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_order_is_told_once_and_to_those_who_come_late() {
        let handle = Handle::new();
        let mut early = handle.orders();
        handle.drain(Duration::from_secs(3));
        let expected = Instant::now() + Duration::from_secs(3);
        assert_eq!(early.next().await, expected);
        assert_eq!(handle.orders().next().await, expected);
        assert!(tokio::time::timeout(Duration::from_secs(60), early.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_order_means_now() {
        let handle = Handle::new();
        let mut orders = handle.orders();
        handle.drain(Duration::from_secs(3_600));
        orders.next().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        handle.drain(Duration::from_secs(3_600));
        assert_eq!(orders.next().await, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_order_never_gives_more_time() {
        let handle = Handle::new();
        handle.drain(Duration::ZERO);
        let first = handle.until();
        tokio::time::advance(Duration::from_secs(1)).await;
        handle.drain(Duration::from_secs(9));
        assert_eq!(handle.until(), first);
    }

    #[test]
    fn an_endless_deadline_fits_the_clock() {
        let handle = Handle::new();
        handle.drain(Duration::MAX);
        assert!(handle.is_draining());
    }
}
