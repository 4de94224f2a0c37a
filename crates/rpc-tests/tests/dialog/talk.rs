//! Dialogs while connections are cut.

use rpc_client::{Position, Resynchronize, Serial, StreamWatch};
use rpc_tests::proxy::{Direction, End, Fault, Proxy};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::*;

const TURNS: u64 = 60;

async fn minute<F: Future>(what: &str, future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// A proxy that cuts each connection after a number of bytes that the seed decides.
async fn cutting(address: SocketAddr, seed: u64) -> (Arc<Proxy>, AbortOnDropHandle<()>) {
    let proxy = Arc::new(Proxy::start(address, seed).await.expect("loopback is to be had"));
    let end = if seed.is_multiple_of(2) { End::Fin } else { End::Rst };
    let direction = if seed.is_multiple_of(3) { Direction::ToServer } else { Direction::ToClient };
    let plan = proxy.clone();
    let task = tokio::spawn(async move {
        let mut turn = seed;
        loop {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            plan.plan(Fault::Cut { direction, after_bytes: 1_500 + (turn >> 33) % 4_000, end });
            sleep(Duration::from_millis(3)).await;
        }
    });
    (proxy, AbortOnDropHandle::new(task))
}

//= test D-1, D-2, D-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sides_speak_in_turn_while_connections_are_cut() {
    let (server, handlers) = served().await;
    for turn in [FirstTurn::Initiator, FirstTurn::Acceptor] {
        for seed in [2, 3] {
            let (proxy, _cutting) = cutting(server.address(), seed).await;
            let session = open(proxy.address(), first(turn)).await;
            assert_eq!(session.agreement().first_turn, turn);
            let checkpoints = Checkpoints::new();
            let (say, said) = mpsc::channel(64);
            let request = saying(ReceiverStream::new(said), &checkpoints);
            let mut client = Client::new(session);
            let response = minute("the head", client.radio(request)).await.unwrap();
            let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
            let talk = converse(checkpoints.dialog(), say, response.into_inner(), Some(TURNS));
            let heard = minute("the talk", talk)
                .await
                .unwrap_or_else(|status| panic!("{turn:?}, {seed}: {status:?}"));
            assert!(heard >= (TURNS - 1) * BURST, "{heard}");
            assert!(watch.resumes() > 3, "{turn:?}, {seed}: nothing was proved");
            handlers.assert_well();
        }
    }
}

/// A reader that does not read stops the messages and nothing else; what it answers comes the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_apart_passes_messages_that_nobody_reads() {
    let (server, handlers) = served().await;
    let proxy = Proxy::start(server.address(), 6).await.expect("loopback is to be had");
    let checkpoints = Checkpoints::new();
    let (say, said) = mpsc::channel(64);
    let mut client = Client::new(open(proxy.address(), |builder| builder).await);
    let mut request = saying(ReceiverStream::new(said), &checkpoints);
    request.metadata_mut().insert(WAITS, tonic::metadata::MetadataValue::from_static("1"));
    let response = minute("the head", client.phone(request)).await;
    let mut words = response.unwrap().into_inner();
    let dialog = checkpoints.dialog();
    let talking = tokio::spawn(async move {
        for number in 1..=3_000 {
            let text = vec![7; 3_000];
            let _ = say.send(Word { number, text }).await;
        }
    });
    // The window is 4 MiB.
    while checkpoints.progress().sent < (Position { messages: 100, bytes: 0 }) {
        sleep(Duration::from_millis(1)).await;
    }
    for number in 0..50_u8 {
        if number % 10 == 5 {
            proxy.cut(End::Rst);
        }
        dialog.send_expedited(vec![number]).await.unwrap();
        let piece = minute("expedited data", dialog.expedited()).await.unwrap().unwrap();
        assert_eq!(piece[..], [number]);
    }
    // Now it may read.
    dialog.send_expedited(READ).await.unwrap();
    let mut heard = 0;
    while let Some(word) = minute("a word", words.message()).await.unwrap() {
        heard += 1;
        assert_eq!(word.number, heard);
    }
    assert_eq!(heard, 3_000);
    talking.await.unwrap();
    handlers.assert_well();
}

//= test D-12, I14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_back_to_its_point_while_connections_are_cut() {
    for seed in [2, 3] {
        let (server, handlers) = served().await;
        let (proxy, _cutting) = cutting(server.address(), seed).await;
        let mut client = Client::new(open(proxy.address(), |builder| builder).await);
        let checkpoints = Checkpoints::new();
        let (say, request) = items(&checkpoints);
        let call = tokio::spawn(async move { client.dictate(request).await });
        let dialog = checkpoints.dialog();
        let point = || Outgoing::SyncPoint(bytes::Bytes::from_static(b"point"));
        for number in 1..=100 {
            say.send(Outgoing::Message(word(number))).await.unwrap();
        }
        say.send(point()).await.unwrap();
        minute("the point", async {
            while checkpoints.progress().sent_secured.messages < 100 {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        for number in 1_001..=1_050 {
            say.send(Outgoing::Message(word(number))).await.unwrap();
        }
        while say.capacity() < 64 {
            sleep(Duration::from_millis(1)).await;
        }
        let to = Resynchronize::restart().requests(Serial(2));
        let going = dialog.resynchronize(to, "never mind", Duration::from_secs(30));
        let back = minute("the answer", going).await.unwrap_or_else(|status| panic!("{seed}: {status:?}"));
        assert_eq!((back.requests(), &back.state()[..]), (Some(Serial(2)), &b"forgotten"[..]));
        back.go_on();
        for number in 101..=200 {
            say.send(Outgoing::Message(word(number))).await.unwrap();
        }
        drop(say);
        let response = minute("the upload", call).await.unwrap();
        assert_eq!(response.unwrap_or_else(|status| panic!("{seed}: {status:?}")).into_inner().words, 200);
        assert_eq!(*handlers.kept.lock().unwrap(), (1..=200).collect::<Vec<_>>(), "{seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_of_an_upload_closes_when_it_is_kept() {
    let (server, handlers) = served().await;
    let (proxy, _cutting) = cutting(server.address(), 4).await;
    let mut client = Client::new(open(proxy.address(), |builder| builder).await);
    let checkpoints = Checkpoints::new();
    let (say, request) = items(&checkpoints);
    let call = tokio::spawn(async move { client.dictate(request).await });
    let dialog = checkpoints.dialog();
    for unit in 0..5 {
        for number in unit * 10 + 1..=unit * 10 + 10 {
            say.send(Outgoing::Message(word(number))).await.unwrap();
        }
        minute("the unit", dialog.major("done")).await.unwrap();
        assert_eq!(handlers.kept.lock().unwrap().len() as u64, unit * 10 + 10);
    }
    drop(say);
    assert_eq!(minute("the upload", call).await.unwrap().unwrap().into_inner().words, 50);
}
