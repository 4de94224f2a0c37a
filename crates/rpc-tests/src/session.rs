//! Sessions as a program without a session library has them: three headers and the calls of the session service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use rpc_core::id::{SessionId, Ticket};
use rpc_proto::headers::{SESSION, SESSION_CALL, SESSION_TICKET, session_value, ticket_value};
use rpc_proto::pb::session::v1::session_service_client::SessionServiceClient;
use rpc_proto::pb::session::v1::{
    AbortRequest, AbortResponse, OpenRequest, OpenResponse, QueryRequest, QueryResponse, RenewRequest,
    RenewResponse, Unit,
};
use tonic::Status;
use tonic::body::Body;

use crate::channel::{Answer, Channel, frame};
use crate::pb::ledger::v1::TestRequest;
use crate::pb::ledger::v1::test_ledger_client::TestLedgerClient;
use crate::{soon, token};

/// Path of the method that tests call most.
pub const TRANSFER: &str = "/ledger.v1.TestLedger/Transfer";

/// A nonce that no other opening of this process has.
pub fn nonce() -> Bytes {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Bytes::copy_from_slice(&nonce)
}

/// Asks for protected calls and leaves the rest to the server.
pub fn proposal() -> OpenRequest {
    OpenRequest { nonce: nonce(), units: vec![Unit::ExactlyOnce.into()], ..OpenRequest::default() }
}

/// A request of a booking under `id`.
pub fn booking(id: &str) -> TestRequest {
    TestRequest { id: id.to_owned(), amount: 1, ..TestRequest::default() }
}

/// Protobuf's form of a duration.
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).expect("tests use durations that fit")
}

/// An open session, over one connection.
#[derive(Clone)]
pub struct Opened {
    /// Its number.
    pub number: SessionId,
    /// Its ticket.
    pub ticket: Ticket,
    /// All that the server answered.
    pub response: OpenResponse,
    channel: Channel,
}

impl Opened {
    /// Opens a session of `alice`.
    ///
    /// # Panics
    ///
    /// The server refuses it.
    pub async fn open(channel: &Channel) -> Self {
        Self::propose(channel, "alice", proposal()).await.expect("the session opens")
    }

    /// Opens a session of `subject`.
    ///
    /// # Errors
    ///
    /// The server's refusal.
    pub async fn propose(channel: &Channel, subject: &str, proposal: OpenRequest) -> Result<Self, Status> {
        Self::propose_with(channel, &token::token(subject, &[]), proposal).await
    }

    /// Opens a session with this token.
    ///
    /// # Errors
    ///
    /// The server's refusal.
    ///
    /// # Panics
    ///
    /// The answer holds no number or no ticket.
    pub async fn propose_with(channel: &Channel, token: &str, proposal: OpenRequest) -> Result<Self, Status> {
        let mut service = SessionServiceClient::new(channel.bearer(token));
        let response = soon("open", service.open(proposal)).await?.into_inner();
        let number = SessionId::new(response.number).expect("a number");
        let ticket = Ticket(response.ticket[..].try_into().expect("a ticket"));
        Ok(Self { number, ticket, response, channel: channel.clone() })
    }

    /// The same session over another connection.
    pub fn over(&self, channel: &Channel) -> Self {
        Self { channel: channel.clone(), ..self.clone() }
    }

    /// Another number with the same ticket.
    ///
    /// # Panics
    ///
    /// It is 0.
    pub fn with_number(&self, number: u64) -> Self {
        Self { number: SessionId::new(number).expect("a number"), ..self.clone() }
    }

    /// The same session with another ticket.
    pub fn with_ticket(&self, ticket: &[u8]) -> Self {
        Self { ticket: Ticket(ticket.try_into().expect("a ticket")), ..self.clone() }
    }

    /// The connection, without any header of the session.
    pub fn bare(&self) -> &Channel {
        &self.channel
    }

    /// The connection with number and ticket in each request.
    pub fn channel(&self) -> Channel {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION, session_value(self.number));
        headers.insert(SESSION_TICKET, ticket_value(&self.ticket));
        self.channel.with(headers)
    }

    /// The connection with all three headers; `call` is `slot.sequence.attempt`.
    ///
    /// # Panics
    ///
    /// HTTP does not allow such a header.
    pub fn channel_for(&self, call: &str) -> Channel {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_CALL, HeaderValue::from_str(call).expect("tests send what HTTP allows"));
        self.channel().with(headers)
    }

    /// The stub of the session service.
    pub fn service(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel())
    }

    /// The stub of the ledger, for plain calls in the session.
    pub fn ledger(&self) -> TestLedgerClient<Channel> {
        TestLedgerClient::new(self.channel())
    }

    /// One try of a call of `Transfer`, with all that came back.
    ///
    /// # Panics
    ///
    /// The connection is lost, or nothing comes back.
    pub async fn transfer(&self, call: &str, request: &TestRequest) -> Answer {
        self.call(TRANSFER, call, request).await
    }

    /// One try of a call of a protected method.
    ///
    /// # Panics
    ///
    /// The connection is lost, or nothing comes back.
    pub async fn call(&self, path: &str, call: &str, request: &TestRequest) -> Answer {
        soon(call, self.channel_for(call).call(path, request)).await.expect("the connection holds")
    }

    /// A try that goes on while the test does something else. Aborting it resets the stream.
    pub fn begin(&self, call: &str, request: &TestRequest) -> tokio::task::JoinHandle<Option<Answer>> {
        self.begin_at(TRANSFER, call, request)
    }

    /// Like [`begin`](Self::begin), of another method. `None`: the connection was lost.
    pub fn begin_at(
        &self,
        path: &'static str,
        call: &str,
        request: &TestRequest,
    ) -> tokio::task::JoinHandle<Option<Answer>> {
        let channel = self.channel_for(call);
        let response = channel.send(path, Body::new(Full::new(frame(request))));
        tokio::spawn(async move {
            let answered = soon(path, async { Answer::read(response.await?).await }).await.ok();
            // The connection is kept until the answer is there.
            drop(channel);
            answered
        })
    }

    /// Asks for a new ticket.
    ///
    /// # Panics
    ///
    /// The server refuses.
    pub async fn rotated(&self) -> Self {
        let renewed =
            self.renew(None, RenewRequest { rotate_ticket: true }).await.expect("the session is renewed");
        self.with_ticket(&renewed.ticket)
    }

    /// Renews the session, with a token or without.
    ///
    /// # Errors
    ///
    /// The server's refusal.
    pub async fn renew(&self, token: Option<&str>, request: RenewRequest) -> Result<RenewResponse, Status> {
        let channel = token.map_or_else(|| self.channel(), |token| self.channel().bearer(token));
        let renewed = soon("renew", SessionServiceClient::new(channel).renew(request)).await?;
        Ok(renewed.into_inner())
    }

    /// Ends the session now.
    ///
    /// # Panics
    ///
    /// The server refuses.
    pub async fn abort(&self) -> AbortResponse {
        let aborted = soon("abort", self.service().abort(AbortRequest::default())).await;
        aborted.expect("the session is aborted").into_inner()
    }

    /// What became of a call.
    ///
    /// # Panics
    ///
    /// The server refuses to tell.
    pub async fn query(&self, slot: u32, sequence: u64) -> QueryResponse {
        self.ask(QueryRequest { slot, sequence, ..QueryRequest::default() }).await
    }

    /// Any query.
    ///
    /// # Panics
    ///
    /// The server refuses to tell.
    pub async fn ask(&self, query: QueryRequest) -> QueryResponse {
        soon("query", self.service().query(query)).await.expect("the query is answered").into_inner()
    }
}
