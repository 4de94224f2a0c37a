//! Every bound and deadline of a connection, with its default.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::Tls;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// How connections are accepted, bounded and ended.
///
/// ```
/// let mut config = rpc_server::net::Config::default();
/// config.limits.per_address = 1_000; // behind a proxy, all callers share its address
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Settings of the HTTP/2 connection.
    pub http2: Http2,
    /// How long a peer may take before its first request.
    pub timeouts: Timeouts,
    /// When a connection that works is ended.
    pub lifetime: Lifetime,
    /// How many connections there may be.
    pub limits: Limits,
    /// Options of TCP sockets. They do not apply to [`serve_with_incoming`](super::serve_with_incoming).
    pub tcp: Tcp,
    /// Which threads serve. Default: [`Runtime::PerCore`].
    pub runtime: Runtime,
    /// The deadline of the drain that the server itself orders, which it does when one of its threads failed. Also
    /// bounds [`Connections::finish`](super::Connections::finish) where nobody ordered a drain. Default: 30 s.
    pub drain_deadline: Duration,
    /// Certificate and key. Default: none, which only loopback addresses accept.
    pub tls: Option<Tls>,
    /// Serves without TLS on addresses that others can reach. Whoever is on the way reads tokens and tickets, so
    /// this is for hosts where something else encrypts. A warning is logged every hour. Default: `false`.
    pub dangerous_plaintext: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http2: Http2::default(),
            timeouts: Timeouts::default(),
            lifetime: Lifetime::default(),
            limits: Limits::default(),
            tcp: Tcp::default(),
            runtime: Runtime::default(),
            drain_deadline: Duration::from_secs(30),
            tls: None,
            dangerous_plaintext: false,
        }
    }
}

/// Settings of the HTTP/2 connection. The windows are fixed: growing ones start at 64 KiB, and with them the number
/// of small unread messages that a connection survives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Http2 {
    /// Streams open at once on one connection. More are refused, which callers may retry. Default: 200.
    pub concurrent_streams_max: u32,
    /// Unread bytes of one request. Up to 2^31-1, larger values count as that. Default: 1 MiB.
    pub stream_window_bytes: u32,
    /// Unread bytes of all requests of a connection. Up to 2^31-1. Default: 4 MiB.
    pub connection_window_bytes: u32,
    /// The largest frame a peer may send, from 16 KiB to 16 MiB-1, other values count as the nearest. Default:
    /// 64 KiB, with which bulk streams are twice as fast as with 16 KiB.
    pub frame_bytes_max: u32,
    /// The headers of one request, decoded. More is answered with status 431. Default: 16 KiB.
    pub header_list_bytes_max: u32,
    /// Streams that the peer reset before we looked at them; more end the connection. Default: 200, as many as it may
    /// have open and, behind a proxy, give up at once.
    pub pending_accept_resets_max: usize,
    /// Streams of one connection that we had to reset for the peer's errors; more end the connection. Default: 128.
    pub local_error_resets_max: usize,
    /// Response bytes of one stream that wait for the network. Default: 1 MiB.
    pub send_buffer_bytes_max: usize,
    /// A connection that was silent for this long is sent a PING; at least a millisecond. Default: 20 s.
    pub keepalive_interval: Duration,
    /// A PING after which nothing at all is heard within this time ends the connection. Default: 10 s.
    pub keepalive_timeout: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            concurrent_streams_max: 200,
            stream_window_bytes: MIB,
            connection_window_bytes: 4 * MIB,
            frame_bytes_max: 64 * KIB,
            header_list_bytes_max: 16 * KIB,
            pending_accept_resets_max: 200,
            local_error_resets_max: 128,
            send_buffer_bytes_max: MIB as usize,
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}

