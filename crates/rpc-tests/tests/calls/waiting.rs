//! Attempts that come while the handler runs.

use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::Answered;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, TRANSFER, booking};
use rpc_tests::soon;

use crate::taken_over;

/// A session whose call 0.1 is held in its handler.
async fn held(server: &TestServer) -> (Opened, tokio::task::JoinHandle<Option<rpc_tests::channel::Answer>>) {
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    (alice, running)
}

//= test C-9
//= test W-10
//= test I2
#[tokio::test]
async fn a_retry_waits_for_the_run_that_goes_on() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    let retry = alice.over(&server.connect().await).begin("0.1.1", &booking("held"));
    taken_over(&alice, 1, &booking("held")).await;
    assert!(!retry.is_finished() && !running.is_finished());
    server.books().let_go("held");
    let (first, second) = (running.await.unwrap().unwrap(), retry.await.unwrap().unwrap());
    assert_eq!((first.answered(), second.answered()), (Some(Answered::New), Some(Answered::Attached)));
    assert_eq!(first.without_outcome(), second.without_outcome());
    assert_eq!(server.books().entry("held").started, 1);
}

//= test C-13
//= test C-26
#[tokio::test]
async fn an_attempt_fences_those_that_wait_and_those_that_come_later() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    let waiting = alice.begin("0.1.1", &booking("held"));
    taken_over(&alice, 1, &booking("held")).await;
    let latest = alice.begin("0.1.2", &booking("held"));
    let fenced = soon("the wait ends", waiting).await.unwrap().unwrap();
    let late = alice.transfer("0.1.1", &booking("held")).await;
    for answer in [fenced, late] {
        assert_eq!(answer.reason(), Some(Reason::AttemptFenced));
        assert_eq!(answer.outcome(), Some(Outcome::Unknown));
    }
    server.books().let_go("held");
    let latest = latest.await.unwrap().unwrap();
    assert_eq!(latest.message::<TestReply>().booked, 1);
    assert_eq!(running.await.unwrap().unwrap().without_outcome(), latest.without_outcome());
}

//= test C-9
//= test I1
//= test I2
#[tokio::test]
async fn two_hundred_attempts_wait_for_one_run() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let over = alice.over(&server.connect().await);
        waiting.extend((0..50).map(|_| over.begin("0.1.1", &booking("held"))));
    }
    taken_over(&alice, 1, &booking("held")).await;
    server.books().let_go("held");
    let first = running.await.unwrap().unwrap().without_outcome();
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap().unwrap().without_outcome(), first);
    }
    assert_eq!(server.books().entry("held").started, 1);
}

//= test C-13
#[tokio::test]
async fn of_attempts_that_race_the_highest_is_answered() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    let mut waiting = Vec::new();
    for half in 0..2 {
        let over = alice.over(&server.connect().await);
        waiting.extend((1..=50).map(|n| over.begin(&format!("0.1.{}", 2 * n + half), &booking("held"))));
    }
    taken_over(&alice, 101, &booking("held")).await;
    server.books().let_go("held");
    let first = running.await.unwrap().unwrap().without_outcome();
    let mut answered = 0;
    for waiter in waiting {
        let answer = waiter.await.unwrap().unwrap();
        if answer.reason() == Some(Reason::AttemptFenced) {
            continue;
        }
        assert_eq!(answer.without_outcome(), first);
        answered += 1;
    }
    assert_eq!(answered, 1);
}

//= test C-45
#[tokio::test]
async fn an_attempt_that_waits_is_answered_at_its_own_deadline() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    let impatient = alice.channel_for("0.1.1").with_header("grpc-timeout", "50m");
    let answer = impatient.call(TRANSFER, &booking("held")).await.unwrap();
    assert_eq!(answer.reason(), Some(Reason::DeadlineExceeded));
    assert_eq!(answer.outcome(), Some(Outcome::Unknown));
    tokio::time::sleep(Duration::ZERO).await;
    assert!(!running.is_finished());
    server.books().let_go("held");
    running.await.unwrap().unwrap().message::<TestReply>();
    assert_eq!(alice.transfer("0.1.2", &booking("held")).await.message::<TestReply>().booked, 1);
}
