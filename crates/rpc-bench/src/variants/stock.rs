//! tonic's own server and channel, twice: as users start them, and at their best.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Channel, Endpoint, Server};

use super::stubs::{owned, shared};
use super::{
    CONCURRENT_STREAMS, CONNECTION_WINDOW_BYTES, EchoNeeds, FRAME_BYTES, FlowNeeds, QUEUE,
    STREAM_WINDOW_BYTES, Serving,
};
use crate::error::BenchError;
use crate::worker::Counters;

/// All defaults.
pub(super) fn serve(counters: &Arc<Counters>) -> Result<Serving, BenchError> {
    let handlers = owned::Handlers::new(counters);
    listen(Server::builder().add_service(handlers.echo()).add_service(handlers.flow()))
}

/// What makes it fast.
pub(super) fn serve_best(counters: &Arc<Counters>) -> Result<Serving, BenchError> {
    let handlers = shared::Handlers::new(counters);
    let mut server = Server::builder()
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CONCURRENT_STREAMS);
    listen(server.add_service(handlers.echo()).add_service(handlers.flow()))
}

/// What `Server::serve` does, on a port of the system's choice.
fn listen(router: Router) -> Result<Serving, BenchError> {
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
    let address = incoming.local_addr()?;
    let serve = Box::pin(async move { Ok(router.serve_with_incoming(incoming).await?) });
    Ok(Serving { address, serve })
}

fn endpoint(address: SocketAddr) -> Result<Endpoint, BenchError> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?)
}

pub(super) fn endpoint_best(address: SocketAddr) -> Result<Endpoint, BenchError> {
    let endpoint = endpoint(address)?
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .buffer_size(QUEUE);
    Ok(endpoint)
}

async fn channels(endpoint: &Endpoint, count: usize) -> Result<Vec<Channel>, BenchError> {
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// Callers with all defaults, one for each connection.
pub(super) async fn echo(
    address: SocketAddr,
    needs: EchoNeeds,
) -> Result<Vec<owned::EchoCaller<Channel>>, BenchError> {
    let channels = channels(&endpoint(address)?, needs.connections).await?;
    Ok(channels.into_iter().map(|channel| owned::EchoCaller::new(channel, needs)).collect())
}

/// Callers at their best, one for each connection.
pub(super) async fn echo_best(
    address: SocketAddr,
    needs: EchoNeeds,
) -> Result<Vec<shared::EchoCaller<Channel>>, BenchError> {
    let channels = channels(&endpoint_best(address)?, needs.connections).await?;
    Ok(channels.into_iter().map(|channel| shared::EchoCaller::new(channel, needs)).collect())
}

/// Streams with all defaults.
pub(super) async fn flow(
    address: SocketAddr,
    needs: FlowNeeds,
) -> Result<owned::FlowCaller<Channel>, BenchError> {
    Ok(owned::FlowCaller::new(endpoint(address)?.connect().await?, needs))
}

/// Streams at their best.
pub(super) async fn flow_best(
    address: SocketAddr,
    needs: FlowNeeds,
) -> Result<shared::FlowCaller<Channel>, BenchError> {
    Ok(shared::FlowCaller::new(endpoint_best(address)?.connect().await?, needs))
}
