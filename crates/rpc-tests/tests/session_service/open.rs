//! `Open`: one session for one nonce, and what is negotiated.

use std::collections::BTreeSet;
use std::time::Duration;

use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::{FirstTurn, OpenRequest, Unit};
use rpc_tests::server::{TestServer, limits, terms};
use rpc_tests::session::{Opened, booking, duration, proposal};
use rpc_tests::token;

use crate::reason;

//= test O-3
//= test L-15
//= test L-16
//= test I23
#[tokio::test]
async fn a_repeated_opening_finds_the_session_with_a_fresh_ticket() {
    let server = TestServer::start().await;
    let first = Opened::propose(&server.connect().await, "alice", proposal()).await.unwrap();
    assert!(!first.response.existing);
    let other = server.connect().await;
    let nonce = proposal();
    let lost = Opened::propose(&other, "alice", nonce.clone()).await.unwrap();
    // What is proposed the second time is not negotiated again.
    let again = OpenRequest { slots: 3, units: Vec::new(), ..nonce };
    let found = Opened::propose(&other, "alice", again).await.unwrap();
    assert!(found.response.existing);
    assert_eq!(found.number, lost.number);
    assert_ne!(found.number, first.number);
    assert_ne!(found.ticket, lost.ticket);
    assert_eq!((found.response.slots, &found.response.units), (lost.response.slots, &lost.response.units));
    // The ticket whose answer was lost is good until the fresh one is used.
    lost.query(0, 1).await;
    found.query(0, 1).await;
    lost.service().query(rpc_proto::pb::session::v1::QueryRequest::default()).await.unwrap_err();
    found.transfer("0.1.0", &booking("x")).await.message::<rpc_tests::pb::ledger::v1::TestReply>();
}

//= test O-3
//= test O-4
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn openings_with_one_nonce_at_once_are_one_session() {
    let server = TestServer::start().await;
    let open = proposal();
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let (channel, open) = (server.connect().await, open.clone());
        tasks.push(tokio::spawn(async move { Opened::propose(&channel, "alice", open).await.unwrap() }));
    }
    let mut opened = Vec::new();
    for task in tasks {
        opened.push(task.await.unwrap());
    }
    let numbers: BTreeSet<_> = opened.iter().map(|session| session.number).collect();
    assert_eq!(numbers.len(), 1);
    assert_eq!(opened.iter().filter(|session| !session.response.existing).count(), 1);
    let tickets: BTreeSet<_> = opened.iter().map(|session| session.ticket.0).collect();
    assert_eq!(tickets.len(), 20);
    // Two tickets at most are valid; whoever raced itself has at least the first.
    let mut valid = 0;
    for session in &opened {
        let channel = session.channel();
        let answer = channel.call("/ledger.v1.TestLedger/Echo", &booking("x")).await.unwrap();
        valid += usize::from(answer.reason().is_none());
    }
    assert!((1..=2).contains(&valid), "{valid}");
}

//= test O-3
#[tokio::test]
async fn the_nonce_is_its_principals_own() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let open = proposal();
    let alice = Opened::propose(&channel, "alice", open.clone()).await.unwrap();
    let bob = Opened::propose(&channel, "bob", open.clone()).await.unwrap();
    let other = Opened::propose_with(&channel, &token::ec_token("alice"), open).await.unwrap();
    assert_eq!(BTreeSet::from([alice.number, bob.number, other.number]).len(), 3);
    assert!(!bob.response.existing && !other.response.existing);
}

//= test O-18
//= test L-8
#[tokio::test]
async fn the_nonce_of_a_session_that_ended_opens_nothing() {
    let server = TestServer::start_with(|builder| {
        builder.limits(limits(|limits| limits.retention = Duration::from_secs(600)))
    })
    .await;
    let channel = server.connect().await;
    let open = proposal();
    let ended = Opened::propose(&channel, "alice", open.clone()).await.unwrap();
    ended.abort().await;
    let refused = Opened::propose(&channel, "alice", open).await.err().unwrap();
    assert_eq!(reason(&refused), Reason::NonceUsed);
}

