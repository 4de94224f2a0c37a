//! The h2 crate alone, speaking what gRPC puts on HTTP/2: length-prefixed messages and trailers. No framework can be
//! cheaper than this without leaving h2.

mod client;
mod framing;
mod server;

pub(super) use client::{echo, flow};
pub(super) use server::serve;

/// Path of the call that is echoed.
const ECHO: &str = "/bench.v1.Echo/Plain";
/// Path of the stream of responses.
const DOWN: &str = "/bench.v1.Flow/Down";
/// Path of the stream of requests.
const UP: &str = "/bench.v1.Flow/Up";
/// Path of the stream of both.
const BOTH: &str = "/bench.v1.Flow/Both";
