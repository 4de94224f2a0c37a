//! Streams, and connections that come and go under them.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use rpc_client::Session;
use rpc_client::net::{Backoff, Config};
use rpc_core::error::Reason;
use rpc_core::frame::Frame;
use rpc_core::stream::position::Position;
use rpc_proto::frames::encode;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{OpenRequest, Unit};
use rpc_tests::channel::{Channel, Withheld, frame};
use rpc_tests::pb::streams::v1::Request as Wanted;
use rpc_tests::pb::streams::v1::test_streams_client::TestStreamsClient;
use rpc_tests::pb::vault::v1::Stored;
use rpc_tests::pb::vault::v1::vault_server::VaultServer;
use rpc_tests::proxy::{End, Proxy};
use rpc_tests::server::{TestServer, net};
use rpc_tests::session::{Opened, nonce};
use rpc_tests::streams::{chunk, read, tally};
use rpc_tests::vault::Vault;
use rpc_tests::{soon, token};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) const STORE: &str = "/vault.v1.Vault/Store";
pub(crate) const PAYLOAD_BYTES: u32 = 100;

async fn served() -> (TestServer, Vault) {
    let vault = Vault::default();
    let service = VaultServer::new(vault.clone());
    (TestServer::start_with(|builder| builder.service(service)).await, vault)
}

pub(crate) fn proposal() -> OpenRequest {
    let units = [Unit::ExactlyOnce, Unit::Resume, Unit::MinorSynchronize].map(i32::from);
    OpenRequest { nonce: nonce(), units: units.to_vec(), ..OpenRequest::default() }
}

async fn open(channel: &Channel) -> Opened {
    Opened::propose(channel, "alice", proposal()).await.unwrap()
}

pub(crate) async fn give(upload: &Withheld, chunks: std::ops::Range<u64>) {
    for index in chunks {
        upload.give(frame(&chunk(index, PAYLOAD_BYTES))).await;
    }
}

