//! Finds out that a silent peer is gone.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

/// What stands for a time that does not fit the clock.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// When something was last read of the peer.
#[derive(Debug)]
pub struct LastHeard {
    since: Instant,
    /// Microseconds after `since`.
    at: AtomicU64,
}

impl LastHeard {
    /// Begins now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { since: Instant::now(), at: AtomicU64::new(0) })
    }

    /// Notes that something was read.
    pub fn note(&self) {
        self.at.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    fn after(&self, at: u64, pause: Duration) -> Instant {
        let far = || self.since + FAR;
        self.since
            .checked_add(Duration::from_micros(at))
            .and_then(|at| at.checked_add(pause))
            .unwrap_or_else(far)
    }
}

/// Asks a peer that is silent, by HTTP/2 pings, and gives up on one that stays so.
///
/// Whatever is read counts as its answer: on a slow line, that to the ping may stand in a long queue.
pub struct Silence {
    interval: Duration,
    timeout: Duration,
    heard: Arc<LastHeard>,
    pings: PingPong,
    /// When the question was asked that is not answered yet.
    asked: Option<u64>,
    wake: Pin<Box<Sleep>>,
}

impl Silence {
    /// Asks after a silence of `interval`, at least a millisecond, and waits for `timeout` for an answer.
    pub fn new(interval: Duration, timeout: Duration, heard: Arc<LastHeard>, pings: PingPong) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        let wake = Box::pin(sleep_until(heard.after(heard.at(), interval)));
        Self { interval, timeout, heard, pings, asked: None, wake }
    }

    /// Is ready when the peer is gone. To be polled in the task that drives the connection, before the connection.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.wake.as_mut().poll(cx));
            let (now, heard) = (self.heard.now(), self.heard.at());
            let silent = self.heard.after(heard, self.interval) <= self.heard.after(now, Duration::ZERO);
            let next = match self.asked {
                Some(asked) if heard < asked => return Poll::Ready(()),
                None if silent => {
                    self.ask(cx);
                    self.asked = Some(now);
                    self.heard.after(now, self.timeout)
                }
                Some(_) | None => {
                    self.asked = None;
                    self.heard.after(heard, self.interval)
                }
            };
            self.wake.as_mut().reset(next);
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        // The answer to the last ping has to be taken before the next can be sent. Where there is none yet, since other
        // things were read meanwhile, that ping is the question.
        _ = self.pings.poll_pong(cx);
        if let Err(error) = self.pings.send_ping(Ping::opaque()) {
            tracing::debug!(%error, "the last ping is still under way");
        }
    }
}

impl fmt::Debug for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Silence").field("asked", &self.asked.is_some()).finish_non_exhaustive()
    }
}
