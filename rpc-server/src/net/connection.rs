//! One connection, from the accept to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use rpc_http2::Incoming;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::body::Body;
use tower_service::Service;
use tracing::{debug, error};

use super::drain::Orders;
use super::lifetime::{Life, Step};
use super::limits::Admission;
use super::preface::{self, PrefaceError, Rewind};
use super::shared::Shared;
use super::speaking::{self, End, Speaking, Spoken};
use super::streams::Streams;
use super::{Accepted, CloseReason, Config, ConnectionInfo, Connections, Notice, Tls, tls};

/// Serves a connection until it ends or its time is over, and waits for its streams.
pub(super) async fn run<C, T>(shared: Arc<Shared<C>>, accepted: Accepted<T>, admission: Admission)
where
    C: Connections,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Accepted { io, peer, local } = accepted;
    let mut orders = shared.handle.orders();
    let arrival = tokio::select! {
        biased;
        // No call can be in flight yet, so there is nothing to wait for.
        _ = orders.next() => Err(CloseReason::Drain),
        // In a box, which is gone afterwards: a connection is longer than its arrival.
        arrival = Box::pin(arrive(&shared.config, io)) => arrival,
    };
    let introduce = |certificates| ConnectionInfo::new(shared.next_id(), peer, local, certificates);
    match arrival {
        Ok(Arrival::Plain(spoken)) => {
            let info = introduce(Vec::new());
            serve(shared, spoken, info, admission, orders).await;
        }
        Ok(Arrival::Tls(spoken, certificates)) => {
            let info = introduce(certificates);
            // In a box of its own, so that plain connections do not pay for the room that TLS needs.
            Box::pin(serve(shared, spoken, info, admission, orders)).await;
        }
        Err(reason) => debug!(?peer, %reason, "connection closed before it spoke HTTP/2"),
    }
}

/// A stream on which both sides have said that they speak HTTP/2.
enum Arrival<T> {
    Plain(Spoken<Rewind<T>>),
    Tls(Spoken<Rewind<Box<TlsStream<T>>>>, Vec<CertificateDer<'static>>),
}

/// Waits for all that comes before HTTP/2, with the deadlines of `config`.
async fn arrive<T>(config: &Config, io: T) -> Result<Arrival<T>, CloseReason>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Some(tls) = &config.tls else {
        return greet(config, io).await.map(Arrival::Plain);
    };
    let io = timeout(config.timeouts.tls_handshake, shake_hands(tls, io))
        .await
        .map_err(|_elapsed| CloseReason::TlsDeadline)??;
    let certificates = io.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    Ok(Arrival::Tls(greet(config, io).await?, certificates))
}

//= E-9
async fn greet<T>(config: &Config, io: T) -> Result<Spoken<Rewind<T>>, CloseReason>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let greeted = async {
        let io = preface::read(io).await.map_err(|error| match error {
            PrefaceError::NotHttp2 => CloseReason::NotHttp2,
            PrefaceError::Closed | PrefaceError::Io(_) => CloseReason::Peer,
        })?;
        speaking::handshake(&config.http2, io).await.map_err(|error| reason_of(&error))
    };
    timeout(config.timeouts.preface, greeted).await.map_err(|_elapsed| CloseReason::PrefaceDeadline)?
}

//= E-9
async fn shake_hands<T>(tls: &Tls, io: T) -> Result<Box<TlsStream<T>>, CloseReason>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsAcceptor::from(tls.current()).accept(io).await.map_err(|error| {
        debug!(%error, "TLS handshake failed");
        CloseReason::TlsHandshake
    })?;
    // rustls refuses a peer that offers other protocols only. One that offers none is refused here.
    if stream.get_ref().1.alpn_protocol() != Some(tls::H2) {
        debug!("TLS peer did not ask for HTTP/2");
        return Err(CloseReason::TlsHandshake);
    }
    Ok(Box::new(stream))
}

/// Speaks HTTP/2.
async fn serve<C, T>(
    shared: Arc<Shared<C>>,
    spoken: Spoken<T>,
    info: ConnectionInfo,
    admission: Admission,
    mut orders: Orders,
) where
    C: Connections,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = shared.connections.open(&info);
    debug!(connection = %info.id(), peer = ?info.peer_addr(), "connection opened");
    // Before what it outlives: locals drop in reverse order, so an aborted task too ends the connection first.
    let mut record = Record { shared: Arc::clone(&shared), info: info.clone(), reason: CloseReason::Aborted };
    let streams = Streams::new(admission);
    let mut speaking = Speaking::new(spoken, service, info.clone(), streams.clone());
    let mut life = Life::new(
        Instant::now(),
        shared.config.timeouts.first_request,
        &shared.config.lifetime,
        shared.jitter(info.id()),
    );
    let end = drive(&mut speaking, &mut life, &streams, &mut orders, |notice| {
        debug!(connection = %info.id(), reason = %notice.reason, "connection asked to go");
        info.announce(notice);
    })
    .await;
    // The streams of calls that still run are reset by it.
    drop(speaking);
    if matches!(end, End::Cut) {
        shared.count_cut();
    }
    streams.ended().await;
    record.reason = reason(&end, &life);
}

/// Drives the connection, asks it to go when its time comes, and ends it when its time is over: h2 alone would wait for
/// ever for a peer that has gone silent.
async fn drive<T, S>(
    speaking: &mut Speaking<T, S>,
    life: &mut Life,
    streams: &Streams,
    orders: &mut Orders,
    announce: impl Fn(Notice),
) -> End
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
{
    let mut timer = pin!(sleep_until(Instant::now()));
    loop {
        match life.step(Instant::now(), streams.activity()) {
            Step::Cut => return End::Cut,
            Step::Ask(notice) => {
                speaking.ask_to_go();
                announce(notice);
                continue;
            }
            Step::Wait(until) => timer.as_mut().reset(until),
        }
        tokio::select! {
            biased;
            end = poll_fn(|cx| speaking.poll_end(cx)) => return end,
            until = orders.next() => {
                speaking.ask_to_go();
                announce(life.drain(until));
            }
            () = timer.as_mut() => {}
        }
    }
}

/// The first cause counts: what follows a GOAWAY of ours happened because of it.
fn reason(end: &End, life: &Life) -> CloseReason {
    match (life.asked(), end) {
        (Some(asked), _) => asked,
        (None, End::Done | End::Cut) => CloseReason::Peer,
        (None, End::Silent) => CloseReason::KeepAlive,
        (None, End::Broken(error)) => reason_of(error),
    }
}

/// Whether the network or the peer ended it, or HTTP/2 was broken.
fn reason_of(error: &h2::Error) -> CloseReason {
    let polite = error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    if error.is_io() || polite {
        return CloseReason::Peer;
    }
    debug!(%error, "HTTP/2 failed");
    CloseReason::Error
}

/// Tells of the end of a connection, once, even if its task is aborted or panics.
struct Record<C: Connections> {
    shared: Arc<Shared<C>>,
    info: ConnectionInfo,
    reason: CloseReason,
}

impl<C: Connections> Drop for Record<C> {
    fn drop(&mut self) {
        let Self { shared, info, reason } = self;
        // A panic here, during another one, would end the process.
        if catch_unwind(AssertUnwindSafe(|| shared.connections.closed(info, *reason))).is_err() {
            error!(connection = %info.id(), "the hook for closed connections panicked");
        }
        info.announce_closed(*reason);
        debug!(connection = %info.id(), %reason, "connection closed");
    }
}
