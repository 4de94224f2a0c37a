//! Handlers that hold secrets, print all that they are given, and fail in each way.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use rpc_server::{CheckpointsExt as _, Item, Outgoing, SessionExt as _};
use rpc_tests::pb::streams::v1::Chunk;
use rpc_tests::pb::vault::v1::vault_server::Vault;
use rpc_tests::pb::vault::v1::{FetchRequest, Stored};
use tonic::{Request, Response, Status, Streaming};

use super::canaries::{PANIC, PAYLOAD, SERVER_STATE};
use super::log::Log;

pub(crate) struct Keeper(pub(crate) Log);

impl Keeper {
    fn print<T>(&self, request: &Request<T>) {
        self.0.write("handlers", &format!("{:?} {:?}", request.session(), request.cancellation()));
    }

    async fn keep(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.print(&request);
        let mut chunks = request.into_checkpointed()?;
        self.0.write("handlers", &format!("{chunks:?} {:?}", chunks.resumed()));
        while let Some(item) = chunks.next().await? {
            self.0.write("handlers", &format!("{item:?}"));
            if let Item::SyncPoint(point) = item {
                point.secure(SERVER_STATE).await?;
            }
        }
        Ok(Response::new(Stored { summary: None, filler: PAYLOAD.into() }))
    }
}

pub(crate) fn chunk(index: u64) -> Chunk {
    Chunk { index, payload: PAYLOAD.into() }
}

#[tonic::async_trait]
impl Vault for Keeper {
    async fn store(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.keep(request).await
    }

    async fn store_stoppable(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        let failed = self.keep(request).await?;
        drop(failed);
        Err(Status::failed_precondition("the handler does not want it"))
    }

    async fn ignore(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.print(&request);
        panic!("{PANIC}");
    }

    async fn note(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.keep(request).await
    }

    type FetchStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        self.print(&request);
        let checkpoints = request.checkpoints()?;
        let last = request.into_inner().chunks;
        let items = futures_util::stream::iter(0..last).flat_map(|index| {
            let items = [Outgoing::Message(chunk(index)), Outgoing::SyncPoint(SERVER_STATE.into())];
            futures_util::stream::iter(items.map(Ok))
        });
        self.0.write("handlers", &format!("{checkpoints:?} {:?}", checkpoints.resumption()));
        Ok(Response::new(Box::pin(checkpoints.outgoing_results(items))))
    }

    async fn guarded(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Stored>, Status> {
        self.keep(request).await
    }
}
