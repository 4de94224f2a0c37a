//! The server's end of a connection, from the socket to the HTTP/2 requests on it. Knows nothing of sessions.
//!
//! ```text
//! Bound ──► accept ──► limits ──► TLS ──► preface ──► h2 ──► the connection's service
//!             ▲                                        ▲
//!          Handle (drain)                    age, idle, unused, drain, deadline
//! ```
//!
//! tonic's own transport is not used, because it cannot do four things that callers depend on: announce the end of
//! a connection's age before cutting it, end a drain on time, close peers that never speak, and tell when a
//! connection is gone.
//!
//! | type | is |
//! | --- | --- |
//! | [`Config`] | every bound and deadline, with its default |
//! | [`Bound`] | listening sockets, ready to [`serve`](Bound::serve) |
//! | [`serve_with_incoming`] | the same for streams that are not our sockets: Unix sockets, pipes, simulations |
//! | [`Connections`] | what the layer above provides: a service for each connection, and the news of its end |
//! | [`ConnectionInfo`] | who is on the other side; in the extensions of each request |
//! | [`ConnectionHandle`] | waits for the connection to be asked to go, and to be gone |
//! | [`Handle`] | drains the server |
//! | [`Tls`] | certificates, which may change while serving |
//!
//! Who owns which task: `serve` owns one accept loop for each runtime, an accept loop its connections, a connection
//! its streams. Each waits for what it owns, so when `serve` returns nothing of it runs any more.

mod accept;
mod bind;
mod config;
mod connection;
mod drain;
mod exchange;
mod info;
mod lifetime;
mod limits;
mod linger;
mod preface;
mod runtime;
mod service;
mod shared;
mod speaking;
mod streams;
mod tcp;
mod tls;

pub use accept::Accepted;
pub use bind::{BindError, Bound, serve_with_incoming};
pub use config::{Config, Http2, Lifetime, Limits, Runtime, Tcp, Timeouts};
pub use drain::{Handle, Report};
pub use info::{CloseReason, ConnectionHandle, ConnectionInfo, Limit, Notice};
pub use rpc_http2::Incoming;
pub use runtime::ServeError;
pub use service::Connections;
pub use tls::{ClientCertificates, Tls, TlsError};
