//! Sessions without a client that keeps them: opened and used by hand over tonic, many on one connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use rpc_core::id::{SessionId, Ticket};
use rpc_proto::headers::{SESSION, SESSION_TICKET, session_value, ticket_value};
use rpc_proto::pb::session::v1::session_service_client::SessionServiceClient;
use rpc_proto::pb::session::v1::{OpenRequest, Unit};
use tonic::Request;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;

use super::{session, stock};
use crate::error::BenchError;
use crate::payload;
use crate::pb::shared as pb;

/// Encoded size of the messages of calls, in bytes.
const MESSAGE_BYTES: usize = 16;

/// One connection, by which sessions are opened and used. Clones are on the same.
#[derive(Clone)]
pub(crate) struct Bare {
    sessions: SessionServiceClient<Channel>,
    echo: pb::echo_client::EchoClient<Channel>,
    token: AsciiMetadataValue,
    openings: Arc<AtomicU64>,
    /// What tells these openings from those of other processes and connections.
    origin: u64,
}

/// A session that is open.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    /// Its number.
    pub(crate) number: u64,
    /// What a call in it has to say.
    proofs: MetadataMap,
}

/// How long a session is to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Without traffic.
    pub(crate) lease: Duration,
    /// Without a connection.
    pub(crate) linger: Duration,
}

impl Bare {
    /// Connects, as tonic does at its best.
    ///
    /// # Errors
    ///
    /// The server is not to be reached.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, BenchError> {
        let channel = stock::endpoint_best(address)?.connect().await?;
        let token = format!("Bearer {}", session::token()?);
        Ok(Self {
            sessions: SessionServiceClient::new(channel.clone()),
            echo: pb::echo_client::EchoClient::new(channel),
            token: token.parse().map_err(|_| BenchError::new("the token is no header"))?,
            openings: Arc::default(),
            origin: origin(),
        })
    }

    /// Opens a session that was not there before.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub(crate) async fn open(&mut self, kept: Kept) -> Result<Owned, BenchError> {
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        let nonce = [self.origin.to_be_bytes(), opening.to_be_bytes()].concat();
        let mut request = Request::new(OpenRequest {
            nonce: nonce.into(),
            units: vec![Unit::ExactlyOnce.into(), Unit::Duplex.into()],
            lease: kept.lease.try_into().ok(),
            linger: kept.linger.try_into().ok(),
            ..OpenRequest::default()
        });
        request.metadata_mut().insert("authorization", self.token.clone());
        let opened = self.sessions.open(request).await?.into_inner();
        let ticket = <[u8; 32]>::try_from(&*opened.ticket);
        match (SessionId::new(opened.number), ticket) {
            (Some(number), Ok(ticket)) if !opened.existing => {
                let mut proofs = HeaderMap::new();
                proofs.insert(SESSION, session_value(number));
                proofs.insert(SESSION_TICKET, ticket_value(&Ticket(ticket)));
                Ok(Owned { number: opened.number, proofs: MetadataMap::from_headers(proofs) })
            }
            _ => Err(BenchError::new("the opening was answered with something else than a new session")),
        }
    }

    /// Makes a plain call in the session, which the connection carries from then on.
    ///
    /// # Errors
    ///
    /// The session is not there, or the answer is wrong.
    pub(crate) async fn call(&mut self, owned: &Owned) -> Result<(), BenchError> {
        let (message, request) = request(owned);
        answered(&message, self.echo.plain(request).await?.into_inner())
    }

    /// Makes the first AT_MOST_ONCE call of the session, of which the server keeps the reply.
    ///
    /// # Errors
    ///
    /// The session is not there, or the answer is wrong.
    pub(crate) async fn first_protected_call(&mut self, owned: &Owned) -> Result<(), BenchError> {
        let (message, mut request) = request(owned);
        request.metadata_mut().insert("session-call", AsciiMetadataValue::from_static("0.1.0"));
        answered(&message, self.echo.at_most_once(request).await?.into_inner())
    }
}

fn request(owned: &Owned) -> (pb::Payload, Request<pb::Payload>) {
    let message = pb::Payload { index: owned.number, data: payload::data(MESSAGE_BYTES).into() };
    let mut request = Request::new(message.clone());
    *request.metadata_mut() = owned.proofs.clone();
    (message, request)
}

fn answered(sent: &pb::Payload, reply: pb::Payload) -> Result<(), BenchError> {
    if *sent != reply {
        return Err(BenchError::new(format!(
            "call in session {} was answered with another's reply",
            sent.index
        )));
    }
    Ok(())
}

/// A number that no other connection of this run has.
fn origin() -> u64 {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64)
        ^ (u64::from(std::process::id()) << 40)
        ^ CONNECTIONS.fetch_add(1, Ordering::Relaxed)
}
