//! Handlers of streams that outlive their connections. Each checks that what it gets is gapless and comes once.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::pb::streams::v1::test_streams_server::TestStreams;
use crate::pb::streams::v1::{self as pb, Chunk, Summary};

/// The service. It knows nothing of connections, attempts or sync points.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    /// Chunks that all uploads and chats have taken so far.
    seen: watch::Sender<u64>,
}

impl Streams {
    /// How many chunks the handlers of uploads and chats have taken, now and whenever one is taken.
    pub fn seen(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    fn saw(&self) {
        self.seen.send_modify(|chunks| *chunks += 1);
    }
}

/// Metadata of a request that wants its answer before the handler has read anything, here and of the ledger.
pub const EARLY: &str = "x-early";

/// Whether the answer is to come before the request has been read.
pub(crate) fn is_early<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(EARLY)
}

/// The chunk of this index, the same on both sides.
pub fn chunk(index: u64, payload_bytes: u32) -> Chunk {
    let payload = (0..u64::from(payload_bytes)).map(|at| (index.wrapping_mul(31) + at) as u8).collect();
    Chunk { index, payload }
}

/// What has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    chunks: u64,
    checksum: u64,
}

impl Tally {
    /// Counts a chunk.
    ///
    /// # Errors
    ///
    /// DATA_LOSS: it is not the next one.
    pub fn add(&mut self, chunk: &Chunk) -> Result<(), Status> {
        if chunk.index != self.chunks {
            return Err(Status::data_loss(format!("chunk {} instead of {}", chunk.index, self.chunks)));
        }
        self.chunks += 1;
        for byte in &chunk.payload {
            self.checksum = self.checksum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
        Ok(())
    }

    /// What it needs to go on counting.
    pub fn state(self) -> Vec<u8> {
        [self.chunks.to_be_bytes(), self.checksum.to_be_bytes()].concat()
    }

    /// Goes on counting.
    ///
    /// # Errors
    ///
    /// DATA_LOSS: that is no state.
    pub fn from_state(state: &[u8]) -> Result<Self, Status> {
        let no_state = || Status::data_loss(format!("a state of {} bytes", state.len()));
        let (chunks, checksum) = state.split_first_chunk().ok_or_else(no_state)?;
        let checksum = checksum.try_into().map_err(|_| no_state())?;
        Ok(Self { chunks: u64::from_be_bytes(*chunks), checksum: u64::from_be_bytes(checksum) })
    }

    /// What a whole upload is answered with.
    pub fn summary(self) -> Summary {
        Summary { chunks: self.chunks, checksum: self.checksum }
    }
}

/// What a whole transfer of so many chunks adds up to.
///
/// # Panics
///
/// Never: the chunks come in their order.
pub fn tally(count: u64, payload_bytes: u32) -> Tally {
    let mut tally = Tally::default();
    (0..count).for_each(|index| tally.add(&chunk(index, payload_bytes)).expect("chunks in their order"));
    tally
}

/// Reads to the end, each chunk once and in order.
///
/// # Errors
///
/// What ends the chunks, or DATA_LOSS as [`Tally::add`].
pub async fn read(mut chunks: impl Stream<Item = Result<Chunk, Status>> + Unpin) -> Result<Tally, Status> {
    let mut tally = Tally::default();
    while let Some(chunk) = chunks.next().await {
        tally.add(&chunk?)?;
    }
    Ok(tally)
}

/// A download panics before the chunk with this index.
pub const PANICS_AT: u64 = 1_000_000;

/// Chunks with the error that ends them.
type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

#[tonic::async_trait]
impl TestStreams for Streams {
    async fn upload(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Summary>, Status> {
        let mut tally = Tally::default();
        if is_early(&request) {
            return Ok(Response::new(tally.summary()));
        }
        let mut chunks = request.into_inner();
        while let Some(chunk) = chunks.message().await? {
            tally.add(&chunk)?;
            self.saw();
        }
        Ok(Response::new(tally.summary()))
    }

    type DownloadStream = Chunks;

    async fn download(&self, request: Request<pb::Request>) -> Result<Response<Chunks>, Status> {
        let pb::Request { chunks, payload_bytes, pause_ms } = request.into_inner();
        let pause = Duration::from_millis(pause_ms.into());
        if chunks == 0 {
            return Err(Status::invalid_argument("no chunks are wanted"));
        }
        let chunks = futures_util::stream::iter((0..chunks).map(move |index| {
            assert!(index != PANICS_AT, "so many chunks want the handler to panic");
            Ok(chunk(index, payload_bytes))
        }));
        if pause.is_zero() {
            return Ok(Response::new(Box::pin(chunks)));
        }
        Ok(Response::new(Box::pin(chunks.then(move |chunk| async move {
            tokio::time::sleep(pause).await;
            chunk
        }))))
    }

    type ChatStream = Chunks;

    async fn chat(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Chunks>, Status> {
        if is_early(&request) {
            return Ok(Response::new(Box::pin(futures_util::stream::empty())));
        }
        let mut tally = Tally::default();
        let streams = self.clone();
        let chunks = request.into_inner().map(move |chunk| {
            let chunk = chunk?;
            tally.add(&chunk)?;
            streams.saw();
            Ok(chunk)
        });
        let mut response = Response::new(Box::pin(chunks) as Chunks);
        response.metadata_mut().insert("x-handler", tonic::metadata::MetadataValue::from_static("chat"));
        Ok(response)
    }
}
