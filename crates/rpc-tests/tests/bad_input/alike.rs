//! Sessions that the caller does not own: unknown, another's, ended, or with the wrong ticket. Nobody can tell which.

use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::session_service_client::SessionServiceClient;
use rpc_proto::pb::session::v1::{OpenRequest, ReleaseRequest, RenewRequest};
use rpc_tests::channel::{Answer, Channel};
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, duration, proposal};
use rpc_tests::{soon, token};
use tonic::Code;

use crate::scene::{ABORT, ATTACH, ECHO, QUERY, RELEASE, RENEW, Scene, TRANSFER};

const PATHS: [&str; 8] =
    [ECHO, TRANSFER, QUERY, RENEW, RELEASE, ABORT, ATTACH, "/ledger.v1.TestLedger/NoSuchMethod"];

async fn answers(channel: &Channel) -> Vec<Answer> {
    let mut answers = Vec::new();
    for path in PATHS {
        for call in [None, Some("0.2.0"), Some("0.2.1")] {
            let channel = match call {
                Some(call) => channel.with_header("session-call", call),
                None => channel.clone(),
            };
            answers.push(soon(path, channel.call(path, &booking("bad"))).await.unwrap());
        }
    }
    answers
}

/// One session for each way of not being the caller's.
async fn strangers(scene: &Scene) -> Vec<(&'static str, Channel)> {
    let (alice, bare) = (&scene.alice, scene.bare());
    let bob = Opened::propose(bare, "bob", proposal()).await.unwrap();

    let unknown = alice.with_number(999_999);
    let highest = alice.with_number(u64::MAX);
    let wrong = alice.with_ticket(&[7; 32]);
    let anothers = alice.with_ticket(&bob.ticket.0);

    let rotated = Opened::open(bare).await;
    let pending = rotated.rotated().await;
    // The first use of the new ticket voids the old one, and a second rotation before use voids the first.
    pending.query(0, 1).await;
    let replaced = pending.rotated().await;
    pending.rotated().await;

    let released = Opened::open(bare).await;
    released.service().release(ReleaseRequest::default()).await.unwrap();
    let aborted = Opened::open(bare).await;
    aborted.abort().await;

    let brief = OpenRequest { lease: Some(duration(Duration::from_secs(1))), ..proposal() };
    let expired = Opened::propose(bare, "alice", brief).await.unwrap();
    let mut attached = expired.service().attach(tokio_stream::pending()).await.unwrap().into_inner();
    // `Ended` on its attachment tells that the lease has run out.
    while let Some(event) = soon("expiry", attached.message()).await.unwrap() {
        assert!(event.event.is_some());
    }

    vec![
        ("unknown", unknown.channel()),
        ("never issued", highest.channel()),
        ("wrong ticket", wrong.channel()),
        ("another's ticket", anothers.channel()),
        ("void ticket", rotated.channel()),
        ("replaced ticket", replaced.channel()),
        ("released", released.channel()),
        ("released, wrong ticket", released.with_ticket(&[7; 32]).channel()),
        ("aborted", aborted.channel()),
        ("expired", expired.channel()),
        ("unknown, good token", unknown.channel().bearer(&token::token("alice", &[]))),
    ]
}

//= test A-17
//= test L-8
//= test L-13
//= test L-14
//= test I8
//= test W-10
#[tokio::test]
async fn unknown_foreign_and_ended_sessions_answer_alike_to_the_byte() {
    let scene = Scene::set().await;
    let strangers = strangers(&scene).await;
    let before = scene.server.books().all();
    let expected = answers(&strangers[0].1).await;
    for answer in &expected {
        assert_eq!((answer.status().code(), answer.reason()), (Code::NotFound, Some(Reason::SessionUnknown)));
    }
    for (name, channel) in &strangers {
        let answers = answers(channel).await;
        for (index, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
            // Its owner asks for the answer to the release again (L-37), and to everything else it is gone.
            if *name == "released" && PATHS[index / 3] == RELEASE {
                assert_ne!(answer, expected, "{name}");
                continue;
            }
            assert_eq!(answer, expected, "{name}, {}", PATHS[index / 3]);
        }
    }
    assert_eq!(scene.server.books().all(), before);
    scene.alice.query(0, 1).await;
}

//= test A-11
//= test A-13
//= test A-19
//= test I22
#[tokio::test]
async fn a_ticket_in_the_hands_of_another_principal_opens_nothing() {
    let scene = Scene::set().await;
    let bob = scene.alice.channel().bearer(&token::token("bob", &[]));
    // The same subject of another issuer is another principal.
    let other_alice = scene.alice.channel().bearer(&token::ec_token("alice"));
    let unknown = scene.alice.with_ticket(&[7; 32]);
    for thief in [bob, other_alice] {
        for path in [ECHO, TRANSFER, QUERY, RELEASE, ABORT] {
            let outcome = (path == TRANSFER).then_some(Outcome::NotExecuted);
            let told = (Code::NotFound, Reason::SessionUnknown, outcome);
            scene.refuses(path, &thief, path, &booking("bad"), told).await;
            let stolen = thief.call(path, &booking("bad")).await.unwrap();
            assert_eq!(stolen, unknown.channel().call(path, &booking("bad")).await.unwrap(), "{path}");
        }
        let told = (Code::PermissionDenied, Reason::PrincipalMismatch, None);
        scene.refuses("renew", &thief, RENEW, &RenewRequest { rotate_ticket: true }, told).await;
    }
}

//= test C-25
#[tokio::test]
async fn a_call_to_a_session_that_ended_was_not_executed_at_its_first_attempt() {
    let scene = Scene::set().await;
    let aborted = Opened::open(scene.bare()).await;
    aborted.abort().await;
    let first = aborted.transfer("0.1.0", &booking("bad")).await;
    assert_eq!((first.reason(), first.outcome()), (Some(Reason::SessionUnknown), Some(Outcome::NotExecuted)));
    let second = aborted.transfer("0.1.1", &booking("bad")).await;
    assert_eq!((second.reason(), second.outcome()), (Some(Reason::SessionUnknown), Some(Outcome::Unknown)));
}

//= test A-19
//= test L-5
#[tokio::test(start_paused = true)]
async fn a_refused_request_keeps_no_session_alive() {
    let server = TestServer::on_pipes(|builder| builder).await;
    let channel = server.connect().await;
    let lease = Some(duration(Duration::from_secs(10)));
    let alice = Opened::propose(&channel, "alice", OpenRequest { lease, ..proposal() }).await.unwrap();
    let thief = SessionServiceClient::new(alice.with_ticket(&[7; 32]).channel());
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        thief.clone().renew(RenewRequest::default()).await.unwrap_err();
    }
    let late = alice.channel().call(ECHO, &booking("late")).await.unwrap();
    assert_eq!(late.reason(), Some(Reason::SessionUnknown), "the lease ran out");
}
