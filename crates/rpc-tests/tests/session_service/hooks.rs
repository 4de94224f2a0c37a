//! What the application is told of the ends of its sessions.

use std::time::Duration;

use rpc_core::error::Reason;
use rpc_core::principal::Principal;
use rpc_proto::pb::session::v1::{OpenRequest, ReleaseRequest};
use rpc_server::SessionEnd;
use rpc_tests::pb::wards::v1::Order;
use rpc_tests::pb::wards::v1::test_wards_client::TestWardsClient;
use rpc_tests::pb::wards::v1::test_wards_server::TestWardsServer;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, duration, proposal};
use rpc_tests::token;
use rpc_tests::wards::Wards;

use crate::reason;

const SECOND: Duration = Duration::from_secs(1);

async fn on_pipes(wards: &Wards) -> TestServer {
    let (hook, service) = (wards.hook(), TestWardsServer::new(wards.clone()));
    TestServer::on_pipes(|builder| builder.service(service).on_session_end(hook)).await
}

async fn short(server: &TestServer) -> Opened {
    let times = Some(duration(5 * SECOND));
    let open = OpenRequest { lease: times, linger: times, ..proposal() };
    Opened::propose(&server.connect().await, "alice", open).await.unwrap()
}

//= test L-34
#[tokio::test]
async fn the_application_hears_once_of_each_end() {
    let wards = Wards::default();
    let server = TestServer::start_with(|builder| builder.on_session_end(wards.hook())).await;
    let channel = server.connect().await;
    let (released, aborted) = (Opened::open(&channel).await, Opened::open(&channel).await);
    let open = OpenRequest { linger: Some(duration(Duration::ZERO)), ..proposal() };
    let expired = Opened::propose(&server.connect().await, "bob", open).await.unwrap();
    released.service().release(ReleaseRequest::default()).await.unwrap();
    aborted.abort().await;
    expired.query(0, 1).await;
    expired.bare().cut();
    let seen = wards.until("three ends", |seen| seen.ended.len() == 3).await;
    let ends = [
        (released.number, "alice", SessionEnd::Released),
        (aborted.number, "alice", SessionEnd::Aborted),
        (expired.number, "bob", SessionEnd::Expired),
    ];
    for (ended, (number, subject, end)) in seen.ended.iter().zip(ends) {
        assert_eq!((ended.number, ended.end, ended.told_before), (number, end, false));
        assert_eq!(ended.principal, Principal::new(token::ISSUER, subject));
    }
    server.shutdown().await;
    assert_eq!(wards.seen().ended.len(), 3);
}

//= test L-35
//= test L-36
#[tokio::test(start_paused = true)]
async fn the_switch_of_a_dead_man_falls_with_its_session_in_each_way() {
    let wards = Wards::default();
    let server = on_pipes(&wards).await;
    for (end, number) in [(SessionEnd::Released, 1), (SessionEnd::Aborted, 2), (SessionEnd::Expired, 3)] {
        let alice = short(&server).await;
        let mut guards = TestWardsClient::new(alice.channel_for("0.1.0"));
        let running = tokio::spawn(async move { guards.guard(Order::default()).await });
        wards.until("a guard begins", |seen| seen.at_work == number).await;
        let expected = match end {
            SessionEnd::Expired => {
                alice.bare().cut();
                SessionEnd::Expired
            }
            SessionEnd::Aborted => {
                alice.abort().await;
                SessionEnd::Aborted
            }
            // It is not negotiated and its time runs out while the guard is at work: the session is aborted.
            _ => {
                let wait = Some(duration(SECOND));
                let late = alice.service().release(ReleaseRequest { wait }).await.unwrap_err();
                assert_eq!(reason(&late), Reason::SessionEnded);
                SessionEnd::Aborted
            }
        };
        let seen = wards.until("the guard ends", |seen| seen.guards.len() == number as usize).await;
        assert_eq!(seen.guards.last(), Some(&expected));
        if let Ok(answer) = running.await.unwrap() {
            assert_eq!(answer.into_inner().text, format!("{expected:?}"));
        }
    }
}

//= test L-36
#[tokio::test]
async fn a_method_without_a_switch_says_so() {
    let server =
        TestServer::start_with(|builder| builder.service(TestWardsServer::new(Wards::default()))).await;
    let alice = Opened::open(&server.connect().await).await;
    let order = Order { what: "switch".into(), ..Order::default() };
    let refused = TestWardsClient::new(alice.channel()).tell(order).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::LayerMissing);
}
