//! Uploads whose source fails: their call ends with the error, and never as if that were all.

use std::pin::Pin;

use futures_util::Stream;
use rpc_client::{Checkpoints, Outgoing};
use rpc_tests::pb::streams::v1::test_streams_server::{TestStreams, TestStreamsServer};
use rpc_tests::pb::streams::v1::{Chunk, Request, Summary};
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use rpc_tests::streams::Streams;
use tokio::sync::mpsc;
use tokio_stream::iter;
use tonic::{Code, Response, Status, Streaming};

use super::rereading::pages;
use super::{Client, open};

/// Says of each upload how it ended for its handler: whether it has all of it.
#[derive(Debug, Clone)]
struct Uploads {
    streams: Streams,
    ended: mpsc::UnboundedSender<bool>,
}

/// A handler, which may be dropped.
struct Handler {
    is_whole: bool,
    ended: mpsc::UnboundedSender<bool>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.ended.send(self.is_whole);
    }
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

#[tonic::async_trait]
impl TestStreams for Uploads {
    async fn upload(&self, request: tonic::Request<Streaming<Chunk>>) -> Result<Response<Summary>, Status> {
        let mut handler = Handler { is_whole: false, ended: self.ended.clone() };
        let answer = self.streams.upload(request).await;
        handler.is_whole = answer.is_ok();
        answer
    }

    type DownloadStream = Chunks;

    async fn download(&self, request: tonic::Request<Request>) -> Result<Response<Chunks>, Status> {
        self.streams.download(request).await
    }

    type ChatStream = Chunks;

    async fn chat(&self, request: tonic::Request<Streaming<Chunk>>) -> Result<Response<Chunks>, Status> {
        self.streams.chat(request).await
    }
}

#[tokio::test]
async fn an_upload_whose_source_fails_ends_with_the_error_of_the_source() {
    for reads_again in [false, true] {
        let (ended, mut told) = mpsc::unbounded_channel();
        let service = TestStreamsServer::new(Uploads { streams: Streams::default(), ended });
        let server = TestServer::start_with(|builder| builder.service(service)).await;
        let mut client = Client::new(open(server.address()).await);
        let source = |after| {
            let error = Err::<Outgoing<Chunk>, _>(Status::data_loss("the disk"));
            iter(pages(after, 500, 50).map(Ok).chain([error]))
        };
        let checkpoints = Checkpoints::new();
        let messages: Pin<Box<dyn Stream<Item = Chunk> + Send>> = if reads_again {
            Box::pin(checkpoints.reread(source))
        } else {
            Box::pin(checkpoints.outgoing(source(0)))
        };
        let request = checkpoints.request(messages);
        let status = soon("the upload", client.upload(request)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::DataLoss, "the disk"), "{reads_again}");
        assert_eq!(soon("the handler", told.recv()).await, Some(false), "it took a part for the whole");
    }
}
