//! Connections that the server ends in an orderly way, and servers that are drained.

use std::time::Duration;

use rpc_client::Session;
use rpc_client::net::{Config, Keepalive};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::server::{TestServer, net};
use rpc_tests::soon;
use rpc_tests::token;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Client, open, request};

//= test C-50
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_grow_old_cost_nobody_a_call() {
    let server = TestServer::start_with(|builder| {
        builder.net(net(|config| {
            config.lifetime.age = Duration::from_millis(40);
            config.lifetime.grace = Duration::from_secs(5);
        }))
    })
    .await;
    // A busy machine may be late with the answer to a ping, and a plain call that is lost stays lost.
    let patient = |config: Config| config.connections(2).keepalive(Keepalive::default());
    let session = open(server.address(), patient).await;
    let mut tasks = JoinSet::new();
    let end = Instant::now() + Duration::from_secs(2);
    for task in 0..8 {
        let mut client = Client::new(session.clone());
        tasks.spawn(async move {
            let mut calls = 0_u64;
            while Instant::now() < end {
                let id = format!("{task}/{calls}");
                // Plain calls: nothing but GOAWAY tells that they may be sent again.
                let sent = TestRequest {
                    id,
                    delay_ms: u32::from(calls.is_multiple_of(3)),
                    ..TestRequest::default()
                };
                client.echo(sent).await.unwrap_or_else(|status| panic!("call {calls}: {status:?}"));
                calls += 1;
            }
            calls
        });
    }
    let calls: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(server.books().all().len() as u64, calls);
    assert!(server.books().all().values().all(|entry| entry.started == 1), "a plain call ran twice");
    session.release().await.unwrap();
    let report = server.shutdown().await;
    assert!(report.served > 40, "only {} connections were served, so nothing was proved", report.served);
}

//= test C-49
#[tokio::test]
async fn a_drain_lets_running_calls_end() {
    let server = TestServer::start().await;
    let session = open(server.address(), |config| config.connections(1)).await;
    let mut client = Client::new(session.clone());
    server.books().hold("a");
    let call = tokio::spawn(async move { client.transfer(request("a")).await });
    server.books().started("a").await;
    server.handle().drain(Duration::from_secs(20));
    server.books().let_go("a");
    let reply = soon("the reply", call).await.unwrap().unwrap();
    assert_eq!(reply.get_ref().booked, 1);
    drop(session);
    assert_eq!(soon("the end", server.ended()).await.cut, 0);
}

//= test L-29
#[tokio::test]
async fn an_idle_session_does_not_hold_a_drain_up() {
    let server = TestServer::start().await;
    let session = open(server.address(), |config| config.connections(2)).await;
    let mut client = Client::new(session.clone());
    client.echo(request("a")).await.unwrap();
    let start = Instant::now();
    server.handle().drain(Duration::from_secs(3_600));
    let report = soon("the end", server.ended()).await;
    assert_eq!(report.cut, 0);
    assert!(start.elapsed() < rpc_tests::SOON);
    drop(session);
}

//= test O-2
//= test O-3
#[tokio::test]
async fn opening_waits_for_a_server_that_is_not_there_yet() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let opening = tokio::spawn(async move {
        Session::builder(format!("http://{free}"))
            .credentials(token::token("alice", &[]))
            .service::<Client>()
            .open()
            .await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let books = rpc_tests::ledger::Books::default();
    let Ok(server) = rpc_tests::server::builder(&books).bind(free).await else {
        return; // Somebody else took the port meanwhile.
    };
    let handle = server.handle();
    let serving = tokio::spawn(server.serve());
    let session = soon("the session", opening).await.unwrap().unwrap();
    assert_eq!(session.number().value(), 1);
    session.release().await.unwrap();
    handle.drain(Duration::from_secs(5));
    soon("the end", serving).await.unwrap().unwrap();
}
