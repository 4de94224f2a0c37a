//! Servers that die and come back with what they had stored, while their clients live on.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use rpc_core::error::Reason;
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use rpc_core::stream::secured::Resumption;
use rpc_proto::status::{Details, Refusal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::call::NO_KEEPALIVE;
use super::explicit::cut_back;
use super::link::Way;
use super::pair::{Pair, Ready};
use super::typed::{Log, Page, Script, caller, handler, request_of};
use super::{Random, messages, ok_trailers, run};
use crate::{AppBody, Checkpointed, Checkpoints, How, Item, Point, Stream};

fn configs() -> [Config; 2] {
    let mut config = Config::default();
    config.keepalive = NO_KEEPALIVE;
    let client = config.clone();
    config.durable = true;
    [client, config]
}

/// A server's store. What was written last is there after a crash.
type Store = Arc<Mutex<Resumption>>;

/// Keeps what is to be stored, each write as long as it takes.
async fn keep(server: Stream, store: Store, seed: u64) {
    let mut random = Random::new(seed);
    while let Some(unstored) = server.unstored().await {
        sleep(Duration::from_millis(random.below(3) as u64)).await;
        *store.lock().unwrap() = unstored.clone();
        sleep(Duration::from_millis(random.below(3) as u64)).await;
        server.stored(&unstored);
    }
}

/// A server's process.
struct Process {
    stream: Stream,
    tasks: [JoinHandle<()>; 2],
}

impl Process {
    fn start(stream: Stream, scripts: &[Script; 2], log: &Log, store: &Store, seed: u64) -> Self {
        let handler = tokio::spawn(handler(stream.clone(), scripts.clone(), log.clone()));
        let keeper = tokio::spawn(keep(stream.clone(), store.clone(), seed));
        Self { stream, tasks: [handler, keeper] }
    }

    /// It dies; answers the one that takes its place. The handler's own log is as it was at the stored point.
    async fn crash(self, scripts: &[Script; 2], log: &Log, store: &Store, seed: u64) -> Self {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        let left = store.lock().unwrap().clone();
        cut_back(&mut log.lock().unwrap(), left.requests.as_ref());
        let stream = Stream::restored(Side::Server, &configs()[1], &left);
        Self::start(stream, scripts, log, store, seed)
    }
}

/// Makes a call whose server dies with each of the connections that do; answers how many bytes the last one carried, and
/// whether anything was stored when the first died.
async fn call(scripts: &[Script; 2], lives: &[[Option<usize>; 2]], seed: u64) -> ([usize; 2], bool) {
    let (sent, got, store) = (Log::default(), Log::default(), Store::default());
    let [client_config, config] = configs();
    let client = Stream::new(Side::Client, &client_config);
    let checkpoints = Checkpoints::new();
    assert!(checkpoints.bind(&client));
    let caller = tokio::spawn(caller(client.clone(), checkpoints, scripts.clone(), got.clone()));
    let mut process = Process::start(Stream::new(Side::Server, &config), scripts, &sent, &store, seed);
    let mut was_stored = None;
    for attempt in 0.. {
        let mut ways = [Way::new(1), Way::new(2)];
        for (index, way) in ways.iter_mut().enumerate() {
            way.piece_bytes = 60;
            way.life_bytes = lives.get(attempt).and_then(|lives| lives[index]);
        }
        let pair = Pair { client: client.clone(), server: process.stream.clone() };
        let connected = pair.connect_over(u32::try_from(attempt).unwrap(), ways);
        let ways = connected.link.await.unwrap();
        let ended = connected.client.await.unwrap();
        if let (How::Complete, Some(trailers)) = (ended.how, ended.trailers) {
            client.conclude(trailers);
            caller.await.unwrap();
            for (log, script) in [(&sent, &scripts[0]), (&got, &scripts[1])] {
                assert_eq!(*log.lock().unwrap(), script.seen(), "{lives:?} {seed}");
            }
            process.tasks.iter().for_each(JoinHandle::abort);
            return (ways.map(|way| way.bytes), was_stored.unwrap_or_default());
        }
        was_stored.get_or_insert(*store.lock().unwrap() != Resumption::default());
        process = process.crash(scripts, &sent, &store, seed ^ attempt as u64).await;
    }
    unreachable!("attempts do not end");
}

/// An upload, a download with two points at one place, and both ways at once.
fn kinds() -> [[Script; 2]; 3] {
    let many = || Script::new(12, [0, 3, 4, 4, 9]);
    let one = || Script::new(1, []);
    [[many(), one()], [one(), many()], [many(), Script::new(12, [2, 6, 6, 12])]]
}

/// The connection and the server die after each single byte, and the next server sometimes, too.
//= test S-3, S-9, S-10, S-20, S-28, I9, I11
#[test]
fn a_durable_call_goes_on_after_its_server_has_died_at_every_byte() {
    let mut stored = 0;
    for scripts in kinds() {
        let (whole, _) = run(call(&scripts, &[], 1));
        for way in [0, 1] {
            for bytes in 0..=whole[way] {
                let mut random = Random::new(bytes as u64);
                let mut lives = vec![[None; 2]];
                lives[0][way] = Some(bytes);
                for _ in 0..random.below(3) {
                    lives.push([Some(random.below(300)), Some(random.below(300))]);
                }
                let call = async {
                    timeout(Duration::from_secs(3_600), call(&scripts, &lives, random.next())).await
                };
                let ended = run(call);
                let (_, was_stored) = ended.unwrap_or_else(|_| panic!("no end: {lives:?}"));
                stored += u32::from(was_stored);
            }
        }
    }
    assert!(stored > 500, "{stored} went on from something stored");
}

/// A handler that stands at its first point.
async fn at_first_point(pair: &Pair) -> (Checkpointed<Page>, Point) {
    let incoming = request_of(&pair.server, None);
    let mut incoming = Checkpointed::new(incoming, &Checkpoints::of_stream(&pair.server)).unwrap();
    loop {
        if let Some(Item::SyncPoint(point)) = incoming.next().await.unwrap() {
            return (incoming, point);
        }
    }
}

async fn upload() -> (Pair, JoinHandle<()>) {
    let [client, server] = configs();
    let pair =
        Pair { client: Stream::new(Side::Client, &client), server: Stream::new(Side::Server, &server) };
    let checkpoints = Checkpoints::new();
    assert!(checkpoints.bind(&pair.client));
    let scripts = [Script::new(4, [2, 4]), Script::new(1, [])];
    let caller = tokio::spawn(caller(pair.client.clone(), checkpoints, scripts, Log::default()));
    pair.connect(0);
    (pair, caller)
}

/// Wakes a task by way of another one.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Reads to the end, each time a little later than what came with it was written to the connection.
async fn read_late(mut body: AppBody) {
    let bell = Arc::new(Bell(Notify::new()));
    let waker = Waker::from(bell.clone());
    loop {
        let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
        match polled {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_)) | None) => return,
            Poll::Pending => {
                bell.0.notified().await;
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// The client had everything and had answered the last point when its server died. The next server places a point at the
/// same place, and the client answered that with its next keepalive, 20 s later: no call whose servers die more often than
/// that came to its end.
//= test S-3, S-28
#[test]
fn a_client_that_has_everything_answers_the_last_point_of_a_restored_server() {
    run(async {
        let [client_config, config] = configs();
        let client = Stream::new(Side::Client, &client_config);
        let reader = tokio::spawn(read_late(client.app_body()));
        let all = messages(&[30, 500, 7]);
        let mut server = Stream::new(Side::Server, &config);
        for attempt in 0..5 {
            let pair = Pair { client: client.clone(), server };
            let connected = pair.connect(attempt);
            pair.server.pump_app(Ready::new([all.clone()]).trailers(ok_trailers())).await;
            let mut views = pair.server.watch();
            let secured = views.wait_for(|view| view.is_secured);
            let in_time = timeout(Duration::from_secs(1), secured).await;
            assert!(
                in_time.is_ok_and(|view| view.is_ok()),
                "attempt {attempt}: {:?}",
                pair.client.progress()
            );
            connected.link.abort();
            connected.client.await.unwrap();
            server = Stream::restored(Side::Server, &config, &Resumption::default());
        }
        reader.abort();
    });
}

fn refused() -> Status {
    Refusal::new(Reason::StoreUnavailable, "the disk is full").into_status()
}

//= test S-3
#[test]
fn a_point_is_secured_when_it_is_stored() {
    run(async {
        let (pair, caller) = upload().await;
        let (_incoming, point) = at_first_point(&pair).await;
        assert!(
            timeout(Duration::from_secs(1), pair.server.unstored()).await.is_err(),
            "nothing, and nothing lost"
        );
        let secure = tokio::spawn(point.secure("two pages"));
        let unstored = pair.server.unstored().await.unwrap();
        assert_eq!(unstored.requests.as_ref().unwrap().receiver_state, "two pages");
        sleep(Duration::from_secs(1)).await;
        assert!(!secure.is_finished());
        assert_eq!(pair.client.progress().sent_secured.messages, 0);
        assert_eq!(pair.server.unstored().await.as_ref(), Some(&unstored), "it only looks");
        pair.server.stored(&unstored);
        secure.await.unwrap().unwrap();
        let mut watch = pair.client.watch();
        watch.wait_for(|view| view.progress.sent_secured.messages == 2).await.unwrap();
        assert!(timeout(Duration::from_secs(1), pair.server.unstored()).await.is_err());
        caller.abort();
    });
}

//= test C-59
#[test]
fn a_store_that_fails_is_told_to_both_applications() {
    run(async {
        let (pair, caller) = upload().await;
        let (mut incoming, point) = at_first_point(&pair).await;
        let secure = tokio::spawn(point.secure("two pages"));
        pair.server.unstored().await.unwrap();
        pair.server.store_failed(refused());
        let status = secure.await.unwrap().unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the disk is full"));
        assert_eq!(Details::of(&status).reason, Some(Reason::StoreUnavailable));
        assert_eq!(incoming.next().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(pair.server.unstored().await, None);
        assert_eq!(pair.client.progress().sent_secured.messages, 0);
        caller.abort();
    });
}

/// Nobody stores, and the session ends: who waits is told.
#[test]
fn a_point_that_is_never_stored_ends_with_its_stream() {
    run(async {
        let (pair, caller) = upload().await;
        let (_incoming, point) = at_first_point(&pair).await;
        let secure = tokio::spawn(point.secure(Bytes::new()));
        let owner = pair.server.clone();
        let unstored = tokio::spawn(async move { owner.unstored().await.is_some() });
        assert!(unstored.await.unwrap());
        pair.server.abandon(Status::unavailable("the session has ended"));
        assert_eq!(secure.await.unwrap().unwrap_err().message(), "the session has ended");
        caller.abort();
    });
}