async fn until_running(session: &Opened) {
    soon("the call begins", async {
        while session.query(0, 1).await.state() != State::Running {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn by_client(address: SocketAddr) -> TestStreamsClient<Session> {
    let backoff = Backoff::default().between(Duration::from_millis(1), Duration::from_millis(20));
    let opening = Session::builder(format!("http://{address}"))
        .credentials(token::token("alice", &[]))
        .service::<TestStreamsClient<Session>>()
        .net(Config::default().connections(1).backoff(backoff))
        .open();
    TestStreamsClient::new(soon("the opening", opening).await.unwrap())
}

/// Socket.IO recovered nothing until the server had sent one event.
//= test S-13
#[tokio::test]
async fn a_stream_goes_on_before_anything_was_said() {
    // By hand: the second attempt is the first that says anything.
    let (server, vault) = served().await;
    let alice = open(&server.connect().await).await;
    let first = alice.channel_for("0.1.0").withhold(STORE);
    until_running(&alice).await;
    first.reset().await;
    let second = alice.channel_for("0.1.1").withhold(STORE);
    give(&second, 0..15).await;
    let stored: Stored = second.finish().await.message();
    assert_eq!(stored.summary.unwrap(), tally(15, PAYLOAD_BYTES).summary());
    assert_eq!((vault.seen().chunks, vault.seen().most_at_work), (15, 1));

    // By the client, of a call that has its head and no message in either direction.
    let server = TestServer::with_streams().await;
    let proxy = Proxy::start(server.address(), 1).await.unwrap();
    let mut client = by_client(proxy.address()).await;
    let (sending, sent) = mpsc::channel(1);
    let mut echoes = soon("the head", client.chat(ReceiverStream::new(sent))).await.unwrap().into_inner();
    proxy.cut(End::Rst);
    for index in 0..20 {
        sending.send(chunk(index, PAYLOAD_BYTES)).await.unwrap();
        assert_eq!(soon("an echo", echoes.next()).await.unwrap().unwrap().index, index);
    }
    drop(sending);
    assert!(soon("the end", echoes.next()).await.is_none());
    assert!(proxy.connections() > 1);
}

/// In Socket.IO the ping timeout of the old connection removed the session that the new one had taken over.
#[tokio::test]
async fn the_late_death_of_the_old_connection_harms_nothing() {
    let (server, vault) = served().await;
    let old = server.connect().await;
    let alice = open(&old).await;
    let first = alice.channel_for("0.1.0").withhold(STORE);
    give(&first, 0..25).await;
    vault.until("chunks", |seen| seen.chunks == 25).await;
    let over = alice.over(&server.connect().await);
    let second = over.channel_for("0.1.1").withhold(STORE);
    give(&second, 0..35).await;
    vault.until("more", |seen| seen.chunks == 35).await;
    // The server learns of the end of the old connection when the new one is well at work.
    old.cut();
    drop((first, alice));
    for (chunks, call) in [(35..45, 1), (45..55, 2)] {
        let until = chunks.end;
        give(&second, chunks).await;
        vault.until("more still", |seen| seen.chunks == until).await;
        let booked = over.transfer(&format!("1.{call}.0"), &rpc_tests::session::booking("while")).await;
        assert_eq!(booked.message::<rpc_tests::pb::ledger::v1::TestReply>().booked, call);
    }
    let stored: Stored = second.finish().await.message();
    assert_eq!(stored.summary.unwrap(), tally(55, PAYLOAD_BYTES).summary());
    assert_eq!((vault.seen().chunks, vault.seen().most_at_work, vault.seen().failures), (55, 1, 0));
}

/// In Socket.IO a volatile packet, which has no offset, shifted the offsets of all that came after it.
#[tokio::test]
async fn frames_between_messages_move_no_position() {
    let (server, vault) = served().await;
    let alice = open(&server.connect().await).await;
    let upload = alice.channel_for("0.1.0").with_header("session-frames", "1").withhold(STORE);
    let mut position = Position::ORIGIN;
    // A frame of a later version, which nobody knows here: field 99 with a byte in it.
    let unknown = [&[0, 0, 0, 0, 10][..], &[0xfa, 0xff, 0xff, 0xff, 0x0f, 4, 0x9a, 0x06, 1, 7]].concat();
    for index in 0..25 {
        let message = frame(&chunk(index, PAYLOAD_BYTES));
        position = Position { messages: position.messages + 1, bytes: position.bytes + message.len() as u64 };
        upload.give(encode(&Frame::Keepalive)).await;
        upload.give(unknown.clone().into()).await;
        upload.give(message).await;
    }
    upload.give(encode(&Frame::End(position))).await;
    vault.until("the whole request", |seen| seen.ended == 1).await;
    assert_eq!((vault.seen().chunks, vault.seen().failures), (25, 0));
    drop(upload);
}

/// With ZooKeeper, two clients with one session take it from each other indefinitely. Here who was overtaken cannot take back
/// what it lost under the number that it had, and is told so.
//= test S-14
#[tokio::test]
async fn two_that_take_a_stream_from_each_other_come_to_an_end() {
    let (server, vault) = served().await;
    let one = open(&server.connect().await).await;
    let other = one.over(&server.connect().await);
    let mut working: Option<Withheld> = None;
    for attempt in 0..12_u64 {
        let [session, overtaken] = if attempt % 2 == 0 { [&one, &other] } else { [&other, &one] };
        let upload = session.channel_for(&format!("0.1.{attempt}")).withhold(STORE);
        give(&upload, 0..5 * (attempt + 1)).await;
        vault.until("chunks", |seen| seen.chunks == 5 * (attempt + 1)).await;
        if working.replace(upload).is_some() {
            // The older attempt was reset. Under its own number it does not come back.
            let back = overtaken.channel_for(&format!("0.1.{}", attempt - 1)).withhold(STORE);
            assert_eq!(back.answer().await.reason(), Some(Reason::AttemptFenced), "back to {attempt}");
        }
    }
    let stored: Stored = working.unwrap().finish().await.message();
    assert_eq!(stored.summary.unwrap(), tally(60, PAYLOAD_BYTES).summary());
    assert_eq!((vault.seen().chunks, vault.seen().most_at_work), (60, 1));
}

/// gRPC ends a stream with its connection; with tonic 0.14 the grace cuts it off without a GOAWAY.
#[tokio::test]
async fn streams_outlive_the_age_of_their_connections() {
    let service = rpc_tests::pb::streams::v1::test_streams_server::TestStreamsServer::new(
        rpc_tests::streams::Streams::default(),
    );
    let server = TestServer::start_with(|builder| {
        builder.service(service).net(net(|config| {
            config.lifetime.age = Duration::from_millis(300);
            config.lifetime.age_jitter_percent = 0;
            config.lifetime.grace = Duration::from_millis(200);
        }))
    })
    .await;
    let proxy = Proxy::start(server.address(), 1).await.unwrap();
    let client = by_client(proxy.address()).await;
    let chunks = |count: u64| {
        tokio_stream::iter(0..count).then(|index| async move {
            tokio::time::sleep(Duration::from_millis(25)).await;
            chunk(index, PAYLOAD_BYTES)
        })
    };
    let wanted = Wanted { chunks: 80, payload_bytes: PAYLOAD_BYTES, pause_ms: 25 };
    let (mut up, mut down, mut both) = (client.clone(), client.clone(), client);
    let (summary, downloaded, echoed) = soon("the streams", async {
        tokio::join!(
            async { up.upload(chunks(80)).await.unwrap().into_inner() },
            async { read(down.download(wanted).await.unwrap().into_inner()).await.unwrap() },
            async { read(both.chat(chunks(80)).await.unwrap().into_inner()).await.unwrap() },
        )
    })
    .await;
    let whole = tally(80, PAYLOAD_BYTES);
    assert_eq!((summary, downloaded, echoed), (whole.summary(), whole, whole));
    assert!(proxy.connections() >= 4, "only {} connections grew old", proxy.connections());
}
