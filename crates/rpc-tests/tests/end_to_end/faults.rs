//! One fault at a time.

use std::time::Duration;

use rpc_client::net::{Keepalive, State};
use rpc_client::{Answered, CallInfo, Outcome, OutcomeExt as _, Reason};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::proxy::{Direction, End, Proxy};
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use tokio::time::Instant;
use tonic::Code;

use super::{Client, open, request};

/// A server behind a proxy, and a client of it.
async fn behind_proxy() -> (TestServer, Proxy, rpc_client::Session, Client) {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address(), 7).await.expect("loopback is to be had");
    let session = open(proxy.address(), |config| config.connections(1)).await;
    let client = Client::new(session.clone());
    (server, proxy, session, client)
}

//= test C-9
//= test C-18
#[tokio::test]
async fn a_cut_while_the_handler_runs_is_not_noticed() {
    for end in [End::Fin, End::Rst] {
        let (server, proxy, _session, mut client) = behind_proxy().await;
        server.books().hold("a");
        let call = tokio::spawn(async move { client.transfer(request("a")).await });
        server.books().started("a").await;
        proxy.cut(end);
        // The retry is attached before the handler may end.
        soon("the new connection", async {
            while proxy.connections() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        server.books().let_go("a");
        let reply = soon("the reply", call).await.unwrap().unwrap();
        let info = *reply.extensions().get::<CallInfo>().unwrap();
        assert_eq!(info.attempts, 2);
        assert!(matches!(info.answered, Some(Answered::Attached | Answered::Replayed)), "{info:?}");
        assert_eq!(server.books().entry("a").started, 1);
        assert_eq!(server.books().booked("a"), 1);
    }
}

#[tokio::test]
async fn a_link_that_falls_silent_is_left_for_another() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (server, proxy, _session, mut client) = behind_proxy().await;
        client.transfer(request("before")).await.unwrap();
        proxy.stall(direction);
        let reply = soon("the reply", client.transfer(request("after"))).await.unwrap();
        assert_eq!(reply.get_ref().booked, 1, "{direction:?}");
        assert_eq!(server.books().entry("after").started, 1);
    }
}

//= test C-28
#[tokio::test]
async fn an_outage_longer_than_the_deadline_ends_with_the_truth() {
    let (server, proxy, session, mut client) = behind_proxy().await;
    // Never sent: no connection can be made.
    proxy.refuse(true);
    proxy.cut(End::Rst);
    soon("the loss of the connection", async {
        let mut state = session.state();
        state.wait_for(|state| !matches!(state.connection, State::Ready)).await.unwrap();
    })
    .await;
    let mut unsent = tonic::Request::new(request("unsent"));
    unsent.set_timeout(Duration::from_millis(200));
    let status = client.transfer(unsent).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::DeadlineExceeded, Some(Outcome::NotExecuted)));
    // Sent, and the answer cannot come.
    proxy.refuse(false);
    client.transfer(request("between")).await.unwrap();
    server.books().hold("sent");
    let mut sent = tonic::Request::new(request("sent"));
    sent.set_timeout(Duration::from_millis(600));
    let call = tokio::spawn({
        let mut client = client.clone();
        async move { client.transfer(sent).await }
    });
    server.books().started("sent").await;
    proxy.refuse(true);
    proxy.cut(End::Rst);
    let status = soon("the deadline", call).await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::DeadlineExceeded, Some(Outcome::Unknown)));
    assert_eq!(status.reason(), Some(Reason::DeadlineExceeded));
    // When the network is back, the slot is settled and nothing ran twice.
    server.books().let_go("sent");
    proxy.refuse(false);
    client.transfer(request("after")).await.unwrap();
    assert_eq!((server.books().booked("unsent"), server.books().booked("sent")), (0, 1));
    session.release().await.unwrap();
}

//= test C-38
//= test C-39
#[tokio::test]
async fn cancelled_calls_do_not_use_up_the_slots() {
    let server = TestServer::start_with(|builder| {
        builder.terms(rpc_tests::server::terms(|terms| terms.slots.default = 4))
    })
    .await;
    let session = open(server.address(), |config| config).await;
    let client = Client::new(session.clone());
    for round in 0..10 {
        for call in 0..4 {
            let id = format!("{round}/{call}");
            let mut client = client.clone();
            let sent = TestRequest { id: id.clone(), delay_ms: 5, ..TestRequest::default() };
            tokio::select! {
                biased;
                _ = client.transfer(sent) => panic!("the handler takes longer"),
                () = server.books().started(&id) => {}
            }
        }
    }
    // All slots are or were in quarantine; the next call waits for one and gets its own reply.
    let reply = soon("the reply", client.clone().transfer(request("last"))).await.unwrap();
    assert_eq!(reply.get_ref().id, "last");
    soon("the release", session.release()).await.unwrap();
    for (id, entry) in server.books().all() {
        assert_eq!((entry.started, entry.booked), (1, 1), "{id}: a cancel does not stop it");
    }
}

#[tokio::test]
async fn a_stoppable_handler_is_stopped_by_its_callers_cancel() {
    let (server, _proxy, _session, client) = behind_proxy().await;
    server.books().hold("a");
    let mut cancelled = client.clone();
    tokio::select! {
        biased;
        _ = cancelled.transfer_stoppable(request("a")) => panic!("it is held"),
        () = server.books().started("a") => {}
    }
    let entry = server.books().until("a", |entry| entry.stopped == 1).await;
    assert_eq!((entry.started, entry.booked), (1, 0));
}

#[tokio::test]
async fn a_session_that_nobody_keeps_expires_and_says_so() {
    let server = TestServer::start_with(|builder| {
        builder.terms(rpc_tests::server::terms(|terms| {
            terms.lease.min = Duration::from_secs(1);
            terms.lease.default = Duration::from_secs(1);
            terms.linger.default = Duration::from_millis(200);
        }))
    })
    .await;
    let proxy = Proxy::start(server.address(), 7).await.expect("loopback is to be had");
    let session = open(proxy.address(), |config| config.connections(1).keepalive(Keepalive::default())).await;
    let mut client = Client::new(session.clone());
    // Kept alive by the client, for longer than the lease.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2_200) {
        client.echo(request("kept")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    proxy.refuse(true);
    proxy.cut(End::Rst);
    let outage = Instant::now();
    while outage.elapsed() < Duration::from_millis(1_500) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.refuse(false);
    let status = soon("the refusal", client.transfer(request("late"))).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::SessionUnknown), "{status:?}");
    // Which of the two depends on who learned first that the session is gone, the call or the keeper.
    assert_ne!(status.outcome(), Some(Outcome::Done), "{status:?}");
    assert_eq!(server.books().booked("late"), 0);
}
