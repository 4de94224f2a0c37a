//! What all threads of one server share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rpc_core::id::ConnectionId;
use tracing::warn;

use super::limits::{Admission, Limiter, Throttle};
use super::{Config, Handle, Limit, Report};

/// One warning in this time for each thing that can happen at every accept.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// How often the log says that strangers can listen.
const PLAINTEXT_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// One server: its configuration, its counters, and the layer above.
pub(super) struct Shared<C> {
    pub(super) connections: C,
    pub(super) config: Config,
    pub(super) handle: Handle,
    limiter: Arc<Limiter>,
    jitter_seed: u64,
    ids: AtomicU64,
    cut: AtomicU64,
    limit_warning: Throttle,
    accept_warning: Throttle,
    plaintext_warning: Throttle,
}

impl<C> Shared<C> {
    pub(super) fn new(connections: C, config: Config, handle: Handle) -> Arc<Self> {
        // Without the system's randomness, all servers' connections would age alike, which is no reason to stop.
        let random_seed = || getrandom::u64().unwrap_or(0);
        Arc::new(Self {
            limiter: Limiter::new(config.limits.clone()),
            jitter_seed: config.lifetime.jitter_seed.unwrap_or_else(random_seed),
            connections,
            config,
            handle,
            ids: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            limit_warning: Throttle::new(WARNING_INTERVAL),
            accept_warning: Throttle::new(WARNING_INTERVAL),
            plaintext_warning: Throttle::new(PLAINTEXT_INTERVAL),
        })
    }

    /// Counts a connection from `peer`. A refusal is in the log.
    pub(super) fn admit(&self, peer: Option<IpAddr>) -> Result<Admission, Limit> {
        self.limiter.admit(peer).inspect_err(|limit| {
            if let Some(held_back) = self.limit_warning.pass() {
                warn!(?limit, held_back, "connection refused, there are too many");
            }
        })
    }

    /// The next connection's number.
    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// What the age of the connection numbered `id` differs by.
    pub(super) fn jitter(&self, id: ConnectionId) -> u64 {
        self.jitter_seed ^ id.0
    }

    /// Counts a connection that did not end by itself.
    pub(super) fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// What was done until now.
    pub(super) fn report(&self) -> Report {
        Report { served: self.ids.load(Ordering::Relaxed), cut: self.cut.load(Ordering::Relaxed) }
    }

    /// Says in the log that accepting fails.
    pub(super) fn warn_of_accept_error(&self, error: &std::io::Error) {
        if let Some(held_back) = self.accept_warning.pass() {
            warn!(%error, held_back, "accepting a connection failed, going on");
        }
    }

    /// Says in the log that a connection to the address `local` can be read by others.
    pub(super) fn warn_of_plaintext(&self, local: Option<IpAddr>) {
        let exposed =
            self.config.tls.is_none() && local.is_some_and(|local| !local.to_canonical().is_loopback());
        if exposed && self.plaintext_warning.pass().is_some() {
            warn!("serving without TLS: credentials can be read on the way");
        }
    }
}
