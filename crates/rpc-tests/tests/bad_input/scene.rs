//! A server with one good session, on one connection, and the assertion that all these tests make.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::QueryResponse;
use rpc_tests::channel::{Channel, frame};
use rpc_tests::ledger::Entry;
use rpc_tests::server::{Ready, TestServer};
use rpc_tests::session::{Opened, booking};
use rpc_tests::soon;
use tonic::Code;

pub(crate) const OPEN: &str = "/session.v1.SessionService/Open";
pub(crate) const RENEW: &str = "/session.v1.SessionService/Renew";
pub(crate) const QUERY: &str = "/session.v1.SessionService/Query";
pub(crate) const RELEASE: &str = "/session.v1.SessionService/Release";
pub(crate) const ABORT: &str = "/session.v1.SessionService/Abort";
pub(crate) const ATTACH: &str = "/session.v1.SessionService/Attach";
pub(crate) const ECHO: &str = "/ledger.v1.TestLedger/Echo";
pub(crate) const ADMIN: &str = "/ledger.v1.TestLedger/Admin";
pub(crate) const TRANSFER: &str = rpc_tests::session::TRANSFER;

/// What is expected: code, reason, outcome.
pub(crate) type Told = (Code, Reason, Option<Outcome>);

pub(crate) struct Scene {
    pub(crate) server: TestServer,
    /// A session of `alice` whose slot 0 has made one call, with sequence 1.
    pub(crate) alice: Opened,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        Self::set_with(|builder| builder).await
    }

    pub(crate) async fn set_with(configure: impl FnOnce(Ready) -> Ready) -> Self {
        let server = TestServer::start_with(configure).await;
        let alice = Opened::open(&server.connect().await).await;
        alice.transfer("0.1.0", &booking("first")).await.message::<rpc_tests::pb::ledger::v1::TestReply>();
        Self { server, alice }
    }

    /// The connection, without any header.
    pub(crate) fn bare(&self) -> &Channel {
        self.alice.bare()
    }

    pub(crate) async fn refuses(
        &self,
        name: &str,
        channel: &Channel,
        path: &str,
        message: &impl Message,
        told: Told,
    ) {
        self.refuses_bytes(name, channel, path, frame(message), told).await;
    }

    /// Asserts that the request is refused as `told`, that nothing else happens, and that a good call on the same
    /// connection is answered afterwards.
    pub(crate) async fn refuses_bytes(
        &self,
        name: &str,
        channel: &Channel,
        path: &str,
        body: Bytes,
        (code, reason, outcome): Told,
    ) {
        let before = self.state().await;
        let answer = soon(name, channel.call_bytes(path, body)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let status = answer.status();
        assert_eq!((status.code(), answer.reason()), (code, Some(reason)), "{name}: {status:?}");
        assert_eq!(answer.outcome(), outcome, "{name}");
        assert_eq!(answer.answered(), None, "{name}");
        assert_eq!(self.state().await, before, "{name}");
    }

    /// All that a refused request must not change, read by good calls on the same connection.
    async fn state(&self) -> (BTreeMap<String, Entry>, [QueryResponse; 3]) {
        let first = self.alice.query(0, 1).await;
        let next = self.alice.query(0, 2).await;
        let other = self.alice.query(1, 1).await;
        (self.server.books().all(), [first, next, other])
    }
}
