//! Handlers that work with sync points, and what tests see and hold of them.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use rpc_server::{CheckpointsExt as _, Item, Outgoing};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::pb::streams::v1::Chunk;
use crate::pb::vault::v1::vault_server::Vault as Service;
use crate::pb::vault::v1::{FetchRequest, Stored};
use crate::soon;
use crate::streams::{Tally, chunk};

/// Metadata of a request: how many bytes the reply is to be longer.
pub const FILLER: &str = "x-filler";
/// Chunks between two sync points of a download.
pub const POINT_CHUNKS: u64 = 10;

/// The service. A cheap clone; all share what is seen and held.
#[derive(Debug, Clone, Default)]
pub struct Vault(Arc<watch::Sender<Seen>>);

/// What the handlers have done, and whether they may go on.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Chunks that were taken.
    pub chunks: u64,
    /// Points that were secured.
    pub points: u64,
    /// Handlers at work.
    pub at_work: u32,
    /// Most of them at one time.
    pub most_at_work: u32,
    /// Handlers that came to their end.
    pub ended: u32,
    /// Errors with which requests ended.
    pub failures: u32,
    /// With how many chunks secured the last handler began.
    pub began_with: u64,
    held: bool,
}

impl Vault {
    /// From now on handlers wait before they answer.
    pub fn hold(&self) {
        self.0.send_modify(|seen| seen.held = true);
    }

    /// They go on.
    pub fn let_go(&self) {
        self.0.send_modify(|seen| seen.held = false);
    }

    /// What was done so far.
    pub fn seen(&self) -> Seen {
        self.0.borrow().clone()
    }

    /// Waits until that has been done.
    ///
    /// # Panics
    ///
    /// It is not done in time.
    pub async fn until(&self, what: &str, done: impl FnMut(&Seen) -> bool) {
        let mut seen = self.0.subscribe();
        let _ = soon(what, seen.wait_for(done)).await;
    }

    async fn stored(&self, tally: Tally, filler: usize) -> Response<Stored> {
        let mut seen = self.0.subscribe();
        let _ = seen.wait_for(|seen| !seen.held).await;
        self.0.send_modify(|seen| seen.ended += 1);
        let filler = vec![7; filler];
        Response::new(Stored { summary: Some(tally.summary()), filler })
    }

    fn failed(&self, status: Status) -> Status {
        self.0.send_modify(|seen| seen.failures += 1);
        status
    }

    /// Takes everything, and secures each point with what it has.
    async fn secure(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        let filler = filler(&request);
        let mut chunks = request.into_checkpointed()?;
        let _at_work = AtWork::new(self);
        let resumed = chunks.resumed().map(|resumed| resumed.state().clone());
        let mut tally = resumed.map_or(Ok(Tally::default()), |state| Tally::from_state(&state))?;
        self.0.send_modify(|seen| seen.began_with = tally.summary().chunks);
        while let Some(item) = chunks.next().await.map_err(|status| self.failed(status))? {
            match item {
                Item::Message(chunk) => {
                    tally.add(&chunk)?;
                    self.0.send_modify(|seen| seen.chunks += 1);
                }
                Item::SyncPoint(point) => {
                    point.secure(tally.state()).await?;
                    self.0.send_modify(|seen| seen.points += 1);
                }
            }
        }
        Ok(self.stored(tally, filler).await)
    }

    /// Takes everything as an ordinary handler does.
    async fn take(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        let filler = filler(&request);
        let _at_work = AtWork::new(self);
        let (mut chunks, mut tally) = (request.into_inner(), Tally::default());
        while let Some(chunk) = chunks.message().await.map_err(|status| self.failed(status))? {
            tally.add(&chunk)?;
            self.0.send_modify(|seen| seen.chunks += 1);
        }
        Ok(self.stored(tally, filler).await)
    }
}

fn filler<T>(request: &Request<T>) -> usize {
    let text = request.metadata().get(FILLER).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Counts a handler for as long as it is there.
struct AtWork(Vault);

impl AtWork {
    fn new(vault: &Vault) -> Self {
        vault.0.send_modify(|seen| {
            seen.at_work += 1;
            seen.most_at_work = seen.most_at_work.max(seen.at_work);
        });
        Self(vault.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.0.send_modify(|seen| seen.at_work -= 1);
    }
}

#[tonic::async_trait]
impl Service for Vault {
    async fn store(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.secure(request).await
    }

    async fn store_stoppable(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.secure(request).await
    }

    async fn ignore(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.take(request).await
    }

    async fn note(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.secure(request).await
    }

    type FetchStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let checkpoints = request.checkpoints()?;
        let at_work = AtWork::new(self);
        let first = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
        self.0.send_modify(|seen| seen.began_with = first);
        let chunks = request.into_inner().chunks;
        let items = (first..chunks).flat_map(|index| {
            let message = Outgoing::Message(chunk(index, 100));
            let point = (index % POINT_CHUNKS == POINT_CHUNKS - 1)
                .then(|| Outgoing::SyncPoint(index.to_be_bytes().to_vec().into()));
            [Some(Ok(message)), point.map(Ok)].into_iter().flatten()
        });
        let vault = self.clone();
        let end = stream::once(async move {
            let mut seen = vault.0.subscribe();
            let _ = seen.wait_for(|seen| !seen.held).await;
            vault.0.send_modify(|seen| seen.ended += 1);
            drop(at_work);
            stream::empty()
        });
        let items = stream::iter(items);
        let all = futures_util::StreamExt::chain(items, futures_util::StreamExt::flatten(end));
        Ok(Response::new(Box::pin(checkpoints.outgoing_results(all))))
    }

    async fn guarded(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.take(request).await
    }
}
