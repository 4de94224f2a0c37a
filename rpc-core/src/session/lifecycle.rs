//! The life of a session as a table.

use std::fmt;

use crate::record::End;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its record is on the way to the store; nobody knows its number yet.
    Opening,
    /// In use: the lease governs.
    Connected,
    /// Its last connection was lost: the linger governs.
    Lingering,
    /// It takes no new calls and waits for running ones.
    Releasing,
    /// Over.
    Ended(End),
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// The record of its opening is durable.
    OpenDurable,
    /// A request of its owner arrived.
    Traffic,
    /// The last connection that carried it is gone.
    LastConnectionLost,
    /// Its owner wants to end it in order.
    ReleaseAsked,
    /// No call is running any more.
    CallsFinished,
    /// The acceptor refuses the release.
    ReleaseRefused,
    /// The time for the release is over.
    ReleaseTimeUp,
    /// Either side ends it now.
    Abort,
    /// Lease or linger ran out.
    DeadlinePassed,
}

impl State {
    /// All states, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Opening,
        Self::Connected,
        Self::Lingering,
        Self::Releasing,
        Self::Ended(End::Released),
        Self::Ended(End::Aborted),
        Self::Ended(End::Expired),
    ];

    /// The state after `input`; `None` where the table has no such step, and the state stays.
    #[must_use]
    //= L-1
    //= L-8
    pub fn after(self, input: Input) -> Option<Self> {
        use Input as I;
        use State as S;
        Some(match (self, input) {
            (S::Opening, I::OpenDurable) => S::Connected,
            (S::Connected | S::Lingering, I::Traffic) => S::Connected,
            (S::Releasing, I::Traffic | I::ReleaseAsked) => S::Releasing,
            (S::Connected | S::Releasing, I::LastConnectionLost) => S::Lingering,
            (S::Connected | S::Lingering, I::ReleaseAsked) => S::Releasing,
            (S::Releasing, I::CallsFinished) => S::Ended(End::Released),
            (S::Releasing, I::ReleaseRefused) => S::Connected,
            (S::Releasing, I::ReleaseTimeUp) => S::Ended(End::Aborted),
            (S::Opening | S::Connected | S::Lingering | S::Releasing, I::Abort) => S::Ended(End::Aborted),
            (S::Connected | S::Lingering | S::Releasing, I::DeadlinePassed) => S::Ended(End::Expired),
            _ => return None,
        })
    }

    /// How the session ended, if it did.
    pub const fn end(self) -> Option<End> {
        match self {
            Self::Ended(end) => Some(end),
            Self::Opening | Self::Connected | Self::Lingering | Self::Releasing => None,
        }
    }
}

impl Input {
    /// All inputs, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::OpenDurable,
        Self::Traffic,
        Self::LastConnectionLost,
        Self::ReleaseAsked,
        Self::CallsFinished,
        Self::ReleaseRefused,
        Self::ReleaseTimeUp,
        Self::Abort,
        Self::DeadlinePassed,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opening => "opening",
            Self::Connected => "connected",
            Self::Lingering => "lingering",
            Self::Releasing => "releasing",
            Self::Ended(End::Released) => "released",
            Self::Ended(End::Aborted) => "aborted",
            Self::Ended(End::Expired) => "expired",
        })
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenDurable => "opening durable",
            Self::Traffic => "traffic",
            Self::LastConnectionLost => "last connection lost",
            Self::ReleaseAsked => "release asked",
            Self::CallsFinished => "calls finished",
            Self::ReleaseRefused => "release refused",
            Self::ReleaseTimeUp => "release time up",
            Self::Abort => "abort",
            Self::DeadlinePassed => "deadline passed",
        })
    }
}
