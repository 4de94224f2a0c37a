//! The connection is cut after every single byte of an exchange, in both directions, and nobody notices.
//!
//! Without more, every seventh position is tried, from an offset that the seed decides. All of them:
//!
//! `SESSION_STRIDE=1 cargo test -p rpc-tests --test links positions`

use rpc_client::{CallInfo, StreamWatch};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::pb::streams::v1::Request;
use rpc_tests::pb::streams::v1::test_streams_server::TestStreamsServer;
use rpc_tests::proxy::{Direction, End, Fault};
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use rpc_tests::streams::Streams;

use super::{Scene, chunks, read, tally};

const CHUNKS: u64 = 3;
const PAYLOAD_BYTES: u32 = 4;

/// Kinds of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unary,
    Upload,
    Download,
    Chat,
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect(variable))
}

/// The positions to try of so many.
fn positions(bytes: u64) -> impl Iterator<Item = u64> {
    let stride = number("SESSION_STRIDE", 7).max(1);
    let offset = number("SESSION_SEED", 1) % stride;
    (0..=bytes).skip(usize::try_from(offset).unwrap()).step_by(usize::try_from(stride).unwrap())
}

/// Makes one call and returns in how many attempts it was made.
async fn exchange(scene: &Scene, kind: Kind, id: &str) -> u32 {
    let attempts = |resumes: u32| resumes + 1;
    match kind {
        Kind::Unary => {
            let sent = TestRequest { id: id.to_owned(), ..TestRequest::default() };
            let response = soon(id, scene.ledger().transfer(sent)).await.unwrap();
            let made = response.extensions().get::<CallInfo>().unwrap().attempts;
            let reply = response.into_inner();
            assert_eq!((reply.id.as_str(), reply.booked), (id, 1));
            assert_eq!(scene.server.books().entry(id).started, 1, "{id}");
            made
        }
        Kind::Upload => {
            let response = soon(id, scene.client().upload(chunks(CHUNKS, PAYLOAD_BYTES))).await.unwrap();
            let resumes = response.extensions().get::<StreamWatch>().unwrap().resumes();
            assert_eq!(response.into_inner(), tally(CHUNKS, PAYLOAD_BYTES).summary(), "{id}");
            attempts(resumes)
        }
        Kind::Download => {
            let wanted = Request { chunks: CHUNKS, payload_bytes: PAYLOAD_BYTES, pause_ms: 0 };
            let response = soon(id, scene.client().download(wanted)).await.unwrap();
            let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
            let got = soon(id, read(response.into_inner())).await.unwrap();
            assert_eq!(got, tally(CHUNKS, PAYLOAD_BYTES), "{id}");
            attempts(watch.resumes())
        }
        Kind::Chat => {
            let response = soon(id, scene.client().chat(chunks(CHUNKS, PAYLOAD_BYTES))).await.unwrap();
            let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
            let got = soon(id, read(response.into_inner())).await.unwrap();
            assert_eq!(got, tally(CHUNKS, PAYLOAD_BYTES), "{id}");
            attempts(watch.resumes())
        }
    }
}

/// Leaves the connection that there is for one with this fault, and makes a call on it.
async fn on_a_new_connection(scene: &Scene, fault: Fault, kind: Kind, id: &str) -> u32 {
    let before = scene.proxy.connections();
    scene.proxy.plan_next(fault);
    scene.proxy.cut(End::Fin);
    soon("the new connection", async {
        while scene.proxy.connections() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    exchange(scene, kind, id).await
}

/// Tries all positions of one direction; returns how many calls took more than one attempt, of how many.
async fn in_direction(kind: Kind, direction: Direction) -> (u64, u64) {
    let streams = Streams::default();
    let seen = streams.seen();
    let server = TestServer::start_with(|builder| builder.service(TestStreamsServer::new(streams))).await;
    let scene = Scene::of(server).await;
    on_a_new_connection(&scene, Fault::Pass, kind, "undisturbed").await;
    let bytes = scene.proxy.passed(direction);
    let (mut calls, mut retried) = (1, 0);
    for position in positions(bytes) {
        let end = if position % 2 == 0 { End::Fin } else { End::Rst };
        let fault = Fault::Cut { direction, after_bytes: position, end };
        let id = format!("{kind:?} cut after byte {position} of {bytes} {direction:?}");
        let attempts = on_a_new_connection(&scene, fault, kind, &id).await;
        calls += 1;
        retried += u64::from(attempts > 1);
    }
    if matches!(kind, Kind::Upload | Kind::Chat) {
        assert_eq!(*seen.borrow(), calls * CHUNKS, "each message is taken once");
    }
    soon("the release", scene.session.release()).await.expect("every call has ended");
    (retried, calls)
}

async fn every_position(kind: Kind) {
    let (up, down) =
        tokio::join!(in_direction(kind, Direction::ToServer), in_direction(kind, Direction::ToClient));
    println!("{kind:?}: of {} and {} calls, {} and {} needed another attempt", up.1, down.1, up.0, down.0);
    // The first positions lie in the greetings, before the call.
    assert!(up.0 * 4 > up.1 && down.0 * 8 > down.1, "{up:?} and {down:?}: nothing was proved");
}

//= test I1
//= test I2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_unary_call() {
    every_position(Kind::Unary).await;
}

//= test I9
//= test S-23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_upload() {
    every_position(Kind::Upload).await;
}

//= test I9
//= test S-23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_download() {
    every_position(Kind::Download).await;
}

//= test I9
//= test S-23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_chat() {
    every_position(Kind::Chat).await;
}