/// How long a peer may take before its first request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the accept to the end of the TLS handshake. Default: 10 s.
    pub tls_handshake: Duration,
    /// From the accept, or the end of the TLS handshake, to the last byte of the HTTP/2 preface and its SETTINGS
    /// frame. Default: 5 s.
    pub preface: Duration,
    /// From the preface to the first request. The connection is then ended in an orderly way, which costs a client
    /// that connects early a reconnect. It keeps a few hosts from taking all of
    /// [`Limits::unused`]. Default: 30 s.
    pub first_request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tls_handshake: Duration::from_secs(10),
            preface: Duration::from_secs(5),
            first_request: Duration::from_secs(30),
        }
    }
}

/// When a connection that works is ended. It is always told first (GOAWAY), so that callers move without an error.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Lifetime {
    /// A connection of this age is asked to go, which lets balancers spread callers anew. Default: 30 min.
    pub age: Duration,
    /// The age of each connection differs from `age` by up to this much, so that those which came together do not
    /// go together. From 0 to 100, more counts as 100. Default: 10.
    pub age_jitter_percent: u32,
    /// What the jitter is made from. Default: `None`, a random number for each server.
    pub jitter_seed: Option<u64>,
    /// How long calls may go on after the connection was asked to go for age, idleness or lack of use. Then it is
    /// cut. Default: 60 s.
    pub grace: Duration,
    /// A connection is asked to go when no stream was open for this long. Default: 5 min.
    pub idle: Duration,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 60),
            age_jitter_percent: 10,
            jitter_seed: None,
            grace: Duration::from_secs(60),
            idle: Duration::from_secs(5 * 60),
        }
    }
}

/// How many connections there may be, over all threads of a server. One too many is closed at once, with a warning
/// in the log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// All connections. Default: 10,000.
    pub connections: usize,
    /// Connections from one address; for IPv6, from one /64 network, since a host has a whole one to itself. Raise it
    /// behind a proxy. Default: 200.
    pub per_address: usize,
    /// Connections that have not sent a request yet. Default: 1,000.
    pub unused: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, per_address: 200, unused: 1_000 }
    }
}

/// Options of TCP sockets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tcp {
    /// Sends small segments at once. Default: `true`; without it, calls wait for each other's acknowledgements.
    pub nodelay: bool,
    /// Idle time before TCP's own probes, `None` for no probes. The PINGs of HTTP/2 notice a dead peer sooner; these
    /// are for phases before it. Default: 60 s.
    pub keepalive: Option<Duration>,
    /// Connections that the system holds until we accept them. Systems have a bound of their own. Default: 1,024.
    pub backlog: i32,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { nodelay: true, keepalive: Some(Duration::from_secs(60)), backlog: 1_024 }
    }
}

/// Which threads serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Runtime {
    /// One thread for each core, with a single-threaded runtime and a listener of its own; the system spreads the
    /// connections. A call then never moves between threads, which takes 43 % less CPU. A handler that
    /// computes for long holds up the other calls of its thread: give such work to
    /// [`tokio::task::spawn_blocking`].
    ///
    /// Where listeners cannot share a port (anything but Linux), this is the same as [`Runtime::WorkStealing`].
    PerCore {
        /// The number of threads. Default: what [`std::thread::available_parallelism`] says.
        threads: Option<NonZeroUsize>,
    },
    /// The runtime of the caller, with one listener.
    WorkStealing,
}

impl Default for Runtime {
    fn default() -> Self {
        Self::PerCore { threads: None }
    }
}

impl Runtime {
    /// How many listeners share a port.
    pub(super) fn listeners(self) -> usize {
        match self {
            Self::PerCore { threads: Some(threads) } if SHARES_PORTS => threads.get(),
            Self::PerCore { threads: None } if SHARES_PORTS => {
                std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
            }
            Self::PerCore { .. } | Self::WorkStealing => 1,
        }
    }

    /// Whether the server starts threads of its own.
    pub(super) fn owns_threads(self) -> bool {
        SHARES_PORTS && matches!(self, Self::PerCore { .. })
    }
}

/// Whether the system spreads connections over listeners with `SO_REUSEPORT`. Others have the option, but give
/// everything to the newest listener.
pub(super) const SHARES_PORTS: bool = cfg!(any(target_os = "linux", target_os = "android"));
