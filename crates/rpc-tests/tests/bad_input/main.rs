//! Whatever a stranger or a broken program may send: each thing is refused with its code and its reason, and nothing
//! else happens.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails")]

mod alike;
mod bounds;
mod calls;
mod draining;
mod headers;
mod negotiation;
mod scene;
mod sockets;
mod tokens;
