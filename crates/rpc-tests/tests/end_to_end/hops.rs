//! A handler that calls another server: the deadline goes along.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rpc_client::{Outcome, OutcomeExt as _};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use tokio::time::Instant;
use tonic::Code;

use super::{Client, open};

/// Calls `second` from within a handler's scope, as a handler of `first` would.
async fn relayed(second: SocketAddr, id: &str, deadline: Option<Instant>) -> Result<(), tonic::Status> {
    let session = open(second, |config| config).await;
    let mut client = Client::new(session.clone());
    let sent = TestRequest { id: id.to_owned(), ..TestRequest::default() };
    let called = rpc_proto::deadline::scope(deadline, async move { client.transfer(sent).await }).await;
    called.map(|_| ())
}

//= test C-46
//= test C-42
#[tokio::test]
async fn the_deadline_of_the_served_call_bounds_the_calls_it_makes() {
    let second = Arc::new(TestServer::start().await);
    second.books().hold("relayed");
    let start = Instant::now();
    let deadline = Some(start + Duration::from_millis(300));
    let status = soon("the deadline", relayed(second.address(), "relayed", deadline)).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::DeadlineExceeded, Some(Outcome::Unknown)));
    let told = second.books().entry("relayed").deadline.expect("the second server knows of a deadline");
    assert!(told <= start + Duration::from_millis(900), "the method's own 30 s did not win");
    second.books().let_go("relayed");
}

#[tokio::test]
async fn without_one_the_methods_own_time_counts() {
    let second = TestServer::start().await;
    soon("the reply", relayed(second.address(), "free", None)).await.unwrap();
    let told = second.books().entry("free").deadline.expect("Transfer has a timeout");
    assert!(told > Instant::now() + Duration::from_secs(20));
}
