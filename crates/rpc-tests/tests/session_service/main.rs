//! The session service over real connections, and health and reflection beside it.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod attach;
mod ending;
mod health;
mod hooks;
mod open;
mod parting;
mod query;
mod reflection;
mod renew;
mod time;

use rpc_core::error::Reason;
use rpc_proto::status::Details;
use tonic::Status;

/// The reason of a refusal.
#[track_caller]
fn reason(status: &Status) -> Reason {
    Details::of(status).reason.unwrap_or_else(|| panic!("no reason in {status:?}"))
}
