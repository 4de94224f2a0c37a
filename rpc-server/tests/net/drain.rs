//! Stopping a server.

use std::time::Duration;

use http::StatusCode;
use rpc_server::net::{CloseReason, Config};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::harness::{Client, Server, assert_elapsed};

const LONG: Duration = Duration::from_secs(1_000);

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_calls_and_takes_no_new_ones() {
    let server = Server::start(&Config::default());
    let client = Client::start(server.connect().await).await;
    let call = client.begin("/body/20000");
    client.call("/now").await.unwrap();
    let start = Instant::now();
    server.handle.drain(LONG);
    assert!(server.handle.is_draining());
    assert!(client.told_to_go().await.is_go_away());
    assert_elapsed(start, 0);
    assert!(server.is_running());
    assert_eq!(call.await.unwrap().unwrap(), StatusCode::OK);
    let app = server.app.clone();
    let report = server.ended().await;
    assert_elapsed(start, 20);
    assert_eq!((report.served, report.cut), (1, 0));
    assert_eq!(app.reasons(), [CloseReason::Drain]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_is_cut_at_the_deadline() {
    let server = Server::start(&Config::default());
    let [stuck, quick] = [(); 2].map(|()| server.connect());
    let (stuck, quick) = (Client::start(stuck.await).await, Client::start(quick.await).await);
    let never = stuck.begin("/never");
    stuck.call("/now").await.unwrap();
    quick.call("/now").await.unwrap();
    let start = Instant::now();
    server.handle.drain(Duration::from_secs(7));
    let app = server.app.clone();
    let report = server.ended().await;
    assert_elapsed(start, 7);
    assert_eq!((report.served, report.cut), (2, 1));
    assert!(never.await.unwrap().is_err());
    assert_eq!(app.running(), 0);
    assert_eq!(app.reasons(), [CloseReason::Drain; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_does_not_hang_a_drain() {
    let server = Server::start(&Config::default());
    let _silent = Client::fall_silent(server.connect().await).await;
    let start = Instant::now();
    server.handle.drain(Duration::from_secs(7));
    assert_eq!(server.ended().await.cut, 1);
    assert_elapsed(start, 7);
}

#[tokio::test(start_paused = true)]
async fn no_deadline_and_a_second_order_mean_now() {
    let server = Server::start(&Config::default());
    let client = Client::start(server.connect().await).await;
    let never = client.begin("/never");
    client.call("/now").await.unwrap();
    let start = Instant::now();
    server.handle.drain(LONG);
    client.told_to_go().await;
    server.handle.drain(LONG);
    assert_eq!(server.ended().await.cut, 1);
    assert_elapsed(start, 0);
    assert!(never.await.unwrap().is_err());

    let server = Server::start(&Config::default());
    let client = Client::start(server.connect().await).await;
    client.call("/now").await.unwrap();
    server.handle.drain(Duration::ZERO);
    server.ended().await;
    assert_elapsed(start, 0);
}

#[tokio::test(start_paused = true)]
async fn peers_that_have_not_spoken_are_dropped_at_once() {
    let server = Server::start(&Config::default());
    let mut stream = server.connect().await;
    // Lets the server take it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    server.handle.drain(LONG);
    assert_eq!(server.ended().await, rpc_server::net::Report::default());
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_elapsed(start, 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_shortens_the_grace_of_one_that_leaves_already() {
    let mut config = Config::default();
    config.lifetime.age = Duration::from_secs(10);
    config.lifetime.age_jitter_percent = 0;
    let server = Server::start(&config);
    let client = Client::start(server.connect().await).await;
    let never = client.begin("/never");
    client.told_to_go().await;
    let handle = server.app.opened()[0].handle();
    let start = Instant::now();
    server.handle.drain(Duration::from_secs(3));
    assert_eq!(handle.closed().await, CloseReason::Age);
    assert_elapsed(start, 3);
    assert!(never.await.unwrap().is_err());
    server.ended().await;
}
