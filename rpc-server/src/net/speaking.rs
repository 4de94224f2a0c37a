//! HTTP/2 on one connection: takes its requests and begins their calls.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use rpc_http2::{Incoming, Silence};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Sleep, sleep};
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::Oneshot;
use tower_service::Service;
use tracing::{debug, error};

use super::exchange::Exchange;
use super::linger::Lingering;
use super::streams::Streams;
use super::{ConnectionInfo, Http2};

/// How long a peer that was silent has for the last words to it. A close that waits for the peer's takes a second of it.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How many requests are taken before the first of them is begun.
const BATCH: usize = 64;
/// How many times in one turn of the connection's task. Then others on its thread have theirs.
const BATCHES: usize = 4;

/// A stream on which both sides have said that they speak HTTP/2.
pub(super) struct Spoken<T> {
    /// In a box, which is handed on through the futures of an arrival.
    connection: Box<Connection<Lingering<T>, Bytes>>,
    silence: Option<Silence>,
}

/// Speaks first. The peer has done so.
pub(super) async fn handshake<T>(config: &Http2, io: T) -> Result<Spoken<T>, h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let io = Lingering::new(io);
    let heard = io.heard();
    let mut connection = Box::new(http2_builder(config).handshake(io).await?);
    let silence = connection
        .ping_pong()
        .map(|pings| Silence::new(config.keepalive_interval, config.keepalive_timeout, heard, pings));
    Ok(Spoken { connection, silence })
}

fn http2_builder(config: &Http2) -> h2::server::Builder {
    // Both ends of the range are HTTP/2's (RFC 9113, section 4.2); h2 panics beyond them.
    let frame_bytes_max = config.frame_bytes_max.clamp(16_384, 16_777_215);
    let window = |bytes: u32| bytes.min(i32::MAX.unsigned_abs());
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(config.concurrent_streams_max)
        .initial_window_size(window(config.stream_window_bytes))
        .initial_connection_window_size(window(config.connection_window_bytes))
        .max_frame_size(frame_bytes_max)
        .max_header_list_size(config.header_list_bytes_max)
        .max_pending_accept_reset_streams(config.pending_accept_resets_max)
        .max_local_error_reset_streams(Some(config.local_error_resets_max))
        .max_send_buffer_size(config.send_buffer_bytes_max.min(u32::MAX as usize));
    builder
}

/// A connection that takes requests until its end.
pub(super) struct Speaking<T, S> {
    spoken: Spoken<T>,
    service: S,
    info: ConnectionInfo,
    streams: Streams,
    /// Whether calls are begun on the connection's own task.
    in_place: bool,
    /// How long a peer that was silent may take for our last words.
    last_words: Option<Pin<Box<Sleep>>>,
}

/// How HTTP/2 on a connection ended.
pub(super) enum End {
    /// Both sides were done.
    Done,
    /// The peer no longer answered.
    Silent,
    /// It broke.
    Broken(h2::Error),
    /// Its time was over.
    Cut,
}

/// The future of one request.
type Handling<S> = Oneshot<S, Request<Incoming>>;

impl<T, S> Speaking<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone,
    S::Future: Send + 'static,
    S: Send + 'static,
{
    /// Gives the connection's requests to clones of `service`.
    ///
    /// On a runtime with one thread a call begins in place: what can be answered at once, as a unary call whose record is
    /// in memory mostly can, needs no task of its own. Where there are more threads, calls of one connection should have
    /// them all.
    pub(super) fn new(spoken: Spoken<T>, service: S, info: ConnectionInfo, streams: Streams) -> Self {
        let in_place = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self { spoken, service, info, streams, in_place, last_words: None }
    }

    /// Asks the peer to go: it begins no more calls, and the connection ends with the last.
    pub(super) fn ask_to_go(&mut self) {
        self.spoken.connection.graceful_shutdown();
    }

    /// Takes requests and begins their calls, until the end.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..BATCHES {
            if self.is_given_up(cx) {
                return self.poll_last_words(cx).map(|()| End::Silent);
            }
            // All that have come are taken before the first is begun, since h2 writes what there is each time it is
            // asked for one more: so answers that come at once leave together.
            let mut begun = Vec::new();
            let end = loop {
                match self.spoken.connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => begun.push(self.begin(request, respond)),
                    Poll::Ready(Some(Err(error))) => break Some(End::Broken(error)),
                    Poll::Ready(None) => break Some(End::Done),
                    Poll::Pending => break None,
                }
                if begun.len() == BATCH {
                    break None;
                }
            };
            let more = !begun.is_empty();
            for call in begun {
                self.run(call, cx);
            }
            match end {
                Some(end) => return Poll::Ready(end),
                None if more => {}
                None => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells whether the peer has said nothing for so long that it must be gone.
    fn is_given_up(&mut self, cx: &mut Context<'_>) -> bool {
        if self.last_words.is_none() {
            if !self.spoken.silence.as_mut().is_some_and(|silence| silence.poll_gone(cx).is_ready()) {
                return false;
            }
            // Should it be there after all, it learns which calls were never begun.
            self.spoken.connection.abrupt_shutdown(Reason::NO_ERROR);
            self.last_words = Some(Box::pin(sleep(LAST_WORDS)));
        }
        true
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.spoken.connection.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        self.last_words.as_mut().map_or(Poll::Ready(()), |patience| patience.as_mut().poll(cx))
    }

    /// In a box, because a task is moved a dozen times on its way into the runtime and out of it.
    fn begin(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Pin<Box<Exchange<Handling<S>>>> {
        let mut request = request.map(Incoming::new);
        request.extensions_mut().insert(self.info.clone());
        Box::pin(Exchange::new(self.service.clone().oneshot(request), respond, self.streams.open()))
    }

    fn run(&self, mut call: Pin<Box<Exchange<Handling<S>>>>, cx: &mut Context<'_>) {
        if self.in_place {
            // A panic is the end of its own call, as it would be in a task of its own.
            match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
                Ok(Poll::Ready(())) => return,
                Ok(Poll::Pending) => {}
                Err(_panic) => {
                    debug!(connection = %self.info.id(), "a handler panicked");
                    if catch_unwind(AssertUnwindSafe(|| drop(call))).is_err() {
                        error!(connection = %self.info.id(), "what a handler that panicked left behind panicked, too");
                    }
                    return;
                }
            }
        }
        // The connection waits for the count of its streams. Dropping the connection resets the stream, and the call ends
        // on that.
        drop(tokio::spawn(call));
    }
}
