//! The program `transfer` as its users have it: processes, signals, files and sentences.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod going_on;
mod killed;
mod refusals;
mod support;
