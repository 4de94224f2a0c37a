//! Connections that work, and end all the same.

use std::time::Duration;

use http::StatusCode;
use rpc_server::net::{CloseReason, Config};
use tokio::time::{Instant, sleep};

use crate::harness::{Client, Server, assert_elapsed};

/// Age 10 s and grace 10 s, exactly.
fn short_age() -> Config {
    let mut config = Config::default();
    config.lifetime.age = Duration::from_secs(10);
    config.lifetime.age_jitter_percent = 0;
    config.lifetime.grace = Duration::from_secs(10);
    config
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_outlives_the_age_of_its_connection() {
    let server = Server::start(&short_age());
    let start = Instant::now();
    let client = Client::start(server.connect().await).await;
    let call = client.begin("/wait/15000");
    let body = client.begin("/body/15000");
    let error = client.told_to_go().await;
    assert_elapsed(start, 10);
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
    assert_eq!(call.await.unwrap().unwrap(), StatusCode::OK);
    assert_eq!(body.await.unwrap().unwrap(), StatusCode::OK);
    client.gone().await;
    assert_elapsed(start, 15);
    assert_eq!(server.app.opened()[0].handle().closed().await, CloseReason::Age);
    server.handle.drain(Duration::ZERO);
    assert_eq!(server.ended().await.cut, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_longer_than_the_grace_is_cut() {
    let server = Server::start(&short_age());
    let start = Instant::now();
    let client = Client::start(server.connect().await).await;
    assert!(client.begin("/never").await.unwrap().is_err());
    assert_elapsed(start, 20);
    assert_eq!(server.app.opened()[0].handle().closed().await, CloseReason::Age);
    assert_eq!(server.app.running(), 0);
    server.handle.drain(Duration::ZERO);
    assert_eq!(server.ended().await.cut, 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_to_those_who_wait_for_it() {
    let server = Server::start(&short_age());
    let start = Instant::now();
    let client = Client::start(server.connect().await).await;
    let never = client.begin("/never");
    client.call("/now").await.unwrap();
    let handle = server.app.opened()[0].handle();
    let notice = handle.draining().await.unwrap();
    assert_elapsed(start, 10);
    assert_eq!(notice.reason, CloseReason::Age);
    assert_eq!(notice.deadline, Instant::now() + Duration::from_secs(10));
    assert!(!handle.is_closed());
    assert_eq!(handle.closed().await, CloseReason::Age);
    assert_elapsed(start, 20);
    assert!(never.await.unwrap().is_err());
    assert_eq!(server.app.reasons(), [CloseReason::Age]);
    assert_eq!(server.app.running_at_close(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_only_while_no_stream_is_open() {
    let mut config = Config::default();
    config.lifetime.idle = Duration::from_secs(5);
    let server = Server::start(&config);
    let start = Instant::now();
    let client = Client::start(server.connect().await).await;
    // Its head comes at once; the body is what keeps the stream open.
    assert_eq!(client.call("/body/17000").await.unwrap(), StatusCode::OK);
    assert_elapsed(start, 17);
    sleep(Duration::from_secs(3)).await;
    client.call("/now").await.unwrap();
    client.told_to_go().await;
    assert_elapsed(start, 25);
    assert_eq!(server.app.opened()[0].handle().closed().await, CloseReason::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_given_up() {
    let server = Server::start(&Config::default());
    let start = Instant::now();
    let _silent = Client::fall_silent(server.connect().await).await;
    assert_eq!(server.app.opened()[0].handle().closed().await, CloseReason::KeepAlive);
    // The interval, the timeout, and the second that a close waits for the peer's.
    assert_elapsed(start, 31);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_takes_its_handlers_along() {
    let server = Server::start(&Config::default());
    let client = Client::start(server.connect().await).await;
    let never = client.begin("/never");
    client.call("/now").await.unwrap();
    assert_eq!(server.app.running(), 1);
    client.abandon();
    assert_eq!(server.app.opened()[0].handle().closed().await, CloseReason::Peer);
    assert_eq!(server.app.running_at_close(), 0);
    assert!(never.await.unwrap().is_err());
    assert_eq!(server.app.reasons(), [CloseReason::Peer]);
}
