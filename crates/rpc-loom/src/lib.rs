//! What threads share in servers, clients and streams, tried in all orders in which threads can take their steps.
//!
//! The [models] run the files that ship, included by their paths. Those files take what threads wait with from the `sync`
//! module of their crate, and here from another one: the mutex is loom's, and each call of a tokio channel, `Notify` or
//! `Semaphore` is one step for loom, done by tokio itself. What happens within tokio is tokio's to test, and is.
//!
//! Where the shipped file cannot be had without a whole server around it, the model has a small one of its own and says so.
//!
//! Preemptions are bounded ([`explore`]): orders that need more than three, in the largest models two, are not tried.
// `--all-targets` builds this as a test too, and what is included has tests that need their own crate.
#![cfg(not(test))]

#[expect(dead_code, reason = "the models need not all of what is included")]
#[path = "../../rpc-flow/src/locked.rs"]
mod locked;
#[path = "../../rpc-flow/src/wake.rs"]
mod wake;

#[expect(dead_code, reason = "the models need not all of what is included")]
#[path = "../../../rpc-client/src/slots.rs"]
mod slots;

#[expect(dead_code, reason = "the models need not all of what is included")]
#[path = "../../../rpc-server/src/sessions/live/awaited.rs"]
mod awaited;
#[path = "../../../rpc-server/src/layers/admission/in_place.rs"]
mod in_place;
#[path = "../../../rpc-server/src/sessions/live/waiting.rs"]
mod waiting;

mod error;
mod events;
mod explore;
pub mod models;
mod sync;

pub use explore::{explore, explore_within};
