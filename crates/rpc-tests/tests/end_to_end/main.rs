//! The client against the server, with a network between them that does what networks do.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod faults;
mod hops;
mod recycling;
mod storm;
mod tls;
mod truth;

use std::time::Duration;

use rpc_client::Session;
use rpc_client::net::{Backoff, Config, Keepalive};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::pb::ledger::v1::test_ledger_client::TestLedgerClient;
use rpc_tests::token;

type Client = TestLedgerClient<Session>;

/// Opens a session as a program would, with waits that suit a test.
async fn open(address: std::net::SocketAddr, configure: impl FnOnce(Config) -> Config) -> Session {
    let quick = Config::default()
        .backoff(Backoff::default().between(Duration::from_millis(2), Duration::from_millis(50)))
        .keepalive(Keepalive::new(Duration::from_millis(300), Duration::from_millis(300)));
    Session::builder(format!("http://{address}"))
        .credentials(token::token("alice", &[]))
        .service::<Client>()
        .net(configure(quick))
        .open()
        .await
        .expect("the server is there")
}

fn request(id: impl Into<String>) -> TestRequest {
    TestRequest { id: id.into(), ..TestRequest::default() }
}
