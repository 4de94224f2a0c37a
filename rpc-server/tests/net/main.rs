//! The server's end of connections, against peers that behave and peers that do not.
//!
//! Over pipes and a paused clock, where a second passes at once and exactly; over sockets only what sockets are
//! needed for.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod deadlines;
mod drain;
mod harness;
mod http2;
mod lifetime;
mod limits;
mod misfortune;
mod sockets;
mod tls;
