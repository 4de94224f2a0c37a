//! Calls that are not the next of their slot, nor the last one again; methods that are not there.

use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::{OpenRequest, QueryRequest, ServiceRequest};
use rpc_tests::channel::Channel;
use rpc_tests::pb::ledger::v1::{TestReply, TestRequest};
use rpc_tests::session::{Opened, booking, proposal};
use rpc_tests::token;
use tonic::Code;

use crate::scene::{ABORT, ECHO, QUERY, Scene, TRANSFER, Told};

const STOPPABLE: &str = "/ledger.v1.TestLedger/TransferStoppable";

/// What a refusal before admission tells: attempt 0 did not run, and before a later one an earlier may have.
fn by_attempt(code: Code, reason: Reason) -> [(u32, Told); 2] {
    [(0, (code, reason, Some(Outcome::NotExecuted))), (3, (code, reason, Some(Outcome::Unknown)))]
}

async fn refuses(scene: &Scene, call: &str, path: &str, request: &TestRequest, told: Told) {
    scene.refuses(call, &scene.alice.channel_for(call), path, request, told).await;
}

//= test C-4
//= test C-25
#[tokio::test]
async fn a_slot_out_of_range_is_refused() {
    let scene = Scene::set().await;
    assert_eq!(scene.alice.response.slots, 64);
    for slot in ["64", "4294967295"] {
        for (attempt, told) in by_attempt(Code::OutOfRange, Reason::SlotOutOfRange) {
            refuses(&scene, &format!("{slot}.1.{attempt}"), TRANSFER, &booking("bad"), told).await;
        }
    }
    let told = (Code::OutOfRange, Reason::SlotOutOfRange, None);
    let query = QueryRequest { slot: 64, sequence: 1, ..QueryRequest::default() };
    scene.refuses("query", &scene.alice.channel(), QUERY, &query, told).await;
    scene.alice.transfer("63.1.0", &booking("last slot")).await.message::<TestReply>();
}

//= test C-12
#[tokio::test]
async fn a_sequence_ahead_is_refused() {
    let scene = Scene::set().await;
    for call in ["0.3", "0.18446744073709551615", "1.2"] {
        for (attempt, told) in by_attempt(Code::FailedPrecondition, Reason::CallMisordered) {
            refuses(&scene, &format!("{call}.{attempt}"), TRANSFER, &booking("bad"), told).await;
        }
    }
}

//= test C-12
#[tokio::test]
async fn a_new_sequence_is_refused_while_the_last_one_runs() {
    let scene = Scene::set().await;
    scene.server.books().hold("held");
    let running = scene.alice.begin("0.2.0", &booking("held"));
    scene.server.books().started("held").await;
    for (attempt, told) in by_attempt(Code::FailedPrecondition, Reason::CallMisordered) {
        refuses(&scene, &format!("0.3.{attempt}"), TRANSFER, &booking("bad"), told).await;
    }
    scene.server.books().let_go("held");
    running.await.unwrap().unwrap().message::<TestReply>();
    scene.alice.transfer("0.3.0", &booking("next")).await.message::<TestReply>();
}

//= test C-11
//= test C-26
//= test I5
#[tokio::test]
async fn a_stale_sequence_is_refused_and_its_outcome_unknown() {
    let scene = Scene::set().await;
    scene.alice.transfer("0.2.0", &booking("second")).await.message::<TestReply>();
    let told = (Code::FailedPrecondition, Reason::CallStale, Some(Outcome::Unknown));
    for attempt in [0, 1] {
        refuses(&scene, &format!("0.1.{attempt}"), TRANSFER, &booking("first"), told).await;
    }
}

//= test C-10
//= test C-26
//= test I4
#[tokio::test]
async fn the_same_call_with_another_request_is_refused() {
    let scene = Scene::set().await;
    let other_amount = TestRequest { amount: 2, ..booking("first") };
    for (attempt, told) in by_attempt(Code::FailedPrecondition, Reason::CallFalseRetry) {
        let call = format!("0.1.{attempt}");
        refuses(&scene, &call, TRANSFER, &booking("bad"), told).await;
        refuses(&scene, &call, TRANSFER, &other_amount, told).await;
        refuses(&scene, &call, STOPPABLE, &booking("first"), told).await;
    }
    // The false ones fenced nothing: the true retry has its answer.
    scene.alice.transfer("0.1.1", &booking("first")).await.message::<TestReply>();
}

