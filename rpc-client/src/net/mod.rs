//! The client end of the network: a set of HTTP/2 connections to one target.
//!
//! This module dials, keeps, measures and replaces connections, and carries HTTP requests over them. It knows
//! nothing about sessions, slots or retries of what may have run; it only promises to say truthfully how far a
//! request got ([`SendError`]), because everything above rests on that.
//!
//! - [`Connections`] is the set: cheap to clone, picks the least loaded connection for each call, replays what
//!   was never sent, and can be watched ([`State`]).
//! - [`Connection`] is one of them, for what must happen once per connection.
//! - [`Config`] has every limit with its default; [`Tls`] says whom to trust; [`Connector`] is the seam where
//!   simulators, Unix sockets and fault proxies are put in.
//!
//! # How a call travels
//!
//! ```text
//! send ─ pick the least loaded ─ gate: stream limit, short queue ─ h2 ─ Wire ─ TLS ─ Connector
//! ```
//!
//! The gate keeps the number of open streams under the peer's limit, so that a call which has to wait waits on
//! our side, where it can still be taken back, and the queue behind it is short on purpose (see `gate.rs`).
//!
//! # Tasks
//!
//! One task for each connection slot, which runs its connection; one for each request body that has to wait for more
//! to send; one for each connection that takes no more calls and has some left. All of them belong to the set: [`Connections::shutdown`] returns when the last one has ended, and dropping the last handle
//! stops the dialling at once while running calls come to their end.

mod backoff;
mod board;
mod bodies;
mod config;
mod connection;
mod connector;
mod dialer;
mod driver;
mod error;
mod frames;
mod gate;
mod origin;
mod pool;
mod slot;
mod state;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub use crate::plaintext::is_loopback;

pub use self::{
    bodies::ResponseBody,
    config::{Backoff, Config, Keepalive},
    connection::{Connection, ConnectionKey},
    connector::{BoxIo, Connecting, Connector, Io, Tcp},
    error::{ConnectError, ConnectStep, NotSent, SendError, SetupError},
    pool::{Connections, Drained, SendOptions},
    state::State,
    tls::{Tls, TlsError},
};
