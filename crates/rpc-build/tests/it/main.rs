//! The builder from outside: `.proto` files in, Rust files or an error out.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod errors;
mod stubs;
mod support;
mod tables;
