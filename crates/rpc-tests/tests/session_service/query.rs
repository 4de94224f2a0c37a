//! `Query`: every state of a call, settling and cancelling.

use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{OpenRequest, QueryRequest, QueryResponse, Reply};
use rpc_tests::pb::ledger::v1::{TestReply, TestRequest};
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, proposal};

const STOPPABLE: &str = "/ledger.v1.TestLedger/TransferStoppable";

fn settle(sequence: u64) -> QueryRequest {
    QueryRequest { sequence, settle: true, ..QueryRequest::default() }
}

fn cancel(sequence: u64) -> QueryRequest {
    QueryRequest { sequence, cancel: true, ..QueryRequest::default() }
}

#[track_caller]
fn told(response: &QueryResponse, state: State, last_sequence: u64) {
    assert_eq!((response.state(), response.last_sequence), (state, last_sequence));
    assert_eq!(response.reply.is_some(), state == State::Done);
}

//= test C-30
//= test C-34
//= test C-17
#[tokio::test]
async fn every_state_of_a_call_is_told() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    told(&alice.query(0, 1).await, State::Absent, 0);
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    told(&alice.query(0, 1).await, State::Running, 1);
    told(&alice.query(0, 2).await, State::Absent, 1);
    server.books().let_go("held");
    let answer = running.await.unwrap().unwrap();
    for _ in 0..3 {
        let done = alice.query(0, 1).await;
        told(&done, State::Done, 1);
        let Reply { code, message, response, dropped } = done.reply.unwrap();
        assert_eq!((code, message.as_str(), dropped), (0, "", false));
        assert_eq!(response, answer.body.slice(5..), "the message as it was sent, without its frame");
    }
    let failing = TestRequest { fail: true, ..booking("fails") };
    alice.transfer("0.2.0", &failing).await;
    let failed = alice.query(0, 2).await;
    told(&failed, State::Done, 2);
    let Reply { code, message, response, dropped } = failed.reply.unwrap();
    assert_eq!((code, message.as_str()), (5, "the test wants the handler to fail"));
    assert!(response.is_empty() && !dropped);
    told(&alice.query(0, 1).await, State::Forgotten, 2);
    told(&alice.query(1, 1).await, State::Absent, 0);
    told(&alice.ask(settle(3)).await, State::NotExecuted, 3);
    told(&alice.query(0, 3).await, State::NotExecuted, 3);
}

//= test C-34
//= test C-16
#[tokio::test]
async fn a_reply_over_the_bound_is_told_by_its_status() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let small = OpenRequest { reply_bytes_max: 256, ..proposal() };
    let alice = Opened::propose(&channel, "alice", small).await.unwrap();
    let large = TestRequest { reply_bytes: 300, ..booking("large") };
    alice.transfer("0.1.0", &large).await.message::<TestReply>();
    let done = alice.query(0, 1).await;
    told(&done, State::Done, 1);
    let reply = done.reply.unwrap();
    assert!(reply.dropped && reply.response.is_empty() && reply.code == 0);
}

//= test C-31
//= test C-33
#[tokio::test]
async fn settling_uses_up_the_next_sequence_and_no_other() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    told(&alice.ask(settle(2)).await, State::Absent, 0);
    told(&alice.ask(settle(1)).await, State::NotExecuted, 1);
    told(&alice.ask(settle(1)).await, State::NotExecuted, 1);
    server.books().hold("held");
    let running = alice.begin("0.2.0", &booking("held"));
    server.books().started("held").await;
    told(&alice.ask(settle(3)).await, State::Absent, 2);
    told(&alice.ask(settle(2)).await, State::Running, 2);
    server.books().let_go("held");
    running.await.unwrap().unwrap().message::<TestReply>();
    told(&alice.ask(settle(2)).await, State::Done, 2);
    assert_eq!(server.books().booked("held"), 1);
}

//= test C-32
#[tokio::test]
async fn a_call_that_is_settled_while_its_request_is_read_never_runs() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let withheld = alice.channel_for("0.1.0").withhold(rpc_tests::session::TRANSFER);
    told(&alice.ask(settle(1)).await, State::NotExecuted, 1);
    withheld.give(rpc_tests::channel::frame(&booking("late"))).await;
    let answer = withheld.finish().await;
    assert_eq!(answer.reason(), Some(rpc_core::error::Reason::CallSettled));
    assert_eq!(answer.outcome(), Some(rpc_core::error::Outcome::NotExecuted));
    assert_eq!(server.books().entry("late").started, 0);
}

//= test C-36
//= test C-37
//= test I1
#[tokio::test]
async fn a_cancel_stops_a_handler_whose_policy_says_stop() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = alice.begin_at(STOPPABLE, "0.1.0", &booking("held"));
    server.books().started("held").await;
    let state = alice.ask(cancel(1)).await.state();
    assert!(matches!(state, State::Running | State::Unknown), "{state:?}");
    let entry = server.books().until("held", |entry| entry.stopped == 1).await;
    assert_eq!((entry.started, entry.booked), (1, 0));
    let answer = running.await.unwrap().unwrap();
    assert_eq!(answer.reason(), Some(rpc_core::error::Reason::OutcomeUnknown));
    assert_eq!(answer.outcome(), Some(rpc_core::error::Outcome::Unknown));
    told(&alice.query(0, 1).await, State::Unknown, 1);
    // It is never run again, and its slot is free for the next.
    server.books().let_go("held");
    let again = alice.call(STOPPABLE, "0.1.1", &booking("held")).await;
    assert_eq!(again.reason(), Some(rpc_core::error::Reason::OutcomeUnknown));
    alice.call(STOPPABLE, "0.2.0", &booking("next")).await.message::<TestReply>();
    assert_eq!(server.books().entry("held").started, 1);
}

//= test C-37
#[tokio::test]
async fn a_cancel_stops_no_handler_whose_policy_says_finish() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    told(&alice.ask(cancel(1)).await, State::Running, 1);
    server.books().let_go("held");
    assert_eq!(running.await.unwrap().unwrap().message::<TestReply>().booked, 1);
    told(&alice.ask(cancel(1)).await, State::Done, 1);
}
