//! What can go wrong, and how far a request got when it did.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use tonic::body::Body;

use super::tls::TlsError;

/// Why a request has no response. The three variants are three promises about the server.
///
/// They are made from what the HTTP/2 connection proves, and doubt always ends in [`Lost`](Self::Lost).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Not a byte of the request was sent, and here it is again.
    #[error("request not sent: {cause}")]
    NotSent {
        /// The request as it was given, its body unread.
        request: Box<http::Request<Body>>,
        /// Why.
        cause: NotSent,
    },
    /// The peer said that it did not and will not process the request: it refused the stream, or it left with a
    /// last processed stream below this one. Or the connection ended in the instant in which the request was put on
    /// it. The request is gone; one built anew may be sent.
    #[error("request not processed by the peer")]
    NotProcessed {
        /// What the connection reported.
        #[source]
        cause: h2::Error,
    },
    /// The request was sent, in whole or in part, and may or may not have been processed.
    #[error("connection lost with the request under way")]
    Lost {
        /// What the connection reported.
        #[source]
        cause: h2::Error,
    },
}

impl SendError {
    /// Tells whether the server certainly did nothing with the request.
    pub fn is_unprocessed(&self) -> bool {
        matches!(self, Self::NotSent { .. } | Self::NotProcessed { .. })
    }

    /// Judges an error of a request that h2 has taken.
    pub(super) fn judge(cause: h2::Error) -> Self {
        // GOAWAY reaches a stream if it lies above the last one that the peer processed, and no other: what breaks with
        // the connection later has the error of its stream of bytes.
        if refused(&cause) || gone_away(&cause) { Self::NotProcessed { cause } } else { Self::Lost { cause } }
    }
}

fn refused(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}

fn gone_away(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote()
}

/// The error and what it came from, outermost first.
pub(super) fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Why a request was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// No connection, the last dial failed, and the call did not want to wait. It may be sent again later.
    #[error("no connection")]
    Unavailable(#[source] Arc<ConnectError>),
    /// The deadline passed while the request waited for a connection or for room on one.
    #[error("deadline passed before the request could be sent")]
    Deadline(#[source] Option<Arc<ConnectError>>),
    /// This one connection takes no more requests; another may.
    #[error("connection closed")]
    Closed,
    /// So many connections in a row were lost before they took the request.
    #[error("handed back by {0} connections")]
    Replays(usize),
    /// As many requests as are allowed to wait ([`Config::calls_waiting_max`](super::Config::calls_waiting_max))
    /// do wait already. Send fewer at once, or raise the limit.
    #[error("{0} requests are waiting already")]
    TooManyWaiting(usize),
    /// The connections were shut down, or their last handle dropped.
    #[error("connections shut down")]
    Shutdown,
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The target could not be reached: unknown name, refused, no route.
    #[error("cannot reach {target}")]
    Unreachable {
        /// Host and port of the target.
        target: String,
        /// What the connector reported.
        #[source]
        source: io::Error,
    },
    /// TLS failed; the source says whether it was the certificate, its name, or the protocol.
    #[error("TLS with {name} failed")]
    Tls {
        /// The name the certificate was expected to be for.
        name: String,
        /// What rustls or the stream reported.
        #[source]
        source: io::Error,
    },
    /// TLS succeeded, but the server did not agree to HTTP/2 (ALPN `h2`).
    #[error("server does not offer HTTP/2 (no ALPN protocol h2)")]
    NoAlpn,
    /// What answered does not speak HTTP/2.
    #[error("peer does not speak HTTP/2")]
    NotHttp2,
    /// HTTP/2 could not be started.
    #[error("HTTP/2 handshake failed")]
    Http2(#[source] h2::Error),
    /// The peer closed the stream before it sent its HTTP/2 settings.
    #[error("peer closed the connection during the HTTP/2 handshake")]
    Closed,
    /// A connection came about, but was lost at once, before it had answered a single call.
    #[error("connection lost after {0:?}, before it answered a call")]
    ShortLived(Duration),
    /// The time for one dial passed.
    #[error("no connection after {after:?}, waiting for {step}")]
    Timeout {
        /// The configured time.
        after: Duration,
        /// Where the dial stood.
        step: ConnectStep,
    },
}

impl ConnectError {
    /// Shows the error with all its causes on one line, as logs do.
    pub fn report(&self) -> impl fmt::Display {
        Report(self)
    }
}

/// The steps of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStep {
    /// Reaching the target: name resolution and TCP, or whatever the connector does.
    Reach,
    /// The TLS handshake.
    Tls,
    /// The peer's HTTP/2 settings.
    Http2,
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reach => "the peer to accept",
            Self::Tls => "the TLS handshake",
            Self::Http2 => "the peer's HTTP/2 settings",
        })
    }
}

struct Report<'a>(&'a ConnectError);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, error) in sources(self.0).enumerate() {
            if depth > 0 {
                f.write_str(": ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// Why a set of connections could not be set up. Nothing was dialled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The target is not `http://host[:port]` or `https://host[:port]`.
    #[error("not a target: {0}, expected http://host:port or https://host:port")]
    Target(http::Uri),
    /// TLS was configured for a target without TLS. Write `https`.
    #[error("TLS settings for the plain target {0}")]
    TlsForPlainTarget(http::Uri),
    /// The TLS settings cannot work.
    #[error("TLS settings")]
    Tls(#[source] TlsError),
    /// There is no tokio runtime to run the connections on.
    #[error("no tokio runtime")]
    NoRuntime,
}
