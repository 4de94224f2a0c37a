//! The end of a server while protected calls run.

use std::time::Duration;

use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking};

async fn held(server: &TestServer) -> (Opened, tokio::task::JoinHandle<Option<rpc_tests::channel::Answer>>) {
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    (alice, running)
}

//= test C-49
#[tokio::test]
async fn what_runs_may_finish() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    server.handle().drain(Duration::from_secs(10));
    server.books().let_go("held");
    assert_eq!(running.await.unwrap().unwrap().message::<TestReply>().booked, 1);
    assert_eq!(server.ended().await.cut, 0);
    drop(alice);
}

#[tokio::test]
async fn what_runs_too_long_is_cut_at_the_deadline() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    let began = std::time::Instant::now();
    server.handle().drain(Duration::from_millis(200));
    assert!(running.await.unwrap().is_none());
    assert_eq!(server.ended().await.cut, 1);
    assert!((150..5_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    drop(alice);
}

//= test C-18
#[tokio::test]
async fn handlers_that_lost_their_connection_are_waited_for() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    alice.bare().cut();
    assert!(running.await.unwrap().is_none());
    let books = server.books().clone();
    server.handle().drain(Duration::from_secs(10));
    let mut ended = Box::pin(server.ended());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut ended).await;
    assert!(early.is_err(), "the server ended before its handler: {early:?}");
    books.let_go("held");
    ended.await;
    assert_eq!(books.booked("held"), 1);
}

#[tokio::test]
async fn a_second_order_to_drain_means_now() {
    let server = TestServer::start().await;
    let (alice, running) = held(&server).await;
    server.handle().drain(Duration::from_secs(600));
    server.handle().drain(Duration::from_secs(600));
    assert!(running.await.unwrap().is_none());
    assert_eq!(server.ended().await.cut, 1);
    drop(alice);
}
