//! Too many sessions, too many calls, too much in one message.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rpc_core::error::{Outcome, Reason};
use rpc_proto::status::Details;
use rpc_tests::channel::frame;
use rpc_tests::pb::ledger::v1::{TestReply, TestRequest};
use rpc_tests::server::limits;
use rpc_tests::session::{Opened, booking, proposal};
use rpc_tests::token;
use tonic::Code;

use crate::scene::{ECHO, OPEN, Scene, TRANSFER};

//= test O-15
#[tokio::test]
async fn sessions_of_one_principal_are_bounded() {
    let scene =
        Scene::set_with(|builder| builder.limits(limits(|limits| limits.sessions_per_principal = 2))).await;
    let second = Opened::open(scene.bare()).await;
    let told = (Code::ResourceExhausted, Reason::SessionsExhausted, None);
    let alice = scene.bare().bearer(&token::token("alice", &[]));
    scene.refuses("third", &alice, OPEN, &proposal(), told).await;
    let refused = alice.call(OPEN, &proposal()).await.unwrap();
    assert!(Details::of(&refused.status()).retry_after.is_some());
    Opened::propose(scene.bare(), "bob", proposal()).await.expect("another principal is not concerned");
    second.abort().await;
    Opened::open(scene.bare()).await;
}

//= test O-15
#[tokio::test]
async fn sessions_of_all_are_bounded() {
    let scene = Scene::set_with(|builder| builder.limits(limits(|limits| limits.sessions = 2))).await;
    Opened::propose(scene.bare(), "bob", proposal()).await.unwrap();
    let told = (Code::ResourceExhausted, Reason::ServerFull, None);
    let carol = scene.bare().bearer(&token::token("carol", &[]));
    scene.refuses("third", &carol, OPEN, &proposal(), told).await;
}

//= test C-48
#[tokio::test]
async fn calls_in_progress_are_bounded() {
    let scene = Scene::set_with(|builder| builder.calls_max(2)).await;
    let books = scene.server.books();
    books.hold("held");
    let protected = scene.alice.begin("0.2.0", &booking("held"));
    let plain = scene.alice.begin_at(ECHO, "9.9.9", &booking("held"));
    books.until("held", |entry| entry.started == 2).await;
    // Questions are calls too, so the state is not asked for.
    for (call, outcome) in [("1.1.0", Outcome::NotExecuted), ("1.1.1", Outcome::Unknown)] {
        let refused = scene.alice.transfer(call, &booking("bad")).await;
        assert_eq!((refused.status().code(), refused.reason()), EXHAUSTED, "{call}");
        assert_eq!(refused.outcome(), Some(outcome));
        assert!(Details::of(&refused.status()).retry_after.is_some());
    }
    let refused = scene.alice.channel().call(ECHO, &booking("bad")).await.unwrap();
    assert_eq!((refused.status().code(), refused.reason()), EXHAUSTED);
    books.let_go("held");
    for call in [protected, plain] {
        call.await.unwrap().unwrap().message::<TestReply>();
    }
    scene.alice.transfer("1.1.0", &booking("good")).await.message::<TestReply>();
    assert_eq!(books.entry("bad").started, 0);
}

const EXHAUSTED: (Code, Option<Reason>) = (Code::ResourceExhausted, Some(Reason::CallsExhausted));

/// A message of `bytes` bytes, and one more.
fn heavy(bytes: usize) -> TestRequest {
    TestRequest { payload: vec![0; bytes], ..booking("bad") }
}

//= test C-47
#[tokio::test]
async fn a_message_over_the_bound_is_refused() {
    let scene = Scene::set_with(|builder| builder.message_bytes_max(100_000)).await;
    for (attempt, outcome) in [(0, Outcome::NotExecuted), (1, Outcome::Unknown)] {
        let told = (Code::ResourceExhausted, Reason::RequestTooLarge, Some(outcome));
        let channel = scene.alice.channel_for(&format!("0.2.{attempt}"));
        scene.refuses("too large", &channel, TRANSFER, &heavy(100_000), told).await;
    }
    scene.alice.transfer("0.2.0", &heavy(90_000)).await.message::<TestReply>();
}

//= test C-47
#[tokio::test]
async fn a_message_over_the_bound_is_refused_before_it_has_come() {
    let scene = Scene::set_with(|builder| builder.message_bytes_max(100_000)).await;
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(100_001);
    let withheld = scene.alice.channel_for("0.2.0").withhold(TRANSFER);
    withheld.give(head.freeze()).await;
    assert_eq!(withheld.answer().await.reason(), Some(Reason::RequestTooLarge));
    scene.alice.transfer("0.2.0", &booking("good")).await.message::<TestReply>();
}

//= test C-5
#[tokio::test]
async fn a_request_that_is_not_one_whole_message_is_refused() {
    let scene = Scene::set().await;
    let whole = frame(&booking("bad"));
    let twice = [&whole[..], &whole[..]].concat();
    let bodies = [&b""[..], &b"\0\0\0"[..], &whole[..whole.len() - 1], &twice];
    for body in bodies {
        for (attempt, outcome) in [(0, Outcome::NotExecuted), (1, Outcome::Unknown)] {
            let told = (Code::InvalidArgument, Reason::RequestIncomplete, Some(outcome));
            let channel = scene.alice.channel_for(&format!("0.2.{attempt}"));
            let body = Bytes::copy_from_slice(body);
            scene.refuses_bytes(&format!("{body:?}"), &channel, TRANSFER, body, told).await;
        }
    }
}

/// A whole message that is no `TestRequest` is admitted, since the layers do not decode it, and its recorded outcome
/// is tonic's error.
//= test C-14
#[tokio::test]
async fn a_message_that_does_not_decode_has_an_outcome_like_any_other() {
    let scene = Scene::set().await;
    let garbage = Bytes::from_static(b"\0\0\0\0\x02\xff\xff");
    let call =
        async |call| scene.alice.channel_for(call).call_bytes(TRANSFER, garbage.clone()).await.unwrap();
    let first = call("0.2.0").await;
    assert_eq!(first.outcome(), Some(Outcome::Done));
    assert_ne!(first.status().code(), Code::Ok);
    assert_eq!(call("0.2.1").await.without_outcome(), first.without_outcome());
    assert_eq!(scene.server.books().entry("bad").started, 0);
}

#[tokio::test]
async fn a_request_that_never_ends_is_bounded_by_its_deadline() {
    let scene = Scene::set().await;
    let withheld = scene.alice.channel_for("0.2.0").with_header("grpc-timeout", "100m").withhold(TRANSFER);
    let started = std::time::Instant::now();
    withheld.give(frame(&booking("bad")).slice(..4)).await;
    let answer = withheld.answer().await;
    assert!(started.elapsed() >= Duration::from_millis(90));
    assert_eq!(
        (answer.status().code(), answer.reason()),
        (Code::DeadlineExceeded, Some(Reason::DeadlineExceeded))
    );
    assert_eq!(scene.server.books().entry("bad").started, 0);
    scene.alice.transfer("0.2.0", &booking("good")).await.message::<TestReply>();
}