//= test O-5
//= test O-6
#[tokio::test]
async fn numbers_and_tickets_are_never_the_same() {
    let server =
        TestServer::start_with(|builder| builder.limits(limits(|limits| limits.numbers_reserved = 3))).await;
    let channel = server.connect().await;
    let (mut last, mut tickets) = (0, BTreeSet::new());
    for index in 0..50 {
        let session = Opened::open(&channel).await;
        assert!(session.number.value() > last);
        assert!(tickets.insert(session.ticket.0));
        last = session.number.value();
        if index % 2 == 0 {
            session.abort().await;
        }
    }
}

//= test O-7
//= test O-8
#[tokio::test]
async fn what_is_proposed_is_clamped_into_the_servers_range() {
    let server = TestServer::start_with(|builder| builder.terms(terms(|terms| terms.slots.max = 8))).await;
    let channel = server.connect().await;
    let bare = Opened::open(&channel).await.response;
    let seconds = |seconds| Some(duration(Duration::from_secs(seconds)));
    assert_eq!((bare.version, bare.epoch), (1, 1));
    assert_eq!((bare.lease, bare.linger), (seconds(30), seconds(600)));
    assert_eq!((bare.reply_bytes_max, bare.window_bytes), (64 << 10, 4 << 20));
    assert!(bare.authority.is_some_and(|authority| (500..=600).contains(&authority.seconds)));
    let high = OpenRequest {
        versions: vec![7, 1, 0],
        lease: seconds(1_000_000),
        linger: seconds(1_000_000),
        slots: 1_000,
        reply_bytes_max: u32::MAX,
        window_bytes: u64::MAX,
        ..proposal()
    };
    let high = Opened::propose(&channel, "alice", high).await.unwrap().response;
    assert_eq!((high.version, high.slots), (1, 8));
    assert_eq!((high.lease, high.linger), (seconds(3_600), seconds(24 * 3_600)));
    assert_eq!((high.reply_bytes_max, high.window_bytes), (1 << 20, 64 << 20));
    let low = OpenRequest {
        lease: Some(duration(Duration::from_millis(1))),
        slots: 1,
        reply_bytes_max: 1,
        window_bytes: 1,
        ..proposal()
    };
    let low = Opened::propose(&channel, "alice", low).await.unwrap().response;
    assert_eq!((low.lease, low.slots), (seconds(1), 1));
    assert_eq!((low.reply_bytes_max, low.window_bytes), (256, 64 << 10));
}

//= test O-17
//= test O-19
#[tokio::test]
async fn a_unit_is_on_if_both_sides_want_it() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let every =
        OpenRequest { units: (0..64).collect(), first_turn: FirstTurn::Acceptor.into(), ..proposal() };
    let opened = Opened::propose(&channel, "alice", every).await.unwrap().response;
    // Of data separation and activity only one is on, and this store is not durable.
    let off = [Unit::Unspecified, Unit::DataSeparation, Unit::Durable].map(i32::from);
    let on: Vec<i32> = (0..=15).filter(|unit| !off.contains(unit)).collect();
    assert_eq!(opened.units, on);
    assert_eq!(opened.first_turn(), FirstTurn::Acceptor);
    let none = OpenRequest { units: Vec::new(), ..proposal() };
    let opened = Opened::propose(&channel, "alice", none).await.unwrap().response;
    assert!(opened.units.is_empty());
    assert_eq!(opened.first_turn(), FirstTurn::Initiator);
    let choice = OpenRequest { first_turn: FirstTurn::AcceptorChooses.into(), ..proposal() };
    let opened = Opened::propose(&channel, "alice", choice).await.unwrap().response;
    assert_eq!(opened.first_turn(), FirstTurn::Initiator, "the server's own default");
}

//= test O-12
#[tokio::test]
async fn who_asks_for_no_service_is_told_of_all_of_his() {
    let server = TestServer::start().await;
    let opened = Opened::open(&server.connect().await).await;
    let services: Vec<_> =
        opened.response.services.iter().map(|grant| (&*grant.name, grant.granted)).collect();
    assert_eq!(services, [("ledger.v1.TestLedger", true)]);
}
