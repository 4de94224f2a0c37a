//! The session protocol as a pure state machine.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod id;
pub mod policy;
pub mod principal;
