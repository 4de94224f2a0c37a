//! The connection dies at any byte, and the same call goes on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use rpc_client::{Outcome, OutcomeExt as _, StreamWatch};
use rpc_tests::pb::streams::v1::{Chunk, Request};
use rpc_tests::proxy::{Direction, End, Fault, Proxy};
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use rpc_tests::streams::Tally;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt as _;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Response, Status};

use super::{Client, chunks, open, tally};

const CHUNKS: u64 = 20_000;
const PAYLOAD_BYTES: u32 = 50;

/// What a failure prints to repeat it: `SESSION_SEED=… cargo test -p rpc-tests --test streams`.
pub(super) fn seeds() -> Vec<u64> {
    match std::env::var("SESSION_SEED") {
        Ok(seed) => vec![seed.parse().expect("SESSION_SEED is a number")],
        Err(_) => vec![1, 2],
    }
}

/// A server behind a proxy that cuts connections.
pub(super) struct Scene {
    _server: TestServer,
    pub(super) proxy: Arc<Proxy>,
    _cutting: AbortOnDropHandle<()>,
}

/// Cuts each connection after a number of bytes in this direction that the seed decides: what travels in the other may be
/// so little that no connection would be cut by it.
async fn scene(seed: u64, direction: Direction) -> Scene {
    scene_of(TestServer::with_streams().await, seed, direction).await
}

/// The same with that server.
pub(super) async fn scene_of(server: TestServer, seed: u64, direction: Direction) -> Scene {
    let proxy = Arc::new(Proxy::start(server.address(), seed).await.expect("loopback is to be had"));
    let end = if seed.is_multiple_of(2) { End::Fin } else { End::Rst };
    let plan = proxy.clone();
    let mut turn = seed;
    let mut next = move || {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        plan.plan(Fault::Cut { direction, after_bytes: 2_000 + (turn >> 33) % 100_000, end });
    };
    // The first connection may be made before a task has had its turn.
    next();
    let cutting = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(3)).await;
            next();
        }
    });
    Scene { _server: server, proxy, _cutting: AbortOnDropHandle::new(cutting) }
}

pub(super) async fn minute<F: Future>(what: &str, future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

pub(super) async fn read(
    mut chunks: impl Stream<Item = Result<Chunk, Status>> + Unpin,
) -> Result<Tally, Status> {
    let mut tally = Tally::default();
    while let Some(chunk) = chunks.next().await {
        tally.add(&chunk?)?;
    }
    Ok(tally)
}

fn resumes<T>(response: &Response<T>) -> u32 {
    response.extensions().get::<StreamWatch>().expect("the call is resumable").resumes()
}

//= test I9
//= test S-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_arrives_whole_and_once_while_connections_are_cut() {
    for seed in seeds() {
        let scene = scene(seed, Direction::ToServer).await;
        let mut client = Client::new(open(scene.proxy.address()).await);
        let sent = minute("the upload", client.upload(chunks(CHUNKS, PAYLOAD_BYTES))).await;
        let response = sent.unwrap_or_else(|status| panic!("seed {seed}: {status:?}"));
        assert!(resumes(&response) > 3, "seed {seed}: nothing was proved");
        assert_eq!(response.into_inner(), tally(CHUNKS, PAYLOAD_BYTES).summary(), "seed {seed}");
    }
}

//= test I9
//= test S-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_arrives_whole_and_once_while_connections_are_cut() {
    for seed in seeds() {
        let scene = scene(seed, Direction::ToClient).await;
        let mut client = Client::new(open(scene.proxy.address()).await);
        let wanted = Request { chunks: CHUNKS, payload_bytes: PAYLOAD_BYTES, pause_ms: 0 };
        let response = minute("the head", client.download(wanted)).await.unwrap();
        let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
        let read = minute("the download", read(response.into_inner())).await;
        assert_eq!(
            read.unwrap_or_else(|status| panic!("seed {seed}: {status:?}")),
            tally(CHUNKS, PAYLOAD_BYTES)
        );
        assert!(watch.resumes() > 3, "seed {seed}: nothing was proved");
    }
}

