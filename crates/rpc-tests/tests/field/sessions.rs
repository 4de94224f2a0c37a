//! Sessions that come back: late, elsewhere, all at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::Answered;
use rpc_proto::pb::session::v1::OpenRequest;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::pb::vault::v1::Stored;
use rpc_tests::pb::vault::v1::vault_server::VaultServer;
use rpc_tests::server::{TestServer, net};
use rpc_tests::session::{Opened, TRANSFER, booking, duration};
use rpc_tests::streams::tally;
use rpc_tests::token;
use rpc_tests::vault::Vault;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::streams::{PAYLOAD_BYTES, STORE, give, proposal};

/// In Socket.IO what a long silent connection needed to be recovered was gone before it was cut. The linger counts from the
/// loss of the last connection, and from nothing before it.
//= test L-4
#[tokio::test(start_paused = true)]
async fn idle_for_longer_than_the_linger_and_then_cut() {
    let vault = Vault::default();
    let service = VaultServer::new(vault.clone());
    let server = TestServer::on_pipes(|builder| builder.service(service)).await;
    let channel = server.connect().await;
    let lease = Some(duration(Duration::from_secs(600)));
    let linger = Some(duration(Duration::from_secs(5)));
    let alice =
        Opened::propose(&channel, "alice", OpenRequest { lease, linger, ..proposal() }).await.unwrap();
    let first = alice.channel_for("0.1.0").withhold(STORE);
    give(&first, 0..15).await;
    vault.until("chunks", |seen| seen.chunks == 15).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    channel.cut();
    drop((first, channel));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let back = alice.over(&server.connect().await);
    let second = back.channel_for("0.1.1").withhold(STORE);
    give(&second, 0..30).await;
    let stored: Stored = second.finish().await.message();
    assert_eq!(stored.summary.unwrap(), tally(30, PAYLOAD_BYTES).summary());
    assert_eq!(vault.seen().most_at_work, 1);
}

/// rsocket-java and SignalR keep sessions in the process that began them, and a balancer sends clients anywhere. Here the
/// other process says that it does not know the session, runs nothing, and claims nothing of attempts that it did not see.
#[tokio::test]
async fn at_another_server_a_session_is_unknown_and_lives_on_at_its_own() {
    let [own, other] = [TestServer::start().await, TestServer::start().await];
    let alice = Opened::open(&own.connect().await).await;
    // The other one has a session of that number, too.
    let strangers =
        Opened::propose(&other.connect().await, "alice", rpc_tests::session::proposal()).await.unwrap();
    assert_eq!(alice.number, strangers.number);
    alice.transfer("0.1.0", &booking("first")).await.message::<TestReply>();
    let elsewhere = alice.over(&other.connect().await);
    for (call, outcome) in [("0.1.1", Outcome::Unknown), ("0.2.0", Outcome::NotExecuted)] {
        let told = elsewhere.transfer(call, &booking("elsewhere")).await;
        let expected = (Code::NotFound, Some(Reason::SessionUnknown), Some(outcome));
        assert_eq!((told.status().code(), told.reason(), told.outcome()), expected, "{call}");
    }
    assert!(other.books().all().is_empty());
    let back = alice.over(&own.connect().await);
    let replayed = back.transfer("0.1.1", &booking("first")).await;
    assert_eq!(replayed.answered(), Some(Answered::Replayed));
    back.transfer("0.2.0", &booking("second")).await.message::<TestReply>();
    strangers.transfer("0.1.0", &booking("others")).await.message::<TestReply>();
}

/// Connections of the storm, and sessions on each.
const CONNECTIONS: usize = 100;
const SESSIONS: usize = 100;

/// Everybody has made a call when all connections are cut, and comes back in the same moment to ask for its answer once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_come_back_at_once() {
    let server = TestServer::start_with(|builder| {
        builder.net(net(|config| {
            config.limits.per_address = 10_000;
            // Clients share the threads of the server here: while ten thousand calls are ready, one of them may be late.
            config.timeouts.preface = Duration::from_secs(60);
        }))
    })
    .await;
    let server = Arc::new(server);
    let storm = Arc::new(Barrier::new(CONNECTIONS));
    let mut crowds = JoinSet::new();
    for crowd in 0..CONNECTIONS {
        let (server, storm) = (Arc::clone(&server), Arc::clone(&storm));
        crowds.spawn(async move {
            let sessions = open_and_call(&server, crowd).await;
            storm.wait().await;
            // All connections are gone with their last user.
            let channel = server.connect().await;
            let asked = sessions.into_iter().enumerate().map(|(index, session)| {
                let session = session.over(&channel);
                async move {
                    let (call, request) =
                        (session.channel_for("0.1.1"), booking(&format!("{crowd}/{index}")));
                    let answer = call.call(TRANSFER, &request).await.unwrap();
                    assert_eq!(answer.answered(), Some(Answered::Replayed), "{crowd}/{index}");
                    assert_eq!(answer.message::<TestReply>().booked, 1);
                    session.number
                }
            });
            join_all(asked).await
        });
    }
    let numbers = tokio::time::timeout(Duration::from_secs(300), crowds.join_all()).await.unwrap();
    let numbers: std::collections::BTreeSet<_> = numbers.into_iter().flatten().collect();
    assert_eq!(numbers.len(), CONNECTIONS * SESSIONS);
    let entries = server.books().all();
    assert_eq!(entries.len(), CONNECTIONS * SESSIONS);
    assert!(entries.values().all(|entry| (entry.started, entry.booked) == (1, 1)), "each call ran once");
}

/// The sessions of one connection, which is cut when each of them has made a call.
async fn open_and_call(server: &TestServer, crowd: usize) -> Vec<Opened> {
    let channel = server.connect().await;
    let token = token::token(&format!("crowd {crowd}"), &[]);
    let mut opened = Vec::new();
    for _ in 0..SESSIONS {
        // Nobody speaks in the first of them until the last of all is open.
        let lease = Some(duration(Duration::from_secs(3_600)));
        let proposal = OpenRequest { lease, ..rpc_tests::session::proposal() };
        opened.push(Opened::propose_with(&channel, &token, proposal).await.unwrap());
    }
    let calls = opened.iter().enumerate().map(|(index, session)| async move {
        let answer = session.transfer("0.1.0", &booking(&format!("{crowd}/{index}"))).await;
        assert_eq!(answer.answered(), Some(Answered::New), "{crowd}/{index}");
    });
    join_all(calls).await;
    channel.cut();
    opened
}
