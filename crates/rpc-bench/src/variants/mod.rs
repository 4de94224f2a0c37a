//! Who is measured. Each serves the same handlers, and calls them with the same messages.

pub(crate) mod bare;
pub(crate) mod raw;
pub(crate) mod reached;
pub(crate) mod session;
mod source;
mod stock;
pub(crate) mod stubs;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::StdError;

pub(crate) use source::Source;

use crate::cases::streams::Points;
use crate::cases::unary::Delivery;
use crate::error::BenchError;
use crate::payload::Tally;
use crate::worker::Counters;

/// Largest frame, of all but [`Variant::Tonic`].
const FRAME_BYTES: u32 = 64 << 10;
/// Window of a stream, of all but [`Variant::Tonic`].
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Window of a connection, of all but [`Variant::Tonic`].
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Streams of a connection, of all but [`Variant::Tonic`]: more than the cases have in flight, so that no call waits for
/// another to end.
const CONCURRENT_STREAMS: u32 = 1_024;
/// Requests in front of a connection, of all but [`Variant::Tonic`] and [`Variant::H2`].
const QUEUE: usize = 16;

/// Who serves and calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Variant {
    /// tonic as users start it: the work-stealing runtime, all defaults, the allocator of the system, `Vec<u8>`.
    Tonic,
    /// tonic at its best: `current_thread`, mimalloc, frames of 64 KiB, windows of 4 and 16 MiB, a queue of 16 in front of
    /// the connection, `Bytes`.
    TonicBest,
    /// The h2 crate alone: `current_thread`, mimalloc, the same frames and windows. No router, codec, stub or deadline: the
    /// floor of whatever is built on it.
    H2,
    /// Ours: `current_thread`, mimalloc, the same frames, windows and queue, `Bytes`.
    Session,
}

impl Variant {
    /// The runtime that its users would give it.
    ///
    /// # Errors
    ///
    /// The system has no threads left.
    pub(crate) fn runtime(self) -> std::io::Result<tokio::runtime::Runtime> {
        match self {
            Self::Tonic => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
            Self::TonicBest | Self::H2 | Self::Session => {
                tokio::runtime::Builder::new_current_thread().enable_all().build()
            }
        }
    }

    /// What its users would give it.
    pub(crate) fn allocator(self) -> Allocator {
        match self {
            Self::Tonic => Allocator::System,
            Self::TonicBest | Self::H2 | Self::Session => Allocator::Mimalloc,
        }
    }
}

/// What allocates memory, which is decided when a program is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allocator {
    /// The allocator of the system.
    System,
    /// mimalloc.
    Mimalloc,
}

/// A server that listens, and what serves.
pub(crate) struct Serving {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Ends only by an error.
    pub(crate) serve: BoxFuture<'static, Result<(), BenchError>>,
}

/// Listens on loopback, with a store in this directory or in memory.
///
/// # Errors
///
/// The server does not start, or has no use for a store.
pub(crate) async fn serve(
    variant: Variant,
    counters: &Arc<Counters>,
    store: Option<&Path>,
) -> Result<Serving, BenchError> {
    match (variant, store) {
        (Variant::Tonic, None) => stock::serve(counters),
        (Variant::TonicBest, None) => stock::serve_best(counters),
        (Variant::H2, None) => raw::serve(counters).await,
        (Variant::Session, store) => session::serve(counters, store).await,
        (Variant::Tonic | Variant::TonicBest | Variant::H2, Some(_)) => {
            Err(BenchError::new("only sessions are kept in a store"))
        }
    }
}

/// What stubs are made on.
pub(crate) trait Transport:
    GrpcService<
        Body,
        Error: Into<StdError>,
        ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl Transport for tonic::transport::Channel {}
impl Transport for rpc_client::Session {}

/// Calls with one message each way.
pub(crate) trait Echo: Clone + Send + 'static {
    /// Sends the message of this index and compares what comes back.
    fn echo(&mut self, index: u64) -> impl Future<Output = Result<(), BenchError>> + Send;
}

/// Streams.
pub(crate) trait Flow: Send + 'static {
    /// Takes responses that the server makes for so long, and compares each.
    fn down(&mut self, time: Duration) -> impl Future<Output = Result<Tally, BenchError>> + Send;

    /// Makes requests for so long, and compares the receipt.
    fn up(&mut self, time: Duration) -> impl Future<Output = Result<Tally, BenchError>> + Send;

    /// Makes requests for so long, and compares each response that comes back meanwhile.
    fn both(&mut self, time: Duration) -> impl Future<Output = Result<Tally, BenchError>> + Send;
}

/// Something that is done with callers, whoever they are.
pub(crate) trait WithEcho {
    /// What comes of it.
    type Output;

    /// Does it, with a caller for each connection.
    fn with<E: Echo>(self, callers: Vec<E>) -> Self::Output;
}

/// The same with streams.
pub(crate) trait WithFlow {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with<F: Flow>(self, caller: F) -> Self::Output;
}

/// What callers are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EchoNeeds {
    /// Connections.
    pub(crate) connections: usize,
    /// Outstanding calls at the same time, over all connections.
    pub(crate) in_flight: usize,
    /// What the calls promise.
    pub(crate) delivery: Delivery,
    /// Encoded size of each message.
    pub(crate) size: usize,
}

/// What streams are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowNeeds {
    /// Where sync points are placed.
    pub(crate) points: Points,
    /// Encoded size of each message.
    pub(crate) size: usize,
    /// Whether the two sides compare BLAKE3 beside CRC32C.
    pub(crate) blake3: bool,
}

/// A connected client, and its session if it has one.
pub(crate) struct Connected<T> {
    /// What was made of it.
    pub(crate) made: T,
    /// To be released when it is not needed any more.
    pub(crate) session: Option<rpc_client::Session>,
}

/// Connects, and makes something of the callers.
///
/// # Errors
///
/// The server is not to be reached, or the variant does not promise that.
pub(crate) async fn echo<W: WithEcho>(
    variant: Variant,
    address: SocketAddr,
    needs: EchoNeeds,
    with: W,
) -> Result<Connected<W::Output>, BenchError> {
    if variant != Variant::Session && needs.delivery != Delivery::Plain {
        return Err(BenchError::new("only sessions promise something"));
    }
    let made = match variant {
        Variant::Tonic => with.with(stock::echo(address, needs).await?),
        Variant::TonicBest => with.with(stock::echo_best(address, needs).await?),
        Variant::H2 => with.with(raw::echo(address, needs).await?),
        Variant::Session => {
            let (session, caller) = session::echo(address, needs).await?;
            return Ok(Connected { made: with.with(vec![caller]), session: Some(session) });
        }
    };
    Ok(Connected { made, session: None })
}

/// The same with streams.
///
/// # Errors
///
/// The server is not to be reached, or the variant does not promise that.
pub(crate) async fn flow<W: WithFlow>(
    variant: Variant,
    address: SocketAddr,
    needs: FlowNeeds,
    with: W,
) -> Result<Connected<W::Output>, BenchError> {
    if variant != Variant::Session && needs.points != Points::None {
        return Err(BenchError::new("only sessions have sync points"));
    }
    let made = match variant {
        Variant::Tonic => with.with(stock::flow(address, needs).await?),
        Variant::TonicBest => with.with(stock::flow_best(address, needs).await?),
        Variant::H2 => with.with(raw::flow(address, needs).await?),
        Variant::Session => {
            let (session, caller) = session::flow(address, needs).await?;
            return Ok(Connected { made: with.with(caller), session: Some(session) });
        }
    };
    Ok(Connected { made, session: None })
}
