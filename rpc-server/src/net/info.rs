//! What the layers above may know of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rpc_core::id::ConnectionId;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::Instant;

/// Who is on the other side of a connection. A cheap clone, found in the extensions of each request.
#[derive(Clone)]
pub struct ConnectionInfo(Arc<Inner>);

struct Inner {
    id: ConnectionId,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    certificates: Vec<CertificateDer<'static>>,
    phase: watch::Sender<Phase>,
}

/// Where a connection is in its life. It only moves downwards here.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Open,
    Draining(Notice),
    Closed(CloseReason),
}

impl ConnectionInfo {
    pub(super) fn new(
        id: ConnectionId,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self(Arc::new(Inner { id, peer, local, certificates, phase: watch::Sender::new(Phase::Open) }))
    }

    /// Its number, counted from 1 by the server that accepted it.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// The address it came from, if it is not a pipe. Behind a proxy, the proxy's.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// The address it came to, if it is not a pipe.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// The peer's certificate and those that lead from it to a trusted one, checked. Empty without mutual TLS.
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.certificates
    }

    /// What waits for the end of the connection.
    #[must_use]
    pub fn handle(&self) -> ConnectionHandle {
        ConnectionHandle { phase: self.0.phase.subscribe() }
    }

    /// Tells those who wait that the connection was asked to go, or that it has less time than it was told.
    pub(super) fn announce(&self, notice: Notice) {
        self.0.phase.send_replace(Phase::Draining(notice));
    }

    /// Tells those who wait that the connection is gone.
    pub(super) fn announce_closed(&self, reason: CloseReason) {
        self.0.phase.send_replace(Phase::Closed(reason));
    }
}

impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionInfo")
            .field("id", &self.0.id)
            .field("peer", &self.0.peer)
            .field("local", &self.0.local)
            .field("certificates", &self.0.certificates.len())
            .field("phase", &*self.0.phase.borrow())
            .finish()
    }
}

/// Waits for the end of a connection. A cheap clone, which does not keep the connection open.
#[derive(Debug, Clone)]
pub struct ConnectionHandle {
    phase: watch::Receiver<Phase>,
}

impl ConnectionHandle {
    /// Resolves when the connection was asked to go, with the time it has left; `None` if it closed without that.
    /// A drain of the server may shorten the time later; [`ConnectionHandle::closed`] then resolves earlier.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn draining(&self) -> Option<Notice> {
        let mut phase = self.phase.clone();
        match phase.wait_for(|phase| !matches!(phase, Phase::Open)).await.map(|phase| *phase) {
            Ok(Phase::Draining(notice)) => Some(notice),
            Ok(Phase::Open | Phase::Closed(_)) | Err(_) => None,
        }
    }

    /// Resolves when the connection is gone and all handlers on it have ended.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn closed(&self) -> CloseReason {
        let mut phase = self.phase.clone();
        match phase.wait_for(|phase| matches!(phase, Phase::Closed(_))).await.map(|phase| *phase) {
            Ok(Phase::Closed(reason)) => reason,
            // The connection's task tells its end even when it is aborted, so this is a connection that never had
            // one.
            Ok(Phase::Open | Phase::Draining(_)) | Err(_) => CloseReason::Aborted,
        }
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Closed(_)) || self.phase.has_changed().is_err()
    }
}

/// A connection was asked to go (GOAWAY): new calls go elsewhere, those in flight may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Why.
    pub reason: CloseReason,
    /// When it is cut if it is still there.
    pub deadline: Instant,
}

impl Notice {
    pub(super) fn new(reason: CloseReason, deadline: Instant) -> Self {
        Self { reason, deadline }
    }
}

/// Why a connection ended. The first cause counts: one that was cut after its grace ended for [`CloseReason::Age`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it, in whatever way.
    Peer,
    /// No request came within [`Timeouts::first_request`](super::Timeouts::first_request).
    Unused,
    /// No stream was open for [`Lifetime::idle`](super::Lifetime::idle).
    Idle,
    /// It was as old as [`Lifetime::age`](super::Lifetime::age) allows.
    Age,
    /// The server was drained.
    Drain,
    /// Nothing was heard of it, not even the answer to a PING.
    KeepAlive,
    /// It did not finish the HTTP/2 preface within [`Timeouts::preface`](super::Timeouts::preface).
    PrefaceDeadline,
    /// It speaks something other than HTTP/2 with prior knowledge.
    NotHttp2,
    /// It did not finish the TLS handshake within [`Timeouts::tls_handshake`](super::Timeouts::tls_handshake).
    TlsDeadline,
    /// The TLS handshake failed, or did not agree on HTTP/2.
    TlsHandshake,
    /// There were too many connections.
    Limit(Limit),
    /// HTTP/2 was broken, or one of its guards against misuse closed it.
    Error,
    /// Its task was dropped or panicked.
    Aborted,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "peer",
            Self::Unused => "unused",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Drain => "drain",
            Self::KeepAlive => "keepalive",
            Self::PrefaceDeadline => "preface deadline",
            Self::NotHttp2 => "not HTTP/2",
            Self::TlsDeadline => "TLS handshake deadline",
            Self::TlsHandshake => "TLS handshake failed",
            Self::Limit(Limit::Connections) => "limit of connections",
            Self::Limit(Limit::PerAddress) => "limit of connections per address",
            Self::Limit(Limit::Unused) => "limit of unused connections",
            Self::Error => "error",
            Self::Aborted => "aborted",
        })
    }
}

/// Which of the [`Limits`](super::Limits) was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::connections`](super::Limits::connections).
    Connections,
    /// [`Limits::per_address`](super::Limits::per_address).
    PerAddress,
    /// [`Limits::unused`](super::Limits::unused).
    Unused,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ConnectionInfo {
        ConnectionInfo::new(ConnectionId(1), None, None, Vec::new())
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_late_learn_the_same() {
        let info = info();
        let notice = Notice::new(CloseReason::Age, Instant::now());
        info.announce(notice);
        assert_eq!(info.handle().draining().await, Some(notice));
        assert!(!info.handle().is_closed());
        info.announce_closed(CloseReason::Age);
        let late = info.handle();
        assert!(late.is_closed());
        assert_eq!(late.closed().await, CloseReason::Age);
        assert_eq!(late.draining().await, None);
    }

    #[tokio::test]
    async fn a_handle_survives_its_connection() {
        let info = info();
        let handle = info.handle();
        info.announce_closed(CloseReason::Peer);
        drop(info);
        assert_eq!(handle.closed().await, CloseReason::Peer);
        assert!(handle.is_closed());
    }
}
