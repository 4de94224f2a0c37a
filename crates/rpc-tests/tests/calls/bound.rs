//! Regression: the bound of calls in progress also refused attempts that start nothing.
//!
//! A retry of a running call was told CALLS_EXHAUSTED instead of waiting, so that a server at its bound turned every
//! lost reply into an error; and a copy of attempt 0, as a proxy makes one, was told *not executed* of a call that ran.

use rpc_core::error::Reason;
use rpc_proto::headers::Answered;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking};

//= test C-8
//= test C-9
//= test C-48
//= test I3
#[tokio::test]
async fn retries_are_answered_however_many_calls_run() {
    let server = TestServer::start_with(|builder| builder.calls_max(1)).await;
    let alice = Opened::open(&server.connect().await).await;
    let done = alice.transfer("1.1.0", &booking("done")).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    for attempt in [0, 1] {
        let replayed = alice.transfer(&format!("1.1.{attempt}"), &booking("done")).await;
        assert_eq!(replayed.answered(), Some(Answered::Replayed), "{:?}", replayed.status());
        assert_eq!(replayed.without_outcome(), done.clone().without_outcome());
    }
    let copies = [0, 0, 1].map(|attempt| alice.begin(&format!("0.1.{attempt}"), &booking("held")));
    // A call that would be new is refused, on the same connection and so after the copies.
    assert_eq!(alice.transfer("2.1.0", &booking("new")).await.reason(), Some(Reason::CallsExhausted));
    server.books().let_go("held");
    let first = running.await.unwrap().unwrap().without_outcome();
    assert_eq!(first.message::<TestReply>().booked, 1);
    for copy in copies {
        let answer = copy.await.unwrap().unwrap();
        assert_ne!(answer.reason(), Some(Reason::CallsExhausted));
    }
    assert_eq!(server.books().entry("new").started, 0);
}
