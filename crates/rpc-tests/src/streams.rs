//! Handlers of streams that outlive their connections. Each checks that what it gets is gapless and comes once.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::pb::streams::v1::test_streams_server::TestStreams;
use crate::pb::streams::v1::{self as pb, Chunk, Summary};

/// The service. It knows nothing of connections, attempts or sync points.
#[derive(Debug, Clone, Copy)]
pub struct Streams;

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

    /// What a whole upload is answered with.
    pub fn summary(self) -> Summary {
        Summary { chunks: self.chunks, checksum: self.checksum }
    }
}

/// A download panics before the chunk with this index.
pub const PANICS_AT: u64 = 1_000_000;

/// Chunks with the error that ends them.
type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

#[tonic::async_trait]
impl TestStreams for Streams {
    async fn upload(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Summary>, Status> {
        let mut chunks = request.into_inner();
        let mut tally = Tally::default();
        while let Some(chunk) = chunks.message().await? {
            tally.add(&chunk)?;
        }
        Ok(Response::new(tally.summary()))
    }

    type DownloadStream = Chunks;

    async fn download(&self, request: Request<pb::Request>) -> Result<Response<Chunks>, Status> {
        let pb::Request { chunks, payload_bytes } = request.into_inner();
        if chunks == 0 {
            return Err(Status::invalid_argument("no chunks are wanted"));
        }
        let chunks = futures_util::stream::iter((0..chunks).map(move |index| {
            assert!(index != PANICS_AT, "so many chunks want the handler to panic");
            Ok(chunk(index, payload_bytes))
        }));
        Ok(Response::new(Box::pin(chunks)))
    }

    type ChatStream = Chunks;

    async fn chat(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Chunks>, Status> {
        let mut tally = Tally::default();
        let chunks = request.into_inner().map(move |chunk| {
            let chunk = chunk?;
            tally.add(&chunk)?;
            Ok(chunk)
        });
        let mut response = Response::new(Box::pin(chunks) as Chunks);
        response.metadata_mut().insert("x-handler", tonic::metadata::MetadataValue::from_static("chat"));
        Ok(response)
    }
}
