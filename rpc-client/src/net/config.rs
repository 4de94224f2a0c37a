//! Settings of a set of connections, each with its default and bounds.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    connector::{Connector, Tcp},
    tls::Tls,
};

/// Settings of a set of connections.
///
/// Every method has a default and documented bounds; a value beyond a bound is set to the bound. There is nothing
/// that must be set.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use rpc_client::net::Config;
///
/// let config = Config::default().connections(4).connect_timeout(Duration::from_secs(3));
/// ```
#[derive(Clone)]
pub struct Config {
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) stream_window_bytes: u32,
    pub(super) connection_window_bytes: u32,
    pub(super) frame_bytes_max: u32,
    pub(super) header_list_bytes_max: u32,
    pub(super) queue_len: usize,
    pub(super) calls_open_max: usize,
    pub(super) calls_waiting_max: usize,
    pub(super) replays_max: usize,
    pub(super) wait_for_ready: bool,
    pub(super) tls: Option<Tls>,
    pub(super) connector: Arc<dyn Connector>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections: 2,
            connect_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            keepalive: Some(Keepalive::default()),
            stream_window_bytes: 4 << 20,
            connection_window_bytes: 16 << 20,
            frame_bytes_max: 64 << 10,
            header_list_bytes_max: 16 << 10,
            queue_len: 16,
            calls_open_max: 1_024,
            calls_waiting_max: 65_536,
            replays_max: 5,
            wait_for_ready: true,
            tls: None,
            connector: Arc::new(Tcp::default()),
        }
    }
}

impl Config {
    /// Sets how many connections are kept to the target: 1 to 16, default 2.
    ///
    /// One HTTP/2 connection is worth about one core, and calls on the others survive when one is lost. The first
    /// is dialled by the first call, the others once calls overlap.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count.clamp(1, 16);
        self
    }

    /// Sets how long one dial may take, from name resolution to the peer's HTTP/2 settings: 1 ms to 10 minutes,
    /// default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(600));
        self
    }

    /// Sets the pauses between failed dials. See [`Backoff`] for the default.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how half-open connections are found; `None` leaves them to the operating system, which may take hours.
    /// See [`Keepalive`] for the default.
    pub fn keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> Self {
        self.keepalive = keepalive.into();
        self
    }

    /// Sets the flow control window of one stream: 65,535 bytes to 2 GiB − 1, default 4 MiB.
    ///
    /// A window is fixed on purpose. An adaptive one starts at 64 KiB, and h2 derives from it how many small frames
    /// a slow reader may leave unread before the *connection* is closed.
    pub fn stream_window_bytes(mut self, bytes: u32) -> Self {
        self.stream_window_bytes = bytes.clamp(65_535, i32::MAX as u32);
        self
    }

    /// Sets the flow control window of one connection: 65,535 bytes to 2 GiB − 1, default 16 MiB.
    pub fn connection_window_bytes(mut self, bytes: u32) -> Self {
        self.connection_window_bytes = bytes.clamp(65_535, i32::MAX as u32);
        self
    }

    /// Sets the largest HTTP/2 frame accepted: 16 KiB to 16 MiB − 1, default 64 KiB.
    pub fn frame_bytes_max(mut self, bytes: u32) -> Self {
        self.frame_bytes_max = bytes.clamp(16_384, (1 << 24) - 1);
        self
    }

    /// Sets the largest header list accepted: 1 KiB to 1 MiB, default 16 KiB. A larger one ends its call.
    pub fn header_list_bytes_max(mut self, bytes: u32) -> Self {
        self.header_list_bytes_max = bytes.clamp(1 << 10, 1 << 20);
        self
    }

    /// Sets how many requests may lie in front of one connection: 1 to 1,024, default 16. Further ones wait.
    ///
    /// Short is fast: with a long queue, or none, client and server take turns and half the throughput is gone.
    pub fn queue_len(mut self, requests: usize) -> Self {
        self.queue_len = requests.clamp(1, 1_024);
        self
    }

    /// Sets how many calls one connection carries at once: 1 to 65,536, default 1,024. The peer's own limit holds
    /// if it is lower. Further calls wait.
    pub fn calls_open_max(mut self, calls: usize) -> Self {
        self.calls_open_max = calls.clamp(1, 65_536);
        self
    }

    /// Sets how many calls may wait for a connection, and for room on each connection: 1 to 1,048,576, default
    /// 65,536. One more is answered with [`NotSent::TooManyWaiting`](super::NotSent::TooManyWaiting).
    pub fn calls_waiting_max(mut self, calls: usize) -> Self {
        self.calls_waiting_max = calls.clamp(1, 1 << 20);
        self
    }

    /// Sets how often one request is sent again after it was provably not processed: 0 to 100, default 5.
    pub fn replays_max(mut self, replays: usize) -> Self {
        self.replays_max = replays.min(100);
        self
    }

    /// Sets whether calls wait for a connection (until their deadline) while none can be made: default on.
    ///
    /// When off, a call fails with [`NotSent::Unavailable`](super::NotSent::Unavailable) as soon as there is no
    /// connection and the last dial failed. A call may say otherwise in its [`SendOptions`](super::SendOptions).
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = wait;
        self
    }

    /// Sets whom to trust and who we are. Default: for `https` the system's roots and no client certificate.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Replaces the way to reach the target, under TLS and HTTP/2. Default: [`Tcp`].
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Arc::new(connector);
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("backoff", &self.backoff)
            .field("keepalive", &self.keepalive)
            .field("stream_window_bytes", &self.stream_window_bytes)
            .field("connection_window_bytes", &self.connection_window_bytes)
            .field("frame_bytes_max", &self.frame_bytes_max)
            .field("header_list_bytes_max", &self.header_list_bytes_max)
            .field("queue_len", &self.queue_len)
            .field("calls_open_max", &self.calls_open_max)
            .field("calls_waiting_max", &self.calls_waiting_max)
            .field("replays_max", &self.replays_max)
            .field("wait_for_ready", &self.wait_for_ready)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Pauses between failed dials: exponential by 1.6, each drawn from the upper half of its value.
///
/// gRPC starts at 1 s and goes to 120 s. A session wants to resume before anybody notices, so the default starts at
/// 50 ms; and since its lease runs on while nobody dials, it ends at 10 s. The half that is drawn by chance keeps
/// clients that lost the same server from returning all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub(super) initial: Duration,
    pub(super) max: Duration,
    pub(super) seed: Option<u64>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(50), max: Duration::from_secs(10), seed: None }
    }
}

impl Backoff {
    /// Sets the first pause (1 ms to 1 minute, default 50 ms) and the longest (that to 1 hour, default 10 s).
    pub fn between(mut self, initial: Duration, max: Duration) -> Self {
        self.initial = initial.clamp(Duration::from_millis(1), Duration::from_secs(60));
        self.max = max.clamp(self.initial, Duration::from_secs(3_600));
        self
    }

    /// Makes the pauses the same in every run, for tests and simulations.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

/// Questions to the peer while it is silent: HTTP/2 pings, also when no call is open.
///
/// The default, every 20 s with 10 s for the answer, stays above the floor of 10 s below which servers refuse pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) }
    }
}

impl Keepalive {
    /// Sets the silence before a ping (10 ms to 1 hour) and the time for its answer (10 ms to 10 minutes). Whatever is
    /// heard of the peer counts as an answer.
    pub fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            interval: interval.clamp(Duration::from_millis(10), Duration::from_secs(3_600)),
            timeout: timeout.clamp(Duration::from_millis(10), Duration::from_secs(600)),
        }
    }
}
