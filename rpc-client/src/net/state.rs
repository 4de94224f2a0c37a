//! The connectivity of a set of connections, in gRPC's words.

use std::{fmt, sync::Arc};

use super::error::ConnectError;

/// The connectivity of a set of connections.
///
/// These are gRPC's states, and as there a failure stays visible until a connection is made: dialling again does not
/// turn [`TransientFailure`](Self::TransientFailure) back into [`Connecting`](Self::Connecting).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Nothing was asked for yet, so nothing was dialled.
    Idle,
    /// The first dial, or the dial after a connection was lost, is under way.
    Connecting,
    /// At least one connection takes calls.
    Ready,
    /// There is no connection and the last dial failed. The next follows by itself.
    TransientFailure {
        /// The last failure.
        cause: Arc<ConnectError>,
    },
    /// Shut down for good.
    Shutdown,
}

impl State {
    /// Tells whether at least one connection takes calls.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Returns the last failure, if it stands.
    pub fn failure(&self) -> Option<&Arc<ConnectError>> {
        match self {
            Self::TransientFailure { cause } => Some(cause),
            Self::Idle | Self::Connecting | Self::Ready | Self::Shutdown => None,
        }
    }

    /// Tells whether `other` is the same state for the same reason, so that nobody needs to be told.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::TransientFailure { cause: one }, Self::TransientFailure { cause: two }) => {
                Arc::ptr_eq(one, two)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Connecting => f.write_str("connecting"),
            Self::Ready => f.write_str("ready"),
            Self::TransientFailure { cause } => write!(f, "transient failure: {}", cause.report()),
            Self::Shutdown => f.write_str("shut down"),
        }
    }
}
