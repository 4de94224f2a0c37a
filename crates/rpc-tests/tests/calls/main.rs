//! Calls over real connections: what runs, how often, and what each attempt is told.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod bound;
mod deadlines;
mod draining;
mod exclusive;
mod lost;
mod many;
mod replay;
mod stack;
mod streams;
mod waiting;

use rpc_core::error::Reason;
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::session::{Opened, TRANSFER};
use rpc_tests::soon;

pub(crate) const ECHO: &str = "/ledger.v1.TestLedger/Echo";
pub(crate) const STOPPABLE: &str = "/ledger.v1.TestLedger/TransferStoppable";
pub(crate) const SLOW: &str = "/ledger.v1.TestLedger/Slow";

/// Waits until `attempt` of the running call 0.1 has taken over, which fences all below it.
pub(crate) async fn taken_over(alice: &Opened, attempt: u32, request: &TestRequest) {
    let below = alice.channel_for(&format!("0.1.{}", attempt - 1)).with_header("grpc-timeout", "20m");
    let fenced = async {
        while below.call(TRANSFER, request).await.unwrap().reason() != Some(Reason::AttemptFenced) {}
    };
    soon("the attempt takes over", fenced).await;
}
