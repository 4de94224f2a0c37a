//! What a server offers and where its bounds are. Every default is stated here and nowhere else.

use std::time::Duration;

use crate::negotiate::{FirstTurn, Units};

/// A bounded quantity of a negotiation: what a proposal is clamped into, and what holds if nothing is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<T> {
    /// The least that is granted.
    pub min: T,
    /// What is granted if nothing is proposed.
    pub default: T,
    /// The most that is granted.
    pub max: T,
}

impl<T: Ord + Copy> Range<T> {
    /// What a proposal gets: itself where it lies within the range, the nearer end where it does not. The default is
    /// held to the range too, and a maximum below the minimum wins, so that whoever lowers it alone has what he wants.
    pub fn clamp(&self, proposed: Option<T>) -> T {
        proposed.unwrap_or(self.default).max(self.min).min(self.max)
    }
}

/// The server's side of every negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// Protocol versions spoken, ascending. Default: 1.
    pub versions: &'static [u32],
    /// Units offered. Default: all. *Durable* is offered only where the store is.
    pub units: Units,
    /// Life without traffic. Default 30 s, from 1 s to 1 h.
    pub lease: Range<Duration>,
    /// Life after the last connection was lost. Default 10 min, from 0 to 24 h.
    pub linger: Range<Duration>,
    /// Outstanding calls. Default 64, from 1 to 256.
    pub slots: Range<u32>,
    /// Largest reply kept for replay, in bytes. Default 64 KiB, from 256 B to 1 MiB. A session remembers at most
    /// `slots` × this.
    pub reply_bytes: Range<u32>,
    /// Unsecured bytes of a stream. Default 4 MiB, from 64 KiB to 64 MiB.
    pub window_bytes: Range<u64>,
    /// Who begins where the initiator leaves the choice to the acceptor. Default: the initiator.
    pub first_turn: FirstTurn,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            versions: &[1],
            units: Units::ALL,
            lease: Range {
                min: Duration::from_secs(1),
                default: Duration::from_secs(30),
                max: Duration::from_secs(3600),
            },
            linger: Range {
                min: Duration::ZERO,
                default: Duration::from_secs(600),
                max: Duration::from_secs(24 * 3600),
            },
            slots: Range { min: 1, default: 64, max: 256 },
            reply_bytes: Range { min: 256, default: 64 << 10, max: 1 << 20 },
            window_bytes: Range { min: 64 << 10, default: 4 << 20, max: 64 << 20 },
            first_turn: FirstTurn::Initiator,
        }
    }
}

/// Bounds of one server over all its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sessions of one principal. Default 100. At the bound: `SESSIONS_EXHAUSTED`.
    pub sessions_per_principal: u32,
    /// Sessions of all principals. Default 1,000,000. At the bound: `SERVER_FULL`.
    pub sessions: u32,
    /// How long an ended session is remembered, so that its nonce and its release are answered. Default 10 min.
    pub retention: Duration,
    /// How many ended sessions are remembered at most; the oldest are forgotten first. Default 100,000.
    pub tombstones: u32,
    /// How long a release waits for running calls. Default 10 s, up to 60 s.
    pub release_wait: Range<Duration>,
    /// Numbers taken from the store at a time. Default 1,000. A crash loses at most as many.
    pub numbers_reserved: u32,
    /// Bytes that all streams with checkpoints may keep together. Default 1 GiB. Each gets windows of a 256th of what is
    /// free, from 64 KiB to what its session has agreed on. At the bound: `STREAMS_EXHAUSTED`.
    pub stream_memory_max: u64,
    /// Activities of one principal, those that calls work on included. Default 1,000. At the bound those that are done
    /// are forgotten, oldest first; where there is none: `ACTIVITIES_EXHAUSTED`.
    pub activities_per_principal: u32,
    /// Activities of all principals. Default 100,000. At the bound the same.
    pub activities: u32,
    /// Bytes of states and replies that are kept of all activities. Default 256 MiB. At the bound the same.
    pub activity_bytes: u64,
    /// How long an activity is kept that no call works on. Default 24 h.
    pub activity_retention: Duration,
    /// Calls that wait for one exclusive class of one principal, or of one session. Default 64. At the bound:
    /// `EXCLUSIVE_EXHAUSTED`.
    pub exclusive_waiting_per_class: u32,
    /// Calls that wait for all exclusive classes. Default 16,384. At the bound: `EXCLUSIVE_EXHAUSTED`.
    pub exclusive_waiting: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_per_principal: 100,
            sessions: 1_000_000,
            retention: Duration::from_secs(600),
            tombstones: 100_000,
            release_wait: Range {
                min: Duration::ZERO,
                default: Duration::from_secs(10),
                max: Duration::from_secs(60),
            },
            numbers_reserved: 1_000,
            stream_memory_max: 1 << 30,
            activities_per_principal: 1_000,
            activities: 100_000,
            activity_bytes: 256 << 20,
            activity_retention: Duration::from_secs(24 * 3600),
            exclusive_waiting_per_class: 64,
            exclusive_waiting: 16_384,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A maximum that was lowered below the default did not hold for those who proposed nothing, and one below the
    /// minimum ended the first opening with a panic.
    //= test O-8
    #[test]
    fn nothing_is_granted_above_the_maximum() {
        let lowered = Range { min: 1, default: 64, max: 16 };
        assert_eq!(lowered.clamp(None), 16);
        assert_eq!(lowered.clamp(Some(32)), 16);
        assert_eq!(Range { min: 8, default: 64, max: 4 }.clamp(Some(6)), 4);
        assert_eq!(Range { min: 8, default: 1, max: 16 }.clamp(None), 8);
    }
}
