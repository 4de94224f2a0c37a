//! Too many connections.

use std::net::SocketAddr;

use rpc_server::net::Config;
use tokio::io::{AsyncReadExt, DuplexStream};

use crate::harness::{Client, Server};

/// Whether the server closed the connection without a word, before the clock moved.
async fn refused(mut stream: DuplexStream) -> bool {
    let start = tokio::time::Instant::now();
    matches!(stream.read(&mut [0]).await, Ok(0)) && start.elapsed().is_zero()
}

#[tokio::test(start_paused = true)]
async fn one_connection_too_many_is_closed_and_its_place_is_used_again() {
    let mut config = Config::default();
    config.limits.connections = 2;
    let server = Server::start(&config);
    let first = Client::start(server.connect().await).await;
    let second = Client::start(server.connect().await).await;
    first.call("/now").await.unwrap();
    second.call("/now").await.unwrap();
    assert!(refused(server.connect().await).await);

    first.gone().await;
    server.app.opened()[0].handle().closed().await;
    let third = Client::start(server.connect().await).await;
    third.call("/now").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_address_does_not_take_the_places_of_others() {
    let mut config = Config::default();
    config.limits.per_address = 1;
    let server = Server::start(&config);
    let from = |text: &str| {
        let address: SocketAddr = text.parse().unwrap();
        server.connect_from(move |accepted| accepted.from_peer(address))
    };
    let first = Client::start(from("192.0.2.1:1000").await).await;
    first.call("/now").await.unwrap();
    assert!(refused(from("192.0.2.1:1001").await).await);
    let other = Client::start(from("192.0.2.2:1000").await).await;
    other.call("/now").await.unwrap();
    assert_eq!(server.app.opened()[1].peer_addr(), "192.0.2.2:1000".parse().ok());
}

/// Calls begin in the task of their connection, where nobody else has a turn.
#[tokio::test(start_paused = true)]
async fn a_busy_connection_leaves_its_thread_to_others() {
    const CALLS: usize = 900;
    let mut config = Config::default();
    config.http2.concurrent_streams_max = 1_000;
    let server = Server::start(&config);
    let client = Client::start(server.connect().await).await;
    client.call("/now").await.unwrap();
    let calls: Vec<_> = (0..CALLS).map(|_| client.begin("/never")).collect();
    let (mut begun, mut most) = (0, 0);
    while begun < CALLS {
        tokio::task::yield_now().await;
        let now = server.app.running();
        (begun, most) = (now, most.max(now - begun));
    }
    assert!(most <= 256, "{most} calls in one turn");
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn connections_without_a_request_are_bounded_apart() {
    let mut config = Config::default();
    config.limits.unused = 1;
    let server = Server::start(&config);
    let used = Client::start(server.connect().await).await;
    used.call("/now").await.unwrap();
    let unused = Client::start(server.connect().await).await;
    assert!(refused(server.connect().await).await);
    unused.call("/now").await.unwrap();
    let third = Client::start(server.connect().await).await;
    third.call("/now").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_gives_its_place_back() {
    let mut config = Config::default();
    config.limits.unused = 1;
    let server = Server::start(&config);
    let mut silent = server.connect().await;
    assert!(refused(server.connect().await).await);
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    let client = Client::start(server.connect().await).await;
    client.call("/now").await.unwrap();
}
