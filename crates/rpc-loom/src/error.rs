//! What `slots.rs` takes from the client's errors.

use rpc_core::error::{Outcome, Reason};
use tonic::Status;

pub(crate) fn refusal(reason: Reason, message: impl Into<String>, _: Option<Outcome>) -> Status {
    debug_assert_eq!(reason, Reason::SlotsExhausted);
    Status::resource_exhausted(message)
}
