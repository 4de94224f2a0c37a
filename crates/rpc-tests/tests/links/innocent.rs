//! Calls that end early cost nobody else anything: the connection stays, and what else travels on it is not hurt.
//!
//! `SESSION_CALLS=20000 cargo test --release -p rpc-tests --test links innocent` for the full number.

use std::future::Future;
use std::time::Duration;

use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::pb::streams::v1::Request as Wanted;
use rpc_tests::soon;
use rpc_tests::streams::{EARLY, chunk};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::MetadataValue;

use super::{Client, Ledger, Scene};

/// Calls that end early at the same time.
const AT_A_TIME: u64 = 32;

/// How many calls of each sort end early, in all.
fn calls() -> u64 {
    std::env::var("SESSION_CALLS").map_or(3_000, |calls| calls.parse().expect("SESSION_CALLS is a number"))
}

/// Makes so many calls, several at a time.
async fn many<F: Future<Output = ()> + Send + 'static>(make: impl Fn(u64) -> F) {
    let mut running = JoinSet::new();
    for number in 0..calls() {
        if number >= AT_A_TIME {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(make(number));
    }
    running.join_all().await;
}

/// A stream and unary calls that nothing may happen to, for as long as `others` take.
async fn with_innocent<F: Future<Output = ()>>(scene: &Scene, others: F) {
    let (sending, sent) = mpsc::channel(1);
    let mut echoes =
        soon("the chat", scene.client().chat(ReceiverStream::new(sent))).await.unwrap().into_inner();
    let mut ledger = scene.ledger();
    let innocent = AbortOnDropHandle::new(tokio::spawn(async move {
        for index in 0.. {
            if sending.send(chunk(index, 10)).await.is_err() {
                return index;
            }
            assert_eq!(soon("an echo", echoes.next()).await.unwrap().unwrap().index, index);
            let id = format!("innocent {index}");
            let sent = TestRequest { id: id.clone(), ..TestRequest::default() };
            assert_eq!(soon("a plain call", ledger.echo(sent)).await.unwrap().into_inner().id, id);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        0
    }));
    others.await;
    assert!(!innocent.is_finished(), "an innocent call was hurt: {:?}", innocent.await);
    drop(innocent);
    assert_eq!(scene.proxy.connections(), 1, "the connection was lost");
}

fn early<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert(EARLY, MetadataValue::from_static("1"));
    request
}

async fn chat_and_leave(mut client: Client) {
    let (sending, sent) = mpsc::channel(1);
    let mut echoes = soon("the head", client.chat(ReceiverStream::new(sent))).await.unwrap().into_inner();
    sending.send(chunk(0, 10)).await.unwrap();
    soon("an echo", echoes.next()).await.unwrap().unwrap();
}

async fn download_and_leave(mut client: Client) {
    // Its handler may not be stopped, and keeps the slot until it has ended.
    let wanted = Wanted { chunks: 10, payload_bytes: 10, pause_ms: 1 };
    let mut chunks = soon("the head", client.download(wanted)).await.unwrap().into_inner();
    soon("a chunk", chunks.next()).await.unwrap().unwrap();
}

/// A plain call that is given up, by a reset.
async fn reset(mut ledger: Ledger, number: u64) {
    // Endless, and all under one id, or the books would grow.
    let wanted = TestRequest { id: "reset".to_owned(), delay_ms: 1, panic: true, ..TestRequest::default() };
    if number.is_multiple_of(2) {
        let mut replies = soon("the head", ledger.download(wanted)).await.unwrap().into_inner();
        soon("a reply", replies.next()).await.unwrap().unwrap();
    } else {
        // Before there is any answer, and now and then before the server has seen the request.
        let patience = Duration::from_micros(number % 50 * 20);
        let _ = tokio::time::timeout(patience, ledger.download(wanted)).await;
    }
}

//= test S-24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_cancelled_streams() {
    let scene = Scene::start().await;
    let client = scene.client();
    with_innocent(&scene, async {
        many(|number| {
            let client = client.clone();
            async move {
                if number.is_multiple_of(2) {
                    chat_and_leave(client).await;
                } else {
                    download_and_leave(client).await;
                }
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_plain_calls_that_are_reset() {
    let scene = Scene::start().await;
    let ledger = scene.ledger();
    with_innocent(&scene, many(|number| reset(ledger.clone(), number))).await;
}

//= test S-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_early_replies_to_streams() {
    let scene = Scene::start().await;
    let client = scene.client();
    with_innocent(&scene, async {
        many(|number| {
            let mut client = client.clone();
            async move {
                // Half of the callers go on sending, and half have sent nothing yet.
                let (sending, sent) = mpsc::channel(1);
                if number.is_multiple_of(2) {
                    sending.send(chunk(0, 1_000)).await.unwrap();
                }
                let summary =
                    soon("the reply", client.upload(early(ReceiverStream::new(sent)))).await.unwrap();
                assert_eq!(summary.into_inner().chunks, 0);
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_early_replies_to_plain_calls() {
    let scene = Scene::start().await;
    let ledger = scene.ledger();
    with_innocent(&scene, async {
        many(|number| {
            let mut ledger = ledger.clone();
            async move {
                let (sending, sent) = mpsc::channel(1);
                if number.is_multiple_of(2) {
                    sending
                        .send(TestRequest { payload: vec![7; 1_000], ..TestRequest::default() })
                        .await
                        .unwrap();
                }
                let reply = soon("the reply", ledger.upload(early(ReceiverStream::new(sent)))).await.unwrap();
                assert_eq!(reply.into_inner().booked, 0);
            }
        })
        .await;
    })
    .await;
}