//= test C-13
//= test C-26
#[tokio::test]
async fn an_attempt_below_the_latest_is_fenced() {
    let scene = Scene::set().await;
    scene.alice.transfer("0.1.5", &booking("first")).await.message::<TestReply>();
    let told = (Code::Aborted, Reason::AttemptFenced, Some(Outcome::Unknown));
    for attempt in [0, 4] {
        refuses(&scene, &format!("0.1.{attempt}"), TRANSFER, &booking("first"), told).await;
    }
    scene.alice.transfer("0.1.5", &booking("first")).await.message::<TestReply>();
    assert_eq!(scene.server.books().booked("first"), 1);
}

//= test C-32
//= test C-26
//= test I3
#[tokio::test]
async fn a_settled_call_never_runs() {
    let scene = Scene::set().await;
    let settle = QueryRequest { slot: 0, sequence: 2, settle: true, ..QueryRequest::default() };
    scene.alice.ask(settle).await;
    let told = (Code::Aborted, Reason::CallSettled, Some(Outcome::NotExecuted));
    for attempt in [0, 7] {
        refuses(&scene, &format!("0.2.{attempt}"), TRANSFER, &booking("settled"), told).await;
    }
    scene.alice.transfer("0.3.0", &booking("next")).await.message::<TestReply>();
    assert_eq!(scene.server.books().entry("settled").started, 0);
}

//= test C-1
//= test C-2
#[tokio::test]
async fn a_protected_method_wants_a_session_and_a_call_id() {
    let scene = Scene::set().await;
    let told = (Code::FailedPrecondition, Reason::SessionRequired, Some(Outcome::NotExecuted));
    let token = scene.bare().bearer(&token::token("alice", &[]));
    scene.refuses("no session", &token, TRANSFER, &booking("bad"), told).await;
    let told = (Code::FailedPrecondition, Reason::CallIdRequired, Some(Outcome::NotExecuted));
    scene.refuses("no call id", &scene.alice.channel(), TRANSFER, &booking("bad"), told).await;
}

//= test C-57
//= test O-21
#[tokio::test]
async fn a_protected_call_wants_its_unit() {
    let scene = Scene::set().await;
    let without = OpenRequest { units: Vec::new(), ..proposal() };
    let session = Opened::propose(scene.bare(), "alice", without).await.unwrap();
    for (attempt, told) in by_attempt(Code::FailedPrecondition, Reason::UnitUnsupported) {
        let channel = session.channel_for(&format!("0.1.{attempt}"));
        scene.refuses("unit off", &channel, TRANSFER, &booking("bad"), told).await;
    }
    session.channel().call(ECHO, &booking("plain")).await.unwrap().message::<TestReply>();
}

/// A session of the ledger, and one of a service that is not the ledger.
async fn granted_nothing(channel: &Channel) -> Opened {
    let services = vec![ServiceRequest { name: "no.Such".into(), ..ServiceRequest::default() }];
    Opened::propose(channel, "alice", OpenRequest { services, ..proposal() }).await.unwrap()
}

//= test A-21
//= test O-14
//= test C-24
#[tokio::test]
async fn a_service_that_was_not_granted_is_refused() {
    let scene = Scene::set().await;
    let session = granted_nothing(scene.bare()).await;
    let told = (Code::PermissionDenied, Reason::ServiceNotGranted, None);
    for path in [ECHO, "/ledger.v1.TestLedger/NoSuchMethod", "/no.Such/Method"] {
        scene.refuses(path, &session.channel(), path, &booking("bad"), told).await;
    }
    // A protected call is told its outcome, its number missing or not.
    for (attempt, told) in by_attempt(Code::PermissionDenied, Reason::ServiceNotGranted) {
        let channel = session.channel_for(&format!("0.1.{attempt}"));
        scene.refuses("protected", &channel, TRANSFER, &booking("bad"), told).await;
    }
    session.query(0, 1).await;
}

