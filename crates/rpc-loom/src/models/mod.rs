//! The models. Each function runs one in all its orders, and panics if one of them goes wrong.

pub mod calls;
pub mod handover;
pub mod outbox;
pub mod planted;
mod server;
pub mod streams;
