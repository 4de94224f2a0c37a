//! Tests that need more than one crate: real sockets, generated stubs, faults on the way.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod pb;
