//! Sources that are read again where something is missing, so that nothing is kept of what was sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use rpc_client::{Checkpoints, OutcomeExt as _, Outgoing, Reason, StreamWatch};
use rpc_server::CheckpointsExt as _;
use rpc_tests::pb::streams::v1::test_streams_server::{TestStreams, TestStreamsServer};
use rpc_tests::pb::streams::v1::{Chunk, Request, Summary};
use rpc_tests::proxy::{Direction, End, Fault, Proxy};
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use rpc_tests::streams::{Streams, chunk};
use tonic::{Code, Response, Status, Streaming};

use super::live::{minute, read, scene_of, seeds};
use super::{Client, open, tally};

const CHUNKS: u64 = 20_000;
const PAYLOAD_BYTES: u32 = 50;

/// Where a source was opened, each time.
type Opened = Arc<Mutex<Vec<u64>>>;

/// Downloads from a source that is read again. What it gives the second time is a lie, if the test wants one.
#[derive(Debug, Clone, Default)]
struct Library {
    streams: Streams,
    opened: Opened,
    lies: bool,
}

/// What follows so many chunks, of so many in all.
pub(super) fn pages(
    after: u64,
    chunks: u64,
    payload_bytes: u32,
) -> impl Iterator<Item = Outgoing<Chunk>> + Send {
    (after..chunks).flat_map(move |index| {
        let point = (index % 100 == 99).then(|| Outgoing::SyncPoint(index.to_be_bytes().to_vec().into()));
        [Some(Outgoing::Message(chunk(index, payload_bytes))), point].into_iter().flatten()
    })
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

#[tonic::async_trait]
impl TestStreams for Library {
    async fn upload(&self, request: tonic::Request<Streaming<Chunk>>) -> Result<Response<Summary>, Status> {
        self.streams.upload(request).await
    }

    type DownloadStream = Chunks;

    async fn download(&self, request: tonic::Request<Request>) -> Result<Response<Chunks>, Status> {
        let checkpoints = request.checkpoints()?;
        let Request { chunks, payload_bytes, .. } = request.into_inner();
        let Self { opened, lies, .. } = self.clone();
        let messages = checkpoints.reread_results(move |after| {
            opened.lock().unwrap().push(after);
            let is_lie = lies && opened.lock().unwrap().len() > 1;
            let payload_bytes = if is_lie { payload_bytes + 1 } else { payload_bytes };
            tokio_stream::iter(pages(after, chunks, payload_bytes).map(Ok))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    type ChatStream = Chunks;

    async fn chat(&self, request: tonic::Request<Streaming<Chunk>>) -> Result<Response<Chunks>, Status> {
        self.streams.chat(request).await
    }
}

async fn served(library: &Library) -> TestServer {
    let service = TestStreamsServer::new(library.clone());
    TestServer::start_with(|builder| builder.service(service)).await
}

type Upload = Pin<Box<dyn Stream<Item = Chunk> + Send>>;

/// An upload of so many chunks, which notes where its source is opened.
fn upload(checkpoints: &Checkpoints, chunks: u64, opened: &Opened) -> tonic::Request<Upload> {
    let opened = Arc::clone(opened);
    let messages = checkpoints.reread(move |after| {
        opened.lock().unwrap().push(after);
        tokio_stream::iter(pages(after, chunks, PAYLOAD_BYTES))
    });
    checkpoints.request(Box::pin(messages))
}

/// Each opening is where the other side has everything before, and so never before an earlier one.
#[track_caller]
fn check(opened: &Opened, seed: u64) {
    let opened = opened.lock().unwrap();
    assert!(opened.len() > 3 && opened.is_sorted() && opened[0] == 0, "seed {seed}: {opened:?}");
    assert!(opened.last() > Some(&0), "seed {seed}: read again from the beginning each time");
}

//= test I9, S-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_which_nothing_is_kept_arrives_whole_and_once_while_connections_are_cut() {
    for seed in seeds() {
        let server = served(&Library::default()).await;
        let scene = scene_of(server, seed, Direction::ToServer).await;
        let mut client = Client::new(open(scene.proxy.address()).await);
        let (checkpoints, opened) = (Checkpoints::new(), Opened::default());
        let sent = minute("the upload", client.upload(upload(&checkpoints, CHUNKS, &opened))).await;
        let summary = sent.unwrap_or_else(|status| panic!("seed {seed}: {status:?}")).into_inner();
        assert_eq!(summary, tally(CHUNKS, PAYLOAD_BYTES).summary(), "seed {seed}");
        assert!(checkpoints.progress().resumes > 3, "seed {seed}: nothing was proved");
        check(&opened, seed);
    }
}

//= test I9, S-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_of_which_nothing_is_kept_arrives_whole_and_once_while_connections_are_cut() {
    for seed in seeds() {
        let library = Library::default();
        let scene = scene_of(served(&library).await, seed, Direction::ToClient).await;
        let mut client = Client::new(open(scene.proxy.address()).await);
        let wanted = Request { chunks: CHUNKS, payload_bytes: PAYLOAD_BYTES, pause_ms: 0 };
        let response = minute("the head", client.download(wanted)).await.unwrap();
        let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
        let read = minute("the download", read(response.into_inner())).await;
        let got = read.unwrap_or_else(|status| panic!("seed {seed}: {status:?}"));
        assert_eq!(got, tally(CHUNKS, PAYLOAD_BYTES), "seed {seed}");
        assert!(watch.resumes() > 3, "seed {seed}: nothing was proved");
        check(&library.opened, seed);
    }
}

/// The next connection is cut after so many bytes in that direction, and the ones after it live.
async fn cut_next(proxy: &Proxy, direction: Direction, after_bytes: u64) {
    let before = proxy.connections();
    proxy.plan_next(Fault::Cut { direction, after_bytes, end: End::Rst });
    proxy.cut(End::Fin);
    soon("the new connection", async {
        while proxy.connections() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Among the places are those at which the source has ended and the other side has not got everything.
//= test I9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_have_ended_when_the_connection_is_lost_are_read_again() {
    const FEW: u64 = 30;
    let library = Library::default();
    let server = served(&library).await;
    let proxy = Proxy::start(server.address(), 1).await.expect("loopback is to be had");
    let mut client = Client::new(open(proxy.address()).await);
    let (opened, mut calls) = (Opened::default(), 0);
    for after_bytes in (0..3_500).step_by(97) {
        calls += 1;
        cut_next(&proxy, Direction::ToServer, after_bytes).await;
        let checkpoints = Checkpoints::new();
        let summary = minute("the upload", client.upload(upload(&checkpoints, FEW, &opened))).await.unwrap();
        assert_eq!(summary.into_inner(), tally(FEW, PAYLOAD_BYTES).summary(), "{after_bytes}");
        cut_next(&proxy, Direction::ToClient, after_bytes).await;
        let wanted = Request { chunks: FEW, payload_bytes: PAYLOAD_BYTES, pause_ms: 0 };
        let response = minute("the head", client.download(wanted)).await.unwrap();
        let got = minute("the download", read(response.into_inner())).await.unwrap();
        assert_eq!(got, tally(FEW, PAYLOAD_BYTES), "{after_bytes}");
    }
    for opened in [&opened, &library.opened] {
        let opened = opened.lock().unwrap().len();
        assert!(opened > calls + calls / 4, "{opened} openings of {calls}");
    }
}

//= test S-20
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_not_what_it_was_ends_the_call() {
    let library = Library { lies: true, ..Library::default() };
    let scene = scene_of(served(&library).await, 1, Direction::ToClient).await;
    let mut client = Client::new(open(scene.proxy.address()).await);
    let wanted = Request { chunks: CHUNKS, payload_bytes: PAYLOAD_BYTES, pause_ms: 0 };
    let response = minute("the head", client.download(wanted)).await.unwrap();
    let status = minute("the download", read(response.into_inner())).await.unwrap_err();
    assert_eq!(
        (status.code(), status.reason()),
        (Code::DataLoss, Some(Reason::StreamDiverged)),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_method_with_a_dialog_refuses_such_a_source() {
    let server = served(&Library::default()).await;
    let mut client = Client::new(open(server.address()).await);
    let (checkpoints, opened) = (Checkpoints::new(), Opened::default());
    let response = soon("the head", client.chat(upload(&checkpoints, 3, &opened))).await;
    let status = match response {
        Ok(response) => soon("the chat", read(response.into_inner())).await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(opened.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_undisturbed_source_is_opened_once() {
    let library = Library::default();
    let server = served(&library).await;
    let session = open(server.address()).await;
    let mut client = Client::new(session.clone());
    let (checkpoints, opened) = (Checkpoints::new(), Opened::default());
    let summary = soon("the upload", client.upload(upload(&checkpoints, 500, &opened))).await.unwrap();
    assert_eq!(summary.into_inner(), tally(500, PAYLOAD_BYTES).summary());
    let wanted = Request { chunks: 500, payload_bytes: PAYLOAD_BYTES, pause_ms: 0 };
    let response = soon("the head", client.download(wanted)).await.unwrap();
    assert_eq!(soon("the download", read(response.into_inner())).await.unwrap(), tally(500, PAYLOAD_BYTES));
    assert_eq!((&opened.lock().unwrap()[..], &library.opened.lock().unwrap()[..]), (&[0][..], &[0][..]));
    soon("the release", session.release()).await.expect("every call has ended");
}
