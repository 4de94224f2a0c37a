//! The initiator's half of a session: which call ids it gives out, what it may tell its callers, when it renews.
//!
//! - [`calls`]: the slots of the session as the caller sees them.
//! - [`outcome`]: what is known of a call's attempts, and what its caller may be told.
//! - [`resolution`]: how far a slot is in which another process made calls.
//! - [`renewal`]: when lease, authority and ticket are renewed.

pub mod calls;
pub mod outcome;
pub mod renewal;
pub mod resolution;
