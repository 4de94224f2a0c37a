//! How soon a stream goes on when there is a connection again: what is new follows at once, nobody is asked first.

use std::time::Duration;

use rpc_client::StreamWatch;
use rpc_tests::pb::streams::v1::test_streams_server::TestStreamsServer;
use rpc_tests::pb::streams::v1::{Chunk, Request};
use rpc_tests::proxy::{Direction, End, Fault};
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use rpc_tests::streams::{Streams, chunk};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::{Scene, tally};

const PAYLOAD_BYTES: u32 = 1_000;
/// Before the connection is lost.
const BEFORE: u64 = 5;
/// As much as may be sent before the peer has said where it stands: with its framing, and with what came before and may
/// have to be sent again, just under 64 KiB.
const AT_ONCE: u64 = 59;

/// A scene, and what its handlers have taken.
async fn watched() -> (Scene, watch::Receiver<u64>) {
    let streams = Streams::default();
    let seen = streams.seen();
    let server = TestServer::start_with(|builder| builder.service(TestStreamsServer::new(streams))).await;
    (Scene::of(server).await, seen)
}

async fn until(seen: &mut watch::Receiver<u64>, chunks: u64) {
    soon("the handler takes them", seen.wait_for(|seen| *seen >= chunks)).await.unwrap();
}

/// An upload whose chunks the test gives one by one.
struct Upload {
    chunks: mpsc::Sender<Chunk>,
    given: u64,
    call:
        tokio::task::JoinHandle<Result<tonic::Response<rpc_tests::pb::streams::v1::Summary>, tonic::Status>>,
}

impl Upload {
    fn begin(scene: &Scene) -> Self {
        let (chunks, given) = mpsc::channel(100);
        let mut client = scene.client();
        let call = tokio::spawn(async move { client.upload(ReceiverStream::new(given)).await });
        Self { chunks, given: 0, call }
    }

    async fn give(&mut self, count: u64) {
        for index in self.given..self.given + count {
            self.chunks.send(chunk(index, PAYLOAD_BYTES)).await.unwrap();
        }
        self.given += count;
    }

    async fn end(self) {
        drop(self.chunks);
        let response = soon("the upload", self.call).await.unwrap().unwrap();
        assert!(response.extensions().get::<StreamWatch>().unwrap().resumes() > 0);
        assert_eq!(response.into_inner(), tally(self.given, PAYLOAD_BYTES).summary());
    }
}

//= test S-16
#[tokio::test]
async fn an_upload_goes_on_before_the_server_has_said_anything() {
    let (scene, mut seen) = watched().await;
    let mut upload = Upload::begin(&scene);
    upload.give(BEFORE).await;
    until(&mut seen, BEFORE).await;
    // Of the server's side of the next connection, the client hears that there is one, and no more.
    scene.proxy.plan_next(Fault::Mute { direction: Direction::ToClient });
    scene.proxy.cut(End::Rst);
    upload.give(AT_ONCE).await;
    until(&mut seen, BEFORE + AT_ONCE).await;
    assert_eq!(scene.proxy.connections(), 2);
    scene.proxy.cut(End::Rst);
    upload.end().await;
    assert_eq!(*seen.borrow(), BEFORE + AT_ONCE);
}

//= test S-16
#[tokio::test]
async fn a_download_goes_on_before_the_client_has_said_more_than_that_it_goes_on() {
    let (scene, _seen) = watched().await;
    let wanted = Request { chunks: 300, payload_bytes: PAYLOAD_BYTES, pause_ms: 1 };
    let response = scene.client().download(wanted).await.unwrap();
    let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
    let mut chunks = response.into_inner();
    let mut next = 0;
    for _ in 0..BEFORE {
        assert_eq!(soon("a chunk", chunks.next()).await.unwrap().unwrap().index, next);
        next += 1;
    }
    // Of the client's side of the next connection, the server hears the heads of requests, and no more.
    scene.proxy.plan_next(Fault::Mute { direction: Direction::ToServer });
    scene.proxy.cut(End::Rst);
    let received = watch.received().messages;
    while next < received + AT_ONCE {
        assert_eq!(soon("a chunk", chunks.next()).await.unwrap().unwrap().index, next);
        next += 1;
    }
    assert_eq!(scene.proxy.connections(), 2);
    scene.proxy.cut(End::Rst);
    while let Some(chunk) = soon("a chunk", chunks.next()).await {
        assert_eq!(chunk.unwrap().index, next);
        next += 1;
    }
    assert_eq!(next, wanted.chunks);
}

/// What one way takes while the time is measured.
const ONE_WAY: Duration = Duration::from_millis(50);
/// How often it is measured.
const ROUNDS: u32 = 20;

/// Cuts the connection and returns when the next one takes calls.
async fn reconnected(scene: &Scene) -> Instant {
    let mut state = scene.session.state();
    state.borrow_and_update();
    scene.proxy.cut(End::Rst);
    soon("the loss", state.wait_for(|state| !state.connection.is_ready())).await.unwrap();
    soon("the connection", state.wait_for(|state| state.connection.is_ready())).await.unwrap();
    Instant::now()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {median:.1?}, longest {longest:.1?} of {} resumes", times.len());
}

/// Prints the time from the moment at which the transport is up to the first new message at the other side, with 50 ms
/// each way. An upload needs one way, 50 ms; a download two, since the request has to reach the server first. Includes
/// the pause of up to 20 ms that the client makes before it calls again, as far as that is not over when the connection
/// is there.
///
/// `cargo test --release -p rpc-tests --test links -- --ignored --nocapture delay`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn time_from_a_new_connection_to_the_first_new_message() {
    let (scene, mut seen) = watched().await;
    scene.proxy.plan(Fault::Delay { one_way: ONE_WAY });
    let mut upload = Upload::begin(&scene);
    upload.give(BEFORE).await;
    until(&mut seen, BEFORE).await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let before = *seen.borrow_and_update();
        let up = reconnected(&scene).await;
        upload.give(1).await;
        until(&mut seen, before + 1).await;
        times.push(up.elapsed());
    }
    upload.end().await;
    report("upload", times);

    let wanted = Request { chunks: 1 << 20, payload_bytes: PAYLOAD_BYTES, pause_ms: 1 };
    let response = scene.client().download(wanted).await.unwrap();
    let mut chunks = response.into_inner();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        soon("a chunk", chunks.next()).await.unwrap().unwrap();
        let mut resumed = Box::pin(reconnected(&scene));
        // Until then whatever comes was on its way before.
        let up = loop {
            tokio::select! {
                biased;
                up = &mut resumed => break up,
                chunk = chunks.next() => drop(chunk.unwrap().unwrap()),
            }
        };
        soon("a chunk", chunks.next()).await.unwrap().unwrap();
        times.push(up.elapsed());
    }
    report("download", times);
}
