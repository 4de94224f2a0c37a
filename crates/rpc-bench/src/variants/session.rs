//! Ours: `rpc-server` and `rpc-client`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rpc_client::credentials::{Token, from_fn};
use rpc_client::{Builder, Session, Unit, net};
use rpc_server::auth::{JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};
use rpc_server::net::Runtime;
use rpc_server::{Limits, MemoryStore, Server, Store};
use rpc_store::EmbeddedStore;

use super::stubs::shared;
use super::{
    CONCURRENT_STREAMS, CONNECTION_WINDOW_BYTES, EchoNeeds, FRAME_BYTES, FlowNeeds, QUEUE,
    STREAM_WINDOW_BYTES, Serving,
};
use crate::error::BenchError;
use crate::pb::shared as pb;
use crate::worker::Counters;

/// Known to everybody who reads this: the servers that are measured listen on loopback, while they are measured.
const KEY: &[u8; 32] = b"a key that everybody can read...";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "bench";
/// How long an ended session is remembered. Short, and few of the next, so that what is remembered has come to its bounds
/// within a minute, and what grows then is something else.
const RETENTION: Duration = Duration::from_secs(10);
/// Verified tokens that are remembered.
const CACHED_TOKENS_MAX: usize = 256;
/// More sessions than any case opens.
const SESSIONS_MAX: u32 = 4_000_000;
/// More connections than any case makes.
const CONNECTIONS_MAX: usize = 100_000;
/// How long a token is good. The client fetches another in time.
const TOKEN: Duration = Duration::from_secs(600);

/// Serves on one thread of its own, with a store in this directory or in memory.
pub(super) async fn serve(counters: &Arc<Counters>, store: Option<&Path>) -> Result<Serving, BenchError> {
    match store {
        None => serve_on(counters, MemoryStore::new(), false).await,
        Some(path) => serve_on(counters, EmbeddedStore::open(path)?, true).await,
    }
}

async fn serve_on(counters: &Arc<Counters>, store: impl Store, durable: bool) -> Result<Serving, BenchError> {
    let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(KEY).map_err(|e| BenchError::of(&e))?);
    let authenticator =
        JwtAuthenticator::builder().issuer(issuer).cached_tokens_max(CACHED_TOKENS_MAX).build();
    let authenticator = authenticator.map_err(|e| BenchError::of(&e))?;
    let handlers = shared::Handlers::new(counters);
    let mut server = Server::builder()
        .authenticate(authenticator)
        .store(store)
        .service(handlers.echo())
        .service(handlers.flow())
        .service(pb::reread_server::RereadServer::new(handlers.clone()))
        .limits(limits())
        .net(net_of_server());
    if durable {
        server = server.service(pb::durable_echo_server::DurableEchoServer::new(handlers));
    }
    let server = server.bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    let serve = Box::pin(async move {
        server.serve().await?;
        Ok(())
    });
    Ok(Serving { address, serve })
}

/// Room for as many as the cases open, all in one name.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.sessions = SESSIONS_MAX;
    limits.sessions_per_principal = SESSIONS_MAX;
    limits.retention = RETENTION;
    limits
}

/// One thread, as the others have, and the same frames and windows.
fn net_of_server() -> rpc_server::net::Config {
    let mut net = rpc_server::net::Config::default();
    net.runtime = Runtime::PerCore { threads: Some(NonZeroUsize::MIN) };
    net.limits.connections = CONNECTIONS_MAX;
    net.limits.per_address = CONNECTIONS_MAX;
    net.limits.unused = CONNECTIONS_MAX;
    net.http2.concurrent_streams_max = CONCURRENT_STREAMS;
    net.http2.stream_window_bytes = STREAM_WINDOW_BYTES;
    net.http2.connection_window_bytes = CONNECTION_WINDOW_BYTES;
    net.http2.frame_bytes_max = FRAME_BYTES;
    net
}

/// A token for those who open sessions by hand.
///
/// # Errors
///
/// It cannot be made.
pub(crate) fn token() -> Result<String, BenchError> {
    let issuer = JwtIssuer::hs256(KEY, ISSUER, AUDIENCE).map_err(|e| BenchError::of(&e))?;
    issuer.token("bench", &[], TOKEN).map_err(|e| BenchError::of(&e))
}

/// A session that is ready to be opened: this many connections, no service yet.
///
/// # Errors
///
/// The tokens cannot be made.
pub(crate) fn builder(address: SocketAddr, connections: usize) -> Result<Builder, BenchError> {
    let issuer = Arc::new(JwtIssuer::hs256(KEY, ISSUER, AUDIENCE).map_err(|e| BenchError::of(&e))?);
    let credentials = from_fn(move || {
        let issuer = Arc::clone(&issuer);
        async move { Ok(Token::new(issuer.token("bench", &[], TOKEN)?).expires_in(TOKEN)) }
    });
    let net = net::Config::default()
        .connections(connections)
        .frame_bytes_max(FRAME_BYTES)
        .stream_window_bytes(STREAM_WINDOW_BYTES)
        .connection_window_bytes(CONNECTION_WINDOW_BYTES)
        .queue_len(QUEUE);
    Ok(Session::builder(format!("http://{address}")).credentials(credentials).net(net))
}

/// One session over all connections, and its caller.
pub(super) async fn echo(
    address: SocketAddr,
    needs: EchoNeeds,
) -> Result<(Session, shared::EchoCaller<Session>), BenchError> {
    let mut builder = builder(address, needs.connections)?.slots(needs.in_flight as u32);
    builder = if needs.delivery.needs_store() {
        builder.service::<pb::durable_echo_client::DurableEchoClient<Session>>()
    } else {
        builder.service::<pb::echo_client::EchoClient<Session>>()
    };
    let session = builder.open().await?;
    Ok((session.clone(), shared::EchoCaller::new(session, needs)))
}

/// One session over one connection, and its streams.
pub(super) async fn flow(
    address: SocketAddr,
    needs: FlowNeeds,
) -> Result<(Session, shared::FlowCaller<Session>), BenchError> {
    let mut builder = builder(address, 1)?
        .service::<pb::flow_client::FlowClient<Session>>()
        .service::<pb::reread_client::RereadClient<Session>>();
    if needs.blake3 {
        builder = builder.require_unit(Unit::Digest);
    }
    let session = builder.open().await?;
    Ok((session.clone(), shared::FlowCaller::new(session, needs)))
}
