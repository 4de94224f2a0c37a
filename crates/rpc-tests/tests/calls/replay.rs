//! What a later attempt of a call that is done is answered: the first reply, to the byte.

use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::Answered;
use rpc_proto::pb::session::v1::OpenRequest;
use rpc_tests::channel::Answer;
use rpc_tests::pb::ledger::v1::{TestReply, TestRequest};
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, proposal};
use tonic::Code;

use crate::{ECHO, STOPPABLE, taken_over};

/// The first answer, and those of retries on the same connection and on another.
async fn answered(server: &TestServer, alice: &Opened, request: &TestRequest) -> Answer {
    let first = alice.transfer("0.1.0", request).await;
    assert_eq!(first.answered(), Some(Answered::New));
    for (attempt, session) in [(1, alice.clone()), (2, alice.over(&server.connect().await))] {
        let retry = session.transfer(&format!("0.1.{attempt}"), request).await;
        assert_eq!(retry.answered(), Some(Answered::Replayed));
        assert_eq!(retry.without_outcome(), first.clone().without_outcome());
    }
    let entry = server.books().entry(&request.id);
    assert_eq!((entry.started, entry.booked), (1, 1));
    first
}

//= test C-8
//= test C-6
//= test C-7
//= test W-10
//= test I1
//= test I2
#[tokio::test]
async fn a_retry_gets_the_first_reply_to_the_byte() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let request = TestRequest { payload: vec![7; 10_000], ..booking("x") };
    let answer = answered(&server, &alice, &request).await;
    assert_eq!(answer.message::<TestReply>().payload.len(), 10_000);
    assert_eq!(answer.headers.get("x-booked").unwrap(), "1", "the handler's own headers are in the record");
    assert_eq!(answer.trailers.get("grpc-status").unwrap(), "0");
}

//= test C-14
//= test C-24
//= test C-26
//= test E-5
#[tokio::test]
async fn the_error_of_a_handler_is_an_outcome() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let answer = answered(&server, &alice, &TestRequest { fail: true, ..booking("x") }).await;
    let status = answer.status();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "the test wants the handler to fail"));
    assert_eq!(status.metadata().get("x-booked").unwrap(), "1");
    assert_eq!((answer.reason(), answer.outcome()), (None, Some(Outcome::Done)));
}

//= test C-15
//= test C-26
#[tokio::test]
async fn the_panic_of_a_handler_is_an_outcome() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let answer = answered(&server, &alice, &TestRequest { panic: true, ..booking("x") }).await;
    assert_eq!((answer.status().code(), answer.reason()), (Code::Internal, Some(Reason::HandlerPanicked)));
    assert_eq!(answer.outcome(), Some(Outcome::Done));
    // It costs its call and nothing else.
    alice.transfer("0.2.0", &booking("y")).await.message::<TestReply>();
}

//= test C-16
//= test C-26
//= test I6
#[tokio::test]
async fn of_a_reply_over_the_bound_only_the_status_is_kept() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let small = OpenRequest { reply_bytes_max: 1_000, ..proposal() };
    let alice = Opened::propose(&channel, "alice", small).await.unwrap();
    let large = TestRequest { reply_bytes: 500_000, ..booking("x") };
    server.books().hold("x");
    let first = alice.begin("0.1.0", &large);
    server.books().started("x").await;
    let waiting = alice.begin("0.1.1", &large);
    taken_over(&alice, 1, &large).await;
    server.books().let_go("x");
    let (first, waited) = (first.await.unwrap().unwrap(), waiting.await.unwrap().unwrap());
    assert_eq!(first.message::<TestReply>().payload.len(), 500_000);
    assert_eq!(waited.answered(), Some(Answered::Attached), "whoever waited gets it whole");
    assert_eq!(waited.without_outcome(), first.without_outcome());
    let retry = alice.transfer("0.1.1", &large).await;
    assert_eq!((retry.status().code(), retry.reason()), DROPPED);
    assert_eq!(retry.outcome(), Some(Outcome::Done));
    assert_eq!(retry.answered(), Some(Answered::Replayed));
    assert_eq!(alice.transfer("0.1.2", &large).await, retry);
    assert_eq!(server.books().booked("x"), 1);
    let exact = TestRequest { reply_bytes: 900, ..booking("y") };
    let first = alice.transfer("0.2.0", &exact).await;
    assert_eq!(alice.transfer("0.2.1", &exact).await.without_outcome(), first.without_outcome());
}

const DROPPED: (Code, Option<Reason>) = (Code::FailedPrecondition, Some(Reason::ExecutedReplyDropped));

//= test C-17
#[tokio::test]
async fn a_reply_is_kept_until_the_next_call_of_its_slot() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let first = alice.transfer("0.1.0", &booking("x")).await.without_outcome();
    for sequence in 1..20 {
        alice.transfer(&format!("1.{sequence}.0"), &booking("other")).await.message::<TestReply>();
    }
    // What is refused in the slot is no next call.
    alice.transfer("0.3.0", &booking("bad")).await;
    assert_eq!(alice.transfer("0.1.1", &booking("x")).await.without_outcome(), first);
    alice.transfer("0.2.0", &booking("next")).await.message::<TestReply>();
    assert_eq!(alice.transfer("0.1.2", &booking("x")).await.reason(), Some(Reason::CallStale));
}

//= test C-3
//= test A-22
#[tokio::test]
async fn a_call_id_means_nothing_to_a_method_that_is_not_protected() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    for booked in 1..=3 {
        let answer = alice.call(ECHO, "0.1.0", &booking("plain")).await;
        assert_eq!(answer.message::<TestReply>().booked, booked);
        assert_eq!(answer.answered(), None);
    }
    alice.transfer("0.1.0", &booking("x")).await.message::<TestReply>();
    assert_eq!(alice.query(0, 1).await.last_sequence, 1);
}

//= test A-12
//= test W-1
#[tokio::test]
async fn handlers_find_their_session_and_their_call() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    alice.transfer("3.1.0", &booking("protected")).await.message::<TestReply>();
    alice.call(STOPPABLE, "4.1.7", &booking("stoppable")).await.message::<TestReply>();
    alice.channel().call(ECHO, &booking("plain")).await.unwrap().message::<TestReply>();
    let token = rpc_tests::token::token("alice", &[]);
    alice.bare().bearer(&token).call(ECHO, &booking("without")).await.unwrap().message::<TestReply>();
    let seen = |id| server.books().entry(id).session;
    assert_eq!(seen("protected"), Some(format!("{}/3.1", alice.number)));
    assert_eq!(seen("stoppable"), Some(format!("{}/4.1", alice.number)));
    // A plain call has no call id, and a call with a token only has no session.
    assert_eq!(seen("plain"), Some(alice.number.to_string()));
    assert_eq!(seen("without"), None);
}
