//! Streams that outlive their connections, through stock stubs on both sides.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod failing;
mod live;
mod rereading;

use std::time::Duration;

use rpc_client::Session;
use rpc_client::net::{Backoff, Config, Keepalive};
use rpc_tests::pb::streams::v1::Chunk;
use rpc_tests::pb::streams::v1::test_streams_client::TestStreamsClient;
use rpc_tests::streams::{chunk, tally};
use rpc_tests::token;

type Client = TestStreamsClient<Session>;

/// Opens a session as a program would, with waits that suit a test.
async fn open(address: std::net::SocketAddr) -> Session {
    open_with(address, |builder| builder).await
}

/// The same, with what the test says.
async fn open_with(
    address: std::net::SocketAddr,
    configure: impl FnOnce(rpc_client::Builder) -> rpc_client::Builder,
) -> Session {
    let quick = Config::default()
        .connections(1)
        .backoff(Backoff::default().between(Duration::from_millis(2), Duration::from_millis(50)))
        .keepalive(Keepalive::new(Duration::from_millis(300), Duration::from_millis(300)));
    let builder = Session::builder(format!("http://{address}"))
        .credentials(token::token("alice", &[]))
        .service::<Client>()
        .net(quick);
    configure(builder).open().await.expect("the server is there")
}

/// So many chunks, as an upload gives them.
fn chunks(count: u64, payload_bytes: u32) -> impl tokio_stream::Stream<Item = Chunk> + Send + 'static {
    tokio_stream::iter((0..count).map(move |index| chunk(index, payload_bytes)))
}
