//! Connections that are cut and streams that are reset, before, in and after the handler.

use rpc_core::error::Outcome;
use rpc_proto::headers::Answered;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_tests::channel::{Answer, Channel, frame};
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::proxy::{Direction, End, Fault, Proxy};
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, TRANSFER, booking};

use crate::STOPPABLE;

//= test C-18
//= test C-9
//= test I1
#[tokio::test]
async fn a_connection_cut_in_the_handler_stops_no_handler() {
    for path in [TRANSFER, STOPPABLE] {
        let server = TestServer::start().await;
        let alice = Opened::open(&server.connect().await).await;
        server.books().hold("held");
        let lost = alice.begin_at(path, "0.1.0", &booking("held"));
        server.books().started("held").await;
        alice.bare().cut();
        assert!(lost.await.unwrap().is_none());
        let back = alice.over(&server.connect().await);
        assert_eq!(back.query(0, 1).await.state(), State::Running);
        let retry = back.begin_at(path, "0.1.1", &booking("held"));
        server.books().let_go("held");
        let answer = retry.await.unwrap().unwrap();
        assert_eq!(answer.message::<TestReply>().booked, 1);
        let entry = server.books().entry("held");
        assert_eq!((entry.started, entry.booked, entry.stopped), (1, 1, 0), "{path}");
    }
}

//= test C-35
#[tokio::test]
async fn a_reset_in_the_handler_stops_no_handler_whatever_its_policy() {
    for path in [TRANSFER, STOPPABLE] {
        let server = TestServer::start().await;
        let alice = Opened::open(&server.connect().await).await;
        server.books().hold("held");
        let reset = alice.begin_at(path, "0.1.0", &booking("held"));
        server.books().started("held").await;
        reset.abort();
        assert!(reset.await.unwrap_err().is_cancelled());
        // The reset has been sent when a later request is answered.
        assert_eq!(alice.query(0, 1).await.state(), State::Running);
        server.books().let_go("held");
        let entry = server.books().until("held", |entry| entry.booked == 1).await;
        assert_eq!((entry.started, entry.stopped), (1, 0), "{path}");
        let retry = alice.call(path, "0.1.1", &booking("held")).await;
        assert_eq!(retry.message::<TestReply>().booked, 1);
    }
}

//= test C-5
//= test C-7
#[tokio::test]
async fn a_request_that_breaks_off_is_never_admitted() {
    let server = TestServer::start().await;
    for cut in [false, true] {
        let alice = Opened::open(&server.connect().await).await;
        let withheld = alice.channel_for("0.1.0").withhold(TRANSFER);
        let whole = frame(&booking("broken"));
        // All of the message, but not the end of the request.
        withheld.give(whole).await;
        assert_eq!(alice.query(0, 1).await.state(), State::Absent);
        if cut {
            alice.bare().cut();
        }
        withheld.reset().await;
        let back = alice.over(&server.connect().await);
        assert_eq!(back.query(0, 1).await.state(), State::Absent);
        assert_eq!(server.books().entry("broken").started, 0);
        back.transfer("0.1.0", &booking("whole")).await.message::<TestReply>();
    }
}

//= test C-8
//= test I2
#[tokio::test]
async fn a_reply_lost_on_the_way_is_replayed() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address(), 1).await.unwrap();
    let alice = Opened::open(&Channel::connect(proxy.address()).await.unwrap()).await;
    server.books().hold("held");
    let lost = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    proxy.stall(Direction::ToClient);
    server.books().let_go("held");
    server.books().until("held", |entry| entry.booked == 1).await;
    // Recorded and sent, and nothing arrives.
    let direct = alice.over(&server.connect().await);
    let done = async { while direct.query(0, 1).await.state() != State::Done {} };
    rpc_tests::soon("the record", done).await;
    assert!(!lost.is_finished());
    proxy.cut(End::Rst);
    assert!(lost.await.unwrap().is_none());
    let retry = direct.transfer("0.1.1", &booking("held")).await;
    assert_eq!(retry.answered(), Some(Answered::Replayed));
    assert_eq!((retry.message::<TestReply>().booked, server.books().booked("held")), (1, 1));
}

/// One call, tried until it is answered, each time on a new connection that is cut somewhere.
async fn call_through(proxy: &Proxy, alice: &Opened, slot: usize, sequence: u64) -> Answer {
    let id = format!("{slot}.{sequence}");
    for attempt in 0..200 {
        let Ok(channel) = Channel::connect(proxy.address()).await else { continue };
        let tried = alice.over(&channel).begin(&format!("{id}.{attempt}"), &booking(&id)).await.unwrap();
        let Some(answer) = tried else { continue };
        if answer.outcome() != Some(Outcome::Unknown) {
            return answer;
        }
    }
    panic!("call {id}: no answer in 200 attempts");
}

//= test I1
//= test I2
//= test C-8
//= test C-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_booked_once_while_connections_are_cut_at_random() {
    for seed in 1..=3 {
        let server = TestServer::start().await;
        let proxy = Proxy::start(server.address(), seed).await.unwrap();
        let alice = Opened::open(&server.connect().await).await;
        proxy.plan(Fault::CutSomewhere { bytes_max: 700, end: End::Rst });
        let calls = (0..4).map(async |slot| {
            for sequence in 1..=25 {
                let answer = call_through(&proxy, &alice, slot, sequence).await;
                assert_eq!(answer.message::<TestReply>().booked, 1, "seed {seed}");
            }
        });
        futures_util::future::join_all(calls).await;
        let all = server.books().all();
        assert_eq!(all.len(), 100);
        assert!(all.values().all(|entry| (entry.started, entry.booked) == (1, 1)), "seed {seed}: {all:?}");
        assert!(proxy.connections() > 110, "seed {seed}: {} connections", proxy.connections());
    }
}