//= test I9
//= test S-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_arrives_whole_and_once_both_ways_while_connections_are_cut() {
    for seed in seeds() {
        let direction = if seed.is_multiple_of(2) { Direction::ToServer } else { Direction::ToClient };
        let scene = scene(seed, direction).await;
        let mut client = Client::new(open(scene.proxy.address()).await);
        let response = minute("the head", client.chat(chunks(CHUNKS, PAYLOAD_BYTES))).await.unwrap();
        assert_eq!(response.metadata().get("x-handler").unwrap(), "chat");
        let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
        let read = minute("the chat", read(response.into_inner())).await;
        assert_eq!(
            read.unwrap_or_else(|status| panic!("seed {seed}: {status:?}")),
            tally(CHUNKS, PAYLOAD_BYTES)
        );
        assert!(watch.resumes() > 3, "seed {seed}: nothing was proved");
    }
}

#[tokio::test]
async fn streams_that_meet_no_trouble_leave_nothing_behind() {
    let server = TestServer::with_streams().await;
    let session = open(server.address()).await;
    let mut client = Client::new(session.clone());
    for _ in 0..100 {
        let summary = minute("the upload", client.upload(chunks(3, 10))).await.unwrap().into_inner();
        assert_eq!(summary, tally(3, 10).summary());
        let response = minute("the chat", client.chat(chunks(3, 10))).await.unwrap();
        assert_eq!(resumes(&response), 0);
        assert_eq!(minute("the chat", read(response.into_inner())).await.unwrap(), tally(3, 10));
    }
    minute("the release", session.release()).await.unwrap();
}

#[tokio::test]
async fn a_handlers_error_before_its_head_is_the_calls_own() {
    let server = TestServer::with_streams().await;
    let mut client = Client::new(open(server.address()).await);
    let status = soon("the call", client.download(Request::default())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "no chunks are wanted"));
    assert_eq!(status.outcome(), Some(Outcome::Done));
}

#[tokio::test]
async fn a_handlers_error_in_the_middle_ends_the_callers_stream() {
    let server = TestServer::with_streams().await;
    let mut client = Client::new(open(server.address()).await);
    let wrong = chunks(3, 1).chain(chunks(3, 1));
    let response = minute("the head", client.chat(wrong)).await.unwrap();
    let status = minute("the chat", read(response.into_inner())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "chunk 0 instead of 3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_a_link_that_falls_silent_goes_on_over_another() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let server = TestServer::with_streams().await;
        let proxy = Proxy::start(server.address(), 1).await.expect("loopback is to be had");
        let mut client = Client::new(open(proxy.address()).await);
        // Half open from some place on; the connections after it pass.
        proxy.plan(Fault::Stall { direction, after_bytes: 200_000 });
        proxy.cut(End::Fin);
        let call = tokio::spawn(async move { client.upload(chunks(CHUNKS, PAYLOAD_BYTES)).await });
        soon("the second connection", async {
            while proxy.connections() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        proxy.plan(Fault::Pass);
        let response = minute("the upload", call).await.unwrap();
        let response = response.unwrap_or_else(|status| panic!("{direction:?}: {status:?}"));
        assert_eq!(response.into_inner(), tally(CHUNKS, PAYLOAD_BYTES).summary(), "{direction:?}");
    }
}

//= test C-15
#[tokio::test]
async fn a_handlers_panic_in_the_middle_is_an_error_and_never_the_end() {
    let server = TestServer::with_streams().await;
    let mut client = Client::new(open(server.address()).await);
    let wanted = Request { chunks: rpc_tests::streams::PANICS_AT + 10, payload_bytes: 1, pause_ms: 0 };
    let response = minute("the head", client.download(wanted)).await.unwrap();
    let status = minute("the download", read(response.into_inner())).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    assert_eq!(status.reason(), Some(rpc_client::Reason::HandlerPanicked), "{status:?}");
}
