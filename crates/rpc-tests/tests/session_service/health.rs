//! `grpc.health.v1.Health`: for everybody, without a token.

use std::time::Duration;

use rpc_tests::server::TestServer;
use rpc_tests::soon;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn the_server_and_each_service_are_serving() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.connect().await);
    for service in ["", "ledger.v1.TestLedger"] {
        let status = health.check(of(service)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(health.check(of("no.Such")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn whoever_watches_learns_of_a_drain() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let mut watches = Vec::new();
    for service in ["", "ledger.v1.TestLedger"] {
        let mut watch = HealthClient::new(channel.clone()).watch(of(service)).await.unwrap().into_inner();
        let first = soon("the first status", watch.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    server.handle().drain(Duration::from_secs(10));
    for mut watch in watches {
        let next = soon("the news", watch.message()).await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
}

/// A signal handler has a thread of its own and no runtime; whoever asked went on hearing SERVING.
#[tokio::test]
async fn a_drain_that_a_plain_thread_orders_is_told_too() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.connect().await);
    let mut watch = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let handle = server.handle().clone();
    tokio::task::spawn_blocking(|| std::thread::spawn(move || handle.drain(Duration::from_secs(10))).join())
        .await
        .unwrap()
        .unwrap();
    let next = soon("the news", watch.message()).await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
}
