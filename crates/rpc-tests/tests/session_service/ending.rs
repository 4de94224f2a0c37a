//! `Release` and `Abort`.

use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{OpenRequest, ReleaseRequest, Unit};
use rpc_tests::channel::frame;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, duration, proposal};
use rpc_tests::soon;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::reason;

const STOPPABLE: &str = "/ledger.v1.TestLedger/TransferStoppable";

fn begin_release(session: &Opened, wait: Duration) -> JoinHandle<Result<(), Status>> {
    let mut service = session.service();
    let request = ReleaseRequest { wait: Some(duration(wait)) };
    tokio::spawn(async move { soon("release", service.release(request)).await.map(|_| ()) })
}

/// Waits until the session admits nothing new, by asking with a call that is never the next.
async fn releasing(session: &Opened) {
    let refused = async {
        while session.transfer("9.2.0", &booking("probe")).await.reason() != Some(Reason::SessionReleasing) {
            tokio::task::yield_now().await;
        }
    };
    soon("the release begins", refused).await;
}

async fn negotiated(server: &TestServer) -> Opened {
    let units = vec![Unit::ExactlyOnce.into(), Unit::NegotiatedRelease.into()];
    let open = OpenRequest { units, ..proposal() };
    Opened::propose(&server.connect().await, "alice", open).await.unwrap()
}

//= test L-2
//= test L-18
//= test L-19
//= test L-20
//= test I18
#[tokio::test]
async fn a_release_waits_for_what_runs_and_admits_nothing_new() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    let release = begin_release(&alice, Duration::from_secs(30));
    releasing(&alice).await;
    for (call, outcome) in [("1.1.0", Outcome::NotExecuted), ("1.1.1", Outcome::Unknown)] {
        let refused = alice.transfer(call, &booking("new")).await;
        assert_eq!((refused.reason(), refused.outcome()), (Some(Reason::SessionReleasing), Some(outcome)));
    }
    let retry = alice.begin("0.1.1", &booking("held"));
    // What is asked after it on the same connection is answered after it was attached.
    alice.query(0, 1).await;
    assert!(!release.is_finished());
    server.books().let_go("held");
    let ran = running.await.unwrap().unwrap().without_outcome();
    assert_eq!(ran.message::<TestReply>().booked, 1);
    assert_eq!(retry.await.unwrap().unwrap().without_outcome(), ran);
    release.await.unwrap().unwrap();
    let ended = alice.transfer("0.1.2", &booking("held")).await;
    assert_eq!(ended.reason(), Some(Reason::SessionUnknown));
    assert_eq!((server.books().booked("held"), server.books().entry("new").started), (1, 0));
}

//= test L-21
//= test I19
#[tokio::test]
async fn a_negotiated_release_is_refused_in_time_and_changes_nothing() {
    let server = TestServer::start().await;
    let alice = negotiated(&server).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        let refused = begin_release(&alice, wait).await.unwrap().unwrap_err();
        assert_eq!(reason(&refused), Reason::ReleaseRefused);
        assert_eq!(alice.query(0, 1).await.state(), State::Running);
    }
    alice.transfer("1.1.0", &booking("new")).await.message::<TestReply>();
    server.books().let_go("held");
    running.await.unwrap().unwrap().message::<TestReply>();
    begin_release(&alice, Duration::ZERO).await.unwrap().unwrap();
}

//= test L-22
//= test L-25
#[tokio::test]
async fn a_release_that_is_not_negotiated_aborts_in_time() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    let aborted = begin_release(&alice, Duration::from_millis(50)).await.unwrap().unwrap_err();
    assert_eq!(reason(&aborted), Reason::SessionEnded);
    assert_eq!(alice.transfer("0.1.1", &booking("held")).await.reason(), Some(Reason::SessionUnknown));
    // The handler may finish, and its caller still waits on its connection.
    server.books().let_go("held");
    assert_eq!(running.await.unwrap().unwrap().message::<TestReply>().booked, 1);
    assert_eq!(server.books().entry("held").stopped, 0);
}

//= test L-33
#[tokio::test]
async fn a_release_whose_connection_is_lost_is_off() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let _running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    let release = begin_release(&alice, Duration::from_secs(60));
    releasing(&alice).await;
    alice.bare().cut();
    release.await.unwrap().unwrap_err();
    let back = alice.over(&server.connect().await);
    // Until the server sees the loss, the release goes on.
    let admitted = async {
        while back.transfer("1.1.0", &booking("new")).await.reason() == Some(Reason::SessionReleasing) {
            tokio::task::yield_now().await;
        }
    };
    soon("the release is off", admitted).await;
    server.books().let_go("held");
    assert_eq!(back.transfer("0.1.1", &booking("held")).await.message::<TestReply>().booked, 1);
    assert_eq!(server.books().booked("new"), 1);
}

//= test L-24
//= test L-25
//= test L-26
//= test C-37
#[tokio::test]
async fn an_abort_ends_the_session_at_once_and_tells_what_ran() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("finish");
    server.books().hold("stop");
    let finish = alice.begin("0.1.0", &booking("finish"));
    let stop = alice.begin_at(STOPPABLE, "2.1.0", &booking("stop"));
    server.books().started("finish").await;
    server.books().started("stop").await;
    let aborted = alice.abort().await;
    let calls: Vec<_> = aborted.calls.iter().map(|call| (call.slot, call.sequence, call.state())).collect();
    assert_eq!(calls, [(0, 1, State::Running), (2, 1, State::Running)]);
    assert_eq!(alice.transfer("0.1.1", &booking("finish")).await.reason(), Some(Reason::SessionUnknown));
    server.books().until("stop", |entry| entry.stopped == 1).await;
    assert_eq!(stop.await.unwrap().unwrap().outcome(), Some(Outcome::Unknown));
    server.books().let_go("finish");
    assert_eq!(finish.await.unwrap().unwrap().message::<TestReply>().booked, 1);
    assert_eq!(server.books().entry("finish").stopped, 0);
}

//= test L-19
#[tokio::test]
async fn releases_of_several_connections_are_all_answered() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = alice.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    let over = alice.over(&server.connect().await);
    let releases = [&alice, &over].map(|session| begin_release(session, Duration::from_secs(30)));
    releasing(&alice).await;
    server.books().let_go("held");
    running.await.unwrap().unwrap().message::<TestReply>();
    for release in releases {
        // One that came after the end is told that there is no such session, which its caller takes for success.
        if let Err(status) = release.await.unwrap() {
            assert_eq!(reason(&status), Reason::SessionUnknown);
        }
    }
}

/// The ticket is checked when the headers come, the call is admitted when its body is there. A session that ended in
/// between ran the call all the same.
//= test I8
//= test I18
#[tokio::test]
async fn a_call_whose_body_comes_after_the_end_of_the_session_does_not_run() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let late = alice.channel_for("0.1.0").withhold("/ledger.v1.TestLedger/Transfer");
    // What is asked after it on the same connection is answered after its headers were seen.
    alice.query(0, 1).await;
    alice.service().release(ReleaseRequest::default()).await.unwrap();
    late.give(frame(&booking("late"))).await;
    let refused = late.finish().await;
    assert_eq!(
        (refused.reason(), refused.outcome()),
        (Some(Reason::SessionEnded), Some(Outcome::NotExecuted))
    );
    assert_eq!(server.books().entry("late").started, 0);
}
