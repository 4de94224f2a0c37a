//! Peers that do not come to the point.

use std::time::Duration;

use rpc_server::net::{CloseReason, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use crate::harness::{Client, Server, assert_elapsed};
use crate::http2::{HEADERS, MAGIC, SETTINGS, frame, request};
use crate::tls::Authority;

async fn closed(stream: &mut DuplexStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_closed_at_the_preface_deadline() {
    let server = Server::start(&Config::default());
    let start = Instant::now();
    let mut stream = server.connect().await;
    closed(&mut stream).await;
    assert_elapsed(start, 5);
    assert!(server.app.opened().is_empty());
}

#[tokio::test(start_paused = true)]
//= test E-9
async fn part_of_a_preface_does_not_buy_time() {
    let server = Server::start(&Config::default());
    for part in [&MAGIC[..1], &MAGIC[..12], MAGIC, &[MAGIC, &SETTINGS[..8]].concat()] {
        let start = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(part).await.unwrap();
        closed(&mut stream).await;
        assert_elapsed(start, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_does_not_buy_time() {
    let server = Server::start(&Config::default());
    let start = Instant::now();
    let mut stream = server.connect().await;
    for byte in MAGIC {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_elapsed(start, 6);
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_that_comes_to_the_point_is_served() {
    let server = Server::start(&Config::default());
    let mut stream = server.connect().await;
    for part in [&MAGIC[..7], &MAGIC[7..], SETTINGS] {
        sleep(Duration::from_millis(1_600)).await;
        stream.write_all(part).await.unwrap();
    }
    sleep(Duration::from_secs(20)).await;
    stream.write_all(&request(1)).await.unwrap();
    frame(&mut stream, HEADERS).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_protocol_is_closed_at_once() {
    let server = Server::start(&Config::default());
    let start = Instant::now();
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    closed(&mut stream).await;
    assert_elapsed(start, 0);
}

#[tokio::test(start_paused = true)]
//= test E-9
async fn a_stalled_tls_handshake_is_closed_on_time() {
    let mut config = Config::default();
    config.tls = Some(Authority::new().server("localhost"));
    let server = Server::start(&config);
    // Nothing, and the head of a record that never comes.
    for part in [&b""[..], &[0x16, 3, 1, 2, 0, 1, 0]] {
        let start = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(part).await.unwrap();
        closed(&mut stream).await;
        assert_elapsed(start, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_tls_handshake_the_preface_has_its_own_deadline() {
    let authority = Authority::new();
    let mut config = Config::default();
    config.tls = Some(authority.server("localhost"));
    let server = Server::start(&config);
    let mut stream = authority.connect(&server, &[b"h2"]).await.unwrap();
    let start = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_elapsed(start, 5);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_asked_to_go() {
    let server = Server::start(&Config::default());
    let start = Instant::now();
    let client = Client::start(server.connect().await).await;
    client.told_to_go().await;
    assert_elapsed(start, 30);
    client.gone().await;
    let handle = server.app.opened()[0].handle();
    assert_eq!(handle.closed().await, CloseReason::Unused);
}
