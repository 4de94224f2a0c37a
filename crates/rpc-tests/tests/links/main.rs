//! Streams on links that are slow, one-way, short-lived, or cut at one byte after the other.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]
#![expect(clippy::print_stdout, reason = "measurements are printed")]

mod delay;
mod innocent;
mod positions;
mod short;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::Stream;
use rpc_client::Session;
use rpc_client::net::{Backoff, Config, Keepalive};
use rpc_tests::pb::ledger::v1::test_ledger_client::TestLedgerClient;
use rpc_tests::pb::streams::v1::Chunk;
use rpc_tests::pb::streams::v1::test_streams_client::TestStreamsClient;
use rpc_tests::proxy::Proxy;
use rpc_tests::server::TestServer;
use rpc_tests::streams::{chunk, read, tally};
use rpc_tests::token;

type Client = TestStreamsClient<Session>;
type Ledger = TestLedgerClient<Session>;

/// A server behind a proxy, and a session with it over one connection.
struct Scene {
    server: TestServer,
    proxy: Proxy,
    session: Session,
}

impl Scene {
    async fn start() -> Self {
        Self::of(TestServer::with_streams().await).await
    }

    async fn of(server: TestServer) -> Self {
        let proxy = Proxy::start(server.address(), 1).await.expect("loopback is to be had");
        let session = open(proxy.address()).await;
        Self { server, proxy, session }
    }

    fn client(&self) -> Client {
        Client::new(self.session.clone())
    }

    fn ledger(&self) -> Ledger {
        Ledger::new(self.session.clone())
    }
}

/// Opens a session as a program would, with waits that suit a test. Pings are rare: what travels is to be the same in each
/// run.
async fn open(address: SocketAddr) -> Session {
    let quick = Config::default()
        .connections(1)
        .backoff(Backoff::default().between(Duration::from_millis(1), Duration::from_millis(5)))
        .keepalive(Keepalive::default());
    Session::builder(format!("http://{address}"))
        .credentials(token::token("alice", &[]))
        .service::<Client>()
        .service::<Ledger>()
        .net(quick)
        .open()
        .await
        .expect("the server is there")
}

/// So many chunks, as an upload gives them.
fn chunks(count: u64, payload_bytes: u32) -> impl Stream<Item = Chunk> + Send + 'static {
    futures_util::stream::iter((0..count).map(move |index| chunk(index, payload_bytes)))
}
