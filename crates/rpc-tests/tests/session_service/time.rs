//! Sessions that nobody uses end, and no others. Under paused time.

use std::time::Duration;

use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::{OpenRequest, OpenResponse, RenewRequest};
use rpc_tests::channel::{Channel, frame};
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, duration, proposal};
use rpc_tests::token::token_for;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

async fn opened(channel: &Channel, lease_s: u32, linger_s: u32) -> Opened {
    let (lease, linger) = (Some(duration(lease_s * SECOND)), Some(duration(linger_s * SECOND)));
    Opened::propose(channel, "alice", OpenRequest { lease, linger, ..proposal() }).await.unwrap()
}

async fn is_alive(session: &Opened) -> bool {
    let answer = session.channel().call("/ledger.v1.TestLedger/Echo", &booking("alive")).await.unwrap();
    match answer.reason() {
        None => true,
        Some(reason) => {
            assert_eq!(reason, Reason::SessionUnknown);
            false
        }
    }
}

//= test L-3
//= test L-5
#[tokio::test(start_paused = true)]
async fn a_session_without_traffic_ends_with_its_lease() {
    let server = TestServer::on_pipes(|builder| builder).await;
    let channel = server.connect().await;
    let idle = opened(&channel, 10, 600).await;
    let called = opened(&channel, 10, 600).await;
    let renewed = opened(&channel, 10, 600).await;
    for _ in 0..5 {
        sleep(6 * SECOND).await;
        assert!(is_alive(&called).await);
        renewed.renew(None, RenewRequest::default()).await.unwrap();
    }
    assert!(!is_alive(&idle).await);
    sleep(9 * SECOND).await;
    assert!(is_alive(&renewed).await);
    sleep(11 * SECOND).await;
    assert!(!is_alive(&called).await && !is_alive(&renewed).await);
}

//= test L-4
#[tokio::test(start_paused = true)]
async fn a_session_without_connections_lives_as_long_as_its_linger() {
    let server = TestServer::on_pipes(|builder| builder).await;
    // The lease is shorter: without a connection it does not govern.
    let alice = opened(&server.connect().await, 5, 60).await;
    alice.transfer("0.1.0", &booking("x")).await.message::<TestReply>();
    alice.bare().cut();
    sleep(59 * SECOND).await;
    let back = alice.over(&server.connect().await);
    assert!(is_alive(&back).await);
    assert_eq!(back.transfer("0.1.1", &booking("x")).await.message::<TestReply>().booked, 1);
    // With a connection, the lease governs again.
    sleep(6 * SECOND).await;
    assert!(!is_alive(&back).await);
    let other = opened(&server.connect().await, 5, 60).await;
    other.bare().cut();
    sleep(61 * SECOND).await;
    assert!(!is_alive(&other.over(&server.connect().await)).await);
}

//= test L-6
#[tokio::test(start_paused = true)]
async fn the_loss_of_one_of_several_connections_changes_nothing() {
    let server = TestServer::on_pipes(|builder| builder).await;
    let alice = opened(&server.connect().await, 600, 1).await;
    let over = alice.over(&server.connect().await);
    assert!(is_alive(&alice).await && is_alive(&over).await);
    alice.bare().cut();
    sleep(30 * SECOND).await;
    assert!(is_alive(&over).await, "a lingering session would have ended");
    over.bare().cut();
    sleep(2 * SECOND).await;
    assert!(!is_alive(&alice.over(&server.connect().await)).await);
}

//= test L-25
//= test C-18
#[tokio::test(start_paused = true)]
async fn a_handler_outlives_the_session_that_expires_around_it() {
    let server = TestServer::on_pipes(|builder| builder).await;
    let alice = opened(&server.connect().await, 5, 5).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    alice.bare().cut();
    assert!(running.await.unwrap().is_none());
    sleep(10 * SECOND).await;
    assert!(!is_alive(&alice.over(&server.connect().await)).await);
    assert_eq!(server.books().entry("held").stopped, 0);
    server.books().let_go("held");
    server.books().until("held", |entry| entry.booked == 1).await;
}

/// The token is judged when the headers come. The time that the body took was added to its life.
//= test A-14
#[tokio::test(start_paused = true)]
async fn a_body_that_comes_late_does_not_make_the_token_last_longer() {
    let server = TestServer::on_pipes(|builder| builder).await;
    let channel = server.connect().await.bearer(&token_for("alice", &[], 100 * SECOND));
    let opening = channel.withhold("/session.v1.SessionService/Open");
    sleep(90 * SECOND).await;
    opening.give(frame(&proposal())).await;
    let authority = opening.finish().await.message::<OpenResponse>().authority.unwrap();
    assert!(authority.seconds <= 10, "{authority:?}");
}
