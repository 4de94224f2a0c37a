//! Streams and calls through nginx and HAProxy as plain proxies, with the settings that `docs/operations.md` names.
//!
//! Each test needs the proxy's binary and says so where there is none; with `SESSION_TEST_PROXIES=1` it fails then.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

mod haproxy;
mod nginx;
mod running;
mod work;

use rpc_tests::pb::streams::v1::test_streams_server::TestStreamsServer;
use rpc_tests::server::{TestServer, net};
use rpc_tests::streams::Streams;

/// A server that takes all its connections from one address.
async fn server() -> TestServer {
    let service = TestStreamsServer::new(Streams::default());
    TestServer::start_with(|builder| {
        builder.service(service).net(net(|config| config.limits.per_address = 1_000))
    })
    .await
}
