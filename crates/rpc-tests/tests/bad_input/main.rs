//! Whatever a stranger or a broken program may send: each thing is refused with its code and its reason, and nothing
//! else happens.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod alike;
mod bounds;
mod calls;
mod draining;
mod headers;
mod malformed;
mod negotiation;
mod scene;
mod shapes;
mod sockets;
mod tokens;
