//! `Renew`: the lease, the authority and the ticket.

use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::{QueryRequest, RenewRequest};
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking};
use rpc_tests::token;

use crate::reason;

const ADMIN: &str = "/ledger.v1.TestLedger/Admin";

async fn is_valid(session: &Opened) -> bool {
    let asked = session.service().query(QueryRequest { sequence: 1, ..QueryRequest::default() }).await;
    asked.map_err(|status| assert_eq!(reason(&status), Reason::SessionUnknown)).is_ok()
}

//= test L-10
#[tokio::test]
async fn without_a_token_only_the_lease_is_renewed() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let before = alice.response.authority.unwrap().seconds;
    let renewed = alice.renew(None, RenewRequest::default()).await.unwrap();
    assert_eq!(renewed.lease, alice.response.lease);
    assert!(renewed.ticket.is_empty());
    assert!(renewed.authority.unwrap().seconds <= before);
}

//= test L-11
//= test A-11
#[tokio::test]
async fn a_fresh_token_of_the_same_principal_replaces_the_authority() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let refused = alice.channel().call(ADMIN, &booking("x")).await.unwrap();
    assert_eq!(refused.reason(), Some(Reason::ScopeMissing));
    let more = token::token("alice", &["ledger.admin"]);
    alice.renew(Some(&more), RenewRequest::default()).await.unwrap();
    alice.channel().call(ADMIN, &booking("x")).await.unwrap().message::<TestReply>();
    // Lesser scopes replace greater ones.
    alice.renew(Some(&token::token("alice", &[])), RenewRequest::default()).await.unwrap();
    let refused = alice.channel().call(ADMIN, &booking("x")).await.unwrap();
    assert_eq!(refused.reason(), Some(Reason::ScopeMissing));
    for foreign in [token::token("bob", &["ledger.admin"]), token::ec_token("alice")] {
        let refused = alice.renew(Some(&foreign), RenewRequest { rotate_ticket: true }).await.unwrap_err();
        assert_eq!(reason(&refused), Reason::PrincipalMismatch);
    }
    assert!(is_valid(&alice).await);
    assert_eq!(server.books().booked("x"), 1);
}

//= test L-13
//= test L-14
//= test L-15
//= test L-16
//= test L-17
//= test I23
#[tokio::test]
async fn the_old_ticket_is_good_until_the_new_one_was_used() {
    let server = TestServer::start().await;
    let first = Opened::open(&server.connect().await).await;
    let second = first.rotated().await;
    assert!(is_valid(&first).await && is_valid(&first).await, "an answer that was lost locks nobody out");
    assert!(is_valid(&second).await);
    assert!(!is_valid(&first).await, "the first use of the new one voids the old one");
    assert!(is_valid(&second).await);
}

//= test L-13
//= test L-16
#[tokio::test]
async fn a_second_rotation_replaces_the_ticket_that_nobody_used() {
    let server = TestServer::start().await;
    let first = Opened::open(&server.connect().await).await;
    let lost = first.rotated().await;
    let second = first.rotated().await;
    assert!(!is_valid(&lost).await);
    assert!(is_valid(&first).await);
    assert!(is_valid(&second).await);
    assert!(!is_valid(&first).await);
}

//= test L-14
#[tokio::test]
async fn calls_in_flight_are_not_harmed_by_a_rotation() {
    let server = TestServer::start().await;
    let first = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let running = first.begin("0.1.0", &booking("held"));
    server.books().started("held").await;
    let second = first.rotated().await;
    assert!(is_valid(&second).await);
    assert!(!is_valid(&first).await);
    server.books().let_go("held");
    let answer = running.await.unwrap().unwrap().without_outcome();
    assert_eq!(second.transfer("0.1.1", &booking("held")).await.without_outcome(), answer);
    assert_eq!(server.books().booked("held"), 1);
}
