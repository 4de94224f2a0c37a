//! One connection, from the accept to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, error};

use super::drain::Orders;
use super::lifetime::{Life, Step};
use super::limits::Admission;
use super::linger::Lingering;
use super::preface::{self, PrefaceError, Rewind};
use super::service::Introduced;
use super::shared::Shared;
use super::streams::Streams;
use super::{Accepted, CloseReason, Config, ConnectionInfo, Connections, Http2, Notice, Tls, tls};

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
        Ok(Arrival::Plain(io)) => {
            let info = introduce(Vec::new());
            serve(shared, io, info, admission, orders).await;
        }
        Ok(Arrival::Tls(io, certificates)) => {
            let info = introduce(certificates);
            // In a box of its own, so that plain connections do not pay for the room that TLS needs.
            Box::pin(serve(shared, io, info, admission, orders)).await;
        }
        Err(reason) => debug!(?peer, %reason, "connection closed before it spoke HTTP/2"),
    }
}

/// A stream on which the peer has said that it speaks HTTP/2.
enum Arrival<T> {
    Plain(Rewind<T>),
    Tls(Rewind<Box<TlsStream<T>>>, Vec<CertificateDer<'static>>),
}

/// Waits for all that comes before HTTP/2, with the deadlines of `config`.
async fn arrive<T>(config: &Config, io: T) -> Result<Arrival<T>, CloseReason>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Some(tls) = &config.tls else {
        return read_preface(config, io).await.map(Arrival::Plain);
    };
    let io = timeout(config.timeouts.tls_handshake, shake_hands(tls, io))
        .await
        .map_err(|_elapsed| CloseReason::TlsDeadline)??;
    let certificates = io.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let io = read_preface(config, io).await?;
    Ok(Arrival::Tls(io, certificates))
}

//= E-9
async fn read_preface<T: AsyncRead + Unpin>(config: &Config, io: T) -> Result<Rewind<T>, CloseReason> {
    let read = timeout(config.timeouts.preface, preface::read(io)).await;
    read.map_err(|_elapsed| CloseReason::PrefaceDeadline)?.map_err(|error| match error {
        PrefaceError::NotHttp2 => CloseReason::NotHttp2,
        PrefaceError::Closed | PrefaceError::Io(_) => CloseReason::Peer,
    })
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
    io: T,
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
    // In a box: each `async fn` that it is handed to would have room for it twice, for the life of the connection.
    let connection = Box::pin(
        http2_builder(&shared.config.http2, streams.clone())
            .serve_connection(TokioIo::new(Lingering::new(io)), Introduced::new(service, info.clone())),
    );
    let mut life = Life::new(
        Instant::now(),
        shared.config.timeouts.first_request,
        &shared.config.lifetime,
        shared.jitter(info.id()),
    );
    let end = drive(connection, &mut life, &streams, &mut orders, |notice| {
        debug!(connection = %info.id(), reason = %notice.reason, "connection asked to go");
        info.announce(notice);
    })
    .await;
    if matches!(end, End::Cut) {
        shared.count_cut();
    }
    streams.ended().await;
    record.reason = reason(&end, &life);
}

/// What speaks HTTP/2.
type Speaking<T, S> = http2::Connection<TokioIo<Lingering<T>>, Introduced<S>, Streams>;

/// How HTTP/2 on a connection ended.
enum End {
    Itself(hyper::Result<()>),
    Cut,
}

/// Drives the connection, asks it to go when its time comes, and drops it when its time is over. hyper alone would
/// wait for ever for a peer that has gone silent.
async fn drive<T, S>(
    mut connection: Pin<Box<Speaking<T, S>>>,
    life: &mut Life,
    streams: &Streams,
    orders: &mut Orders,
    announce: impl Fn(Notice),
) -> End
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    Introduced<S>: hyper::service::Service<
            http::Request<hyper::body::Incoming>,
            Response = http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        >,
{
    let mut timer = pin!(sleep_until(Instant::now()));
    loop {
        match life.step(Instant::now(), streams.activity()) {
            Step::Cut => return End::Cut,
            Step::Ask(notice) => {
                connection.as_mut().graceful_shutdown();
                announce(notice);
                continue;
            }
            Step::Wait(until) => timer.as_mut().reset(until),
        }
        tokio::select! {
            biased;
            result = connection.as_mut() => return End::Itself(result),
            until = orders.next() => {
                connection.as_mut().graceful_shutdown();
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
        (None, End::Itself(Ok(())) | End::Cut) => CloseReason::Peer,
        (None, End::Itself(Err(error))) if error.is_timeout() => CloseReason::KeepAlive,
        (None, End::Itself(Err(error))) if is_disconnect(error) => CloseReason::Peer,
        (None, End::Itself(Err(error))) => {
            debug!(%error, source = ?std::error::Error::source(error), "HTTP/2 failed");
            CloseReason::Error
        }
    }
}

/// Whether the network or the peer ended it, without HTTP/2 being broken.
fn is_disconnect(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let polite = error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_io() || polite;
        }
        cause = error.source();
    }
    false
}

fn http2_builder(config: &Http2, streams: Streams) -> http2::Builder<Streams> {
    // Both ends of the range are HTTP/2's (RFC 9113, section 4.2); h2 panics beyond them.
    let frame_bytes_max = config.frame_bytes_max.clamp(16_384, 16_777_215);
    let window = |bytes: u32| bytes.min(i32::MAX.unsigned_abs());
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        // gRPC has no use for the header, and HPACK would carry a new one each second.
        .auto_date_header(false)
        .adaptive_window(false)
        .max_concurrent_streams(config.concurrent_streams_max)
        .initial_stream_window_size(window(config.stream_window_bytes))
        .initial_connection_window_size(window(config.connection_window_bytes))
        .max_frame_size(frame_bytes_max)
        .max_header_list_size(config.header_list_bytes_max)
        .max_pending_accept_reset_streams(config.pending_accept_resets_max)
        .max_local_error_reset_streams(config.local_error_resets_max)
        .max_send_buf_size(config.send_buffer_bytes_max.min(u32::MAX as usize))
        .keep_alive_interval(config.keepalive_interval.min(LONGEST))
        .keep_alive_timeout(config.keepalive_timeout.min(LONGEST));
    builder
}

/// Keeps hyper's sums of times within the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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
