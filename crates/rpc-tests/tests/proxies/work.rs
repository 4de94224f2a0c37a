//! What is done through each proxy: streams of all kinds, slow and fast, answers that come early, and many calls.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use rpc_client::net::{Backoff, Config};
use rpc_client::{Event, Session, StreamWatch};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::pb::ledger::v1::test_ledger_client::TestLedgerClient;
use rpc_tests::pb::streams::v1::test_streams_client::TestStreamsClient;
use rpc_tests::pb::streams::v1::{Chunk, Request};
use rpc_tests::server::TestServer;
use rpc_tests::streams::{EARLY, chunk, read, tally};
use rpc_tests::{soon, token};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;

type Client = TestStreamsClient<Session>;
type Ledger = TestLedgerClient<Session>;

/// Chunks and their length: above the megabyte beyond which nginx cuts uploads by default.
const FAST: (u64, u32) = (3_000, 500);
/// A chunk every 50 ms.
const SLOW: (u64, u32) = (40, 20);
const PAUSE: Duration = Duration::from_millis(50);
/// Callers of protected unary calls, and how many each makes: together three times as many as a connection bears.
const CALLERS: u64 = 6;
const CALLS: u64 = 500;
/// Answers that come before the request was read.
const EARLY_REPLIES: u64 = 300;

async fn open(address: SocketAddr) -> Session {
    let net = Config::default()
        .backoff(Backoff::default().between(Duration::from_millis(2), Duration::from_millis(50)));
    Session::builder(format!("http://{address}"))
        .credentials(token::token("alice", &[]))
        .service::<Client>()
        .service::<Ledger>()
        .net(net)
        .open()
        .await
        .expect("the server is there")
}

async fn minute<F: Future>(what: &str, future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

fn chunks((count, payload_bytes): (u64, u32), pause: Duration) -> impl Stream<Item = Chunk> + Send + 'static {
    futures_util::stream::iter((0..count).map(move |index| chunk(index, payload_bytes))).then(
        move |chunk| async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            chunk
        },
    )
}

async fn upload(mut client: Client, size: (u64, u32), pause: Duration) {
    let response = minute("the upload", client.upload(chunks(size, pause))).await.expect("an upload");
    assert_eq!(response.into_inner(), tally(size.0, size.1).summary());
}

async fn download(mut client: Client, size: (u64, u32), pause: Duration) {
    let pause_ms = u32::try_from(pause.as_millis()).unwrap();
    let wanted = Request { chunks: size.0, payload_bytes: size.1, pause_ms };
    let response = minute("the head", client.download(wanted)).await.expect("the head of a download");
    assert_eq!(
        minute("the download", read(response.into_inner())).await.expect("a download"),
        tally(size.0, size.1)
    );
}

async fn chat(mut client: Client, size: (u64, u32), pause: Duration) {
    let response = minute("the head", client.chat(chunks(size, pause))).await.expect("the head of a chat");
    assert_eq!(minute("the chat", read(response.into_inner())).await.expect("a chat"), tally(size.0, size.1));
}

async fn early_replies(mut client: Client) {
    for number in 0..EARLY_REPLIES {
        let (sending, sent) = mpsc::channel(1);
        let mut request = tonic::Request::new(ReceiverStream::new(sent));
        request.metadata_mut().insert(EARLY, MetadataValue::from_static("1"));
        if number.is_multiple_of(2) {
            sending.send(chunk(0, 1_000)).await.unwrap();
        }
        let summary = soon("an early reply", client.upload(request)).await.expect("an early reply");
        assert_eq!(summary.into_inner().chunks, 0);
    }
}

async fn calls(mut ledger: Ledger, caller: u64) {
    for number in 0..CALLS {
        let id = format!("{caller}/{number}");
        let sent = TestRequest { id: id.clone(), payload: vec![7; 100], ..TestRequest::default() };
        let reply = soon("a reply", ledger.transfer(sent)).await;
        let reply = reply.unwrap_or_else(|status| panic!("call {id}: {status:?}")).into_inner();
        assert_eq!((reply.id, reply.booked), (id, 1));
    }
}

/// All of it at once. Nothing fails, and nothing runs twice. Returns how many connections it took.
pub(crate) async fn all(proxy: SocketAddr, server: &TestServer) -> usize {
    let session = open(proxy).await;
    let mut events = session.events();
    let (client, ledger) = (Client::new(session.clone()), Ledger::new(session.clone()));
    let mut tasks = JoinSet::new();
    for (size, pause) in [(FAST, Duration::ZERO), (SLOW, PAUSE)] {
        tasks.spawn(upload(client.clone(), size, pause));
        tasks.spawn(download(client.clone(), size, pause));
        tasks.spawn(chat(client.clone(), size, pause));
    }
    tasks.spawn(early_replies(client.clone()));
    for caller in 0..CALLERS {
        tasks.spawn(calls(ledger.clone(), caller));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for (id, entry) in server.books().all() {
        assert_eq!((entry.started, entry.booked, entry.stopped), (1, 1, 0), "call {id}");
    }
    soon("the release", session.release()).await.expect("nothing is under way");
    drop((client, ledger, session));
    let mut connections = 0;
    while let Some(event) = soon("the end of the events", events.next()).await {
        connections += usize::from(matches!(event, Event::ConnectionMade));
    }
    connections
}

/// A chat whose two sides are silent for longer than the proxy bears.
pub(crate) async fn silent_chat(proxy: SocketAddr) {
    let session = open(proxy).await;
    let (sending, sent) = mpsc::channel(1);
    let mut client = Client::new(session.clone());
    let response = soon("the head", client.chat(ReceiverStream::new(sent))).await.unwrap();
    let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
    let mut echoes = response.into_inner();
    for index in 0..3 {
        sending.send(chunk(index, 10)).await.unwrap();
        let echo = soon("an echo", echoes.next()).await.unwrap().expect("the stream goes on");
        assert_eq!(echo, chunk(index, 10));
        sleep(Duration::from_millis(1_500)).await;
    }
    drop(sending);
    assert!(soon("the end", echoes.next()).await.is_none());
    assert!(watch.resumes() > 0, "the proxy has more patience than the test");
    soon("the release", session.release()).await.expect("nothing is under way");
}