#[tokio::test]
async fn a_method_that_is_not_there_is_unimplemented() {
    let scene = Scene::set().await;
    let told = (Code::Unimplemented, Reason::MethodUnknown, None);
    let token = scene.bare().bearer(&token::token("alice", &[]));
    for path in [
        "/ledger.v1.TestLedger/NoSuchMethod",
        "/ledger.v1.TestLedger/transfer",
        "/ledger.v1.TestLedger/",
        "/no.Such/Method",
        "/ledger.v1.TestLedger",
        "/",
    ] {
        scene.refuses(path, &token, path, &booking("bad"), told).await;
    }
    let path = "/ledger.v1.TestLedger/NoSuchMethod";
    scene.refuses(path, &scene.alice.channel_for("0.2.0"), path, &booking("bad"), told).await;
    // The session service has a session's judge in front, and tonic's own answer behind.
    let answer = scene.alice.channel().call("/session.v1.SessionService/NoSuchMethod", &booking("bad")).await;
    assert_eq!(answer.unwrap().status().code(), Code::Unimplemented);
}

//= test A-24
#[tokio::test]
async fn the_first_failure_in_the_order_of_judgement_is_the_answer() {
    let scene = Scene::set().await;
    let strangers = granted_nothing(scene.bare()).await;
    let bad_token = |channel: Channel| channel.bearer("x");
    let no_ticket = scene.bare().with_header("session", "1").with_header("session-call", "nonsense");
    let wrong = scene.alice.with_ticket(&[7; 32]);
    let invalid = (Code::Unauthenticated, Reason::TokenInvalid, None);
    let missing = (Code::InvalidArgument, Reason::TicketMissing, None);
    let unknown = (Code::NotFound, Reason::SessionUnknown, None);
    let ungranted = (Code::PermissionDenied, Reason::ServiceNotGranted, None);
    let nowhere = "/ledger.v1.TestLedger/NoSuchMethod";
    let rows = [
        ("token, headers", bad_token(no_ticket.clone()), nowhere, invalid),
        ("headers, session", no_ticket, nowhere, missing),
        ("session, grant", wrong.channel().with_header("grpc-timeout", "x"), nowhere, unknown),
        ("grant, method", strangers.channel().with_header("grpc-timeout", "x"), nowhere, ungranted),
    ];
    for (name, channel, path, told) in rows {
        scene.refuses(name, &channel, path, &booking("bad"), told).await;
    }
    let method = (Code::Unimplemented, Reason::MethodUnknown, None);
    let late = scene.alice.channel().with_header("grpc-timeout", "x");
    scene.refuses("method, deadline", &late, nowhere, &booking("bad"), method).await;
    let scope = (Code::PermissionDenied, Reason::ScopeMissing, None);
    scene.refuses("scope, deadline", &late, "/ledger.v1.TestLedger/Admin", &booking("bad"), scope).await;
    let header = (Code::InvalidArgument, Reason::HeaderInvalid, Some(Outcome::NotExecuted));
    let late = scene.alice.channel_for("0.9.0").with_header("grpc-timeout", "x");
    scene.refuses("deadline, admission", &late, TRANSFER, &booking("bad"), header).await;
}

#[tokio::test]
async fn questions_that_are_never_right_are_refused() {
    let scene = Scene::set().await;
    let told = (Code::InvalidArgument, Reason::FieldInvalid, None);
    let alice = scene.alice.channel();
    scene.refuses("sequence 0", &alice, QUERY, &QueryRequest::default(), told).await;
    let release = rpc_proto::pb::session::v1::ReleaseRequest {
        wait: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
    };
    scene.refuses("negative wait", &alice, crate::scene::RELEASE, &release, told).await;
    let abort = rpc_proto::pb::session::v1::AbortRequest { reason: "x".repeat(129) };
    scene.refuses("long reason", &alice, ABORT, &abort, told).await;
}
