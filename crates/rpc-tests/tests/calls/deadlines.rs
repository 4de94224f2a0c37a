//! Deadlines, under paused time.

use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::status::Details;
use rpc_tests::channel::{Answer, Channel};
use rpc_tests::pb::ledger::v1::test_ledger_client::TestLedgerClient;
use rpc_tests::pb::ledger::v1::{TestReply, TestRequest};
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, TRANSFER, booking};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{ECHO, SLOW, STOPPABLE};

async fn server() -> (TestServer, Opened) {
    let server = TestServer::on_pipes(|builder| builder).await;
    let alice = Opened::open(&server.connect().await).await;
    (server, alice)
}

/// The answer, and how long it took in milliseconds.
async fn timed(channel: &Channel, path: &str, request: &TestRequest) -> (Answer, u128) {
    let began = Instant::now();
    (channel.call(path, request).await.unwrap(), began.elapsed().as_millis())
}

#[track_caller]
fn exceeded(answer: &Answer, outcome: Option<Outcome>) {
    let told = (answer.status().code(), answer.reason(), answer.outcome());
    assert_eq!(told, (Code::DeadlineExceeded, Some(Reason::DeadlineExceeded), outcome));
}

//= test C-41
//= test C-43
//= test C-44
//= test C-45
#[tokio::test(start_paused = true)]
async fn a_protected_call_past_its_deadline_is_unknown_and_its_handler_finishes() {
    let (server, alice) = server().await;
    let slow = TestRequest { delay_ms: 3_000, ..booking("slow") };
    // One second by the policy; the caller may give less, and more counts as one second.
    for (sequence, header, expected) in [(1, "500m", 500), (2, "1H", 1_000), (3, "", 1_000)] {
        let mut channel = alice.channel_for(&format!("0.{sequence}.0"));
        if !header.is_empty() {
            channel = channel.with_header("grpc-timeout", header);
        }
        let (answer, took) = timed(&channel, SLOW, &slow).await;
        exceeded(&answer, Some(Outcome::Unknown));
        assert!((expected..expected + 20).contains(&took), "{header}: {took} ms");
        assert_eq!(alice.query(0, sequence).await.state(), State::Running);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(alice.query(0, sequence).await.state(), State::Done);
        assert_eq!(server.books().booked("slow"), sequence);
        let retry = alice.call(SLOW, &format!("0.{sequence}.1"), &slow).await;
        assert_eq!(retry.message::<TestReply>().booked, sequence);
    }
    assert_eq!(server.books().entry("slow").stopped, 0);
}

//= test C-36
//= test C-45
#[tokio::test(start_paused = true)]
async fn a_deadline_stops_a_handler_whose_policy_says_stop() {
    let (server, alice) = server().await;
    let slow = TestRequest { delay_ms: 60_000, ..booking("slow") };
    let channel = alice.channel_for("0.1.0").with_header("grpc-timeout", "2S");
    let (answer, took) = timed(&channel, STOPPABLE, &slow).await;
    assert_eq!(answer.outcome(), Some(Outcome::Unknown));
    assert_eq!(answer.status().code(), Code::DeadlineExceeded);
    assert!((2_000..2_020).contains(&took), "{took} ms");
    server.books().until("slow", |entry| entry.stopped == 1).await;
    assert_eq!(alice.query(0, 1).await.state(), State::Unknown);
    assert_eq!(server.books().booked("slow"), 0);
}

//= test C-41
//= test C-43
//= test C-46
#[tokio::test(start_paused = true)]
async fn a_plain_call_past_its_deadline_is_over_and_its_handler_too() {
    let (server, alice) = server().await;
    let slow = TestRequest { delay_ms: 60_000, ..booking("slow") };
    let channel = alice.channel().with_header("grpc-timeout", "2S");
    let began = Instant::now();
    let (answer, took) = timed(&channel, ECHO, &slow).await;
    exceeded(&answer, None);
    assert!((2_000..2_020).contains(&took), "{took} ms");
    let entry = server.books().until("slow", |entry| entry.stopped == 1).await;
    let seen = entry.deadline.unwrap() - began;
    assert!((1_990..2_010).contains(&seen.as_millis()), "{seen:?}");
}

//= test C-46
#[tokio::test(start_paused = true)]
async fn handlers_see_the_shorter_of_both_deadlines() {
    let (server, alice) = server().await;
    let rows = [
        (TRANSFER, "", Some(30)),
        (TRANSFER, "5S", Some(5)),
        (TRANSFER, "1M", Some(30)),
        (STOPPABLE, "", None),
    ];
    for (sequence, (path, header, expected)) in (1..).zip(rows) {
        let mut channel = alice.channel_for(&format!("0.{sequence}.0"));
        if !header.is_empty() {
            channel = channel.with_header("grpc-timeout", header);
        }
        let (began, id) = (Instant::now(), format!("{sequence}"));
        channel.call(path, &booking(&id)).await.unwrap().message::<TestReply>();
        let seen = server.books().entry(&id).deadline.map(|deadline| (deadline - began).as_millis());
        let expected = expected.map(|seconds| seconds * 1_000);
        assert!(seen.is_none() == expected.is_none(), "{path} {header}");
        assert!(seen.unwrap_or(0).abs_diff(expected.unwrap_or(0)) < 20, "{path} {header}: {seen:?}");
    }
}

//= test C-41
//= test C-43
#[tokio::test(start_paused = true)]
async fn a_stream_past_its_deadline_ends_with_it() {
    let (server, alice) = server().await;
    // Endless, a reply each 100 ms.
    let endless = TestRequest { delay_ms: 100, panic: true, ..booking("endless") };
    let mut request = tonic::Request::new(endless);
    request.set_timeout(Duration::from_millis(1_050));
    let mut replies = alice.ledger().download(request).await.unwrap().into_inner();
    let mut received = 0;
    let status = loop {
        match replies.message().await {
            Ok(Some(_)) => received += 1,
            Ok(None) => panic!("a short stream passed for a whole one"),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), received), (Code::DeadlineExceeded, 10));
    assert_eq!(Details::of(&status).reason, Some(Reason::DeadlineExceeded));
    server.books().until("endless", |entry| entry.stopped == 1).await;
}

//= test C-43
#[tokio::test(start_paused = true)]
async fn a_dialogue_past_its_deadline_ends_with_it() {
    let (_server, alice) = server().await;
    let (say, requests) = tokio::sync::mpsc::channel(4);
    let mut request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(requests));
    request.set_timeout(Duration::from_secs(2));
    let mut replies = TestLedgerClient::new(alice.channel()).chat(request).await.unwrap().into_inner();
    say.send(booking("one")).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().id, "one");
    let began = Instant::now();
    let status = replies.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(began.elapsed() <= Duration::from_secs(2));
}
