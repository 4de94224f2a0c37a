//! Calls to a server that is about to end.
//!
//! A drain also tells each connection to go, after which a client sends nothing new on it. What is judged here is what
//! was on its way: requests whose headers came before the drain, and whose bodies come after it.

use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_tests::channel::frame;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::session::{booking, proposal};
use rpc_tests::token;
use tonic::Code;

use crate::scene::{ECHO, OPEN, Scene, TRANSFER};

const DRAINING: (Code, Option<Reason>) = (Code::Unavailable, Some(Reason::Draining));
const LONG: Duration = Duration::from_secs(10);

//= test C-25
//= test C-49
#[tokio::test]
async fn a_draining_server_admits_nothing_new_and_answers_what_it_admitted() {
    let scene = Scene::set().await;
    let books = scene.server.books().clone();
    books.hold("held");
    let running = scene.alice.begin("0.2.0", &booking("held"));
    books.started("held").await;
    let first = scene.alice.channel_for("1.1.0").withhold(TRANSFER);
    let second = scene.alice.channel_for("1.1.1").withhold(TRANSFER);
    let retry = scene.alice.channel_for("0.2.1").withhold(TRANSFER);
    let plain = scene.alice.channel().withhold(ECHO);
    // They have all been sent when a later request on the connection is answered.
    scene.alice.query(0, 2).await;

    scene.server.handle().drain(LONG);
    for (call, outcome) in [(first, Outcome::NotExecuted), (second, Outcome::Unknown)] {
        call.give(frame(&booking("bad"))).await;
        let answer = call.finish().await;
        assert_eq!((answer.status().code(), answer.reason()), DRAINING);
        assert_eq!(answer.outcome(), Some(outcome));
    }
    plain.give(frame(&booking("plain"))).await;
    assert_eq!(plain.finish().await.message::<TestReply>().booked, 1, "plain calls are served to the end");
    retry.give(frame(&booking("held"))).await;
    books.let_go("held");
    let retried = retry.finish().await.without_outcome();
    assert_eq!(retried.message::<TestReply>().booked, 1);
    let ran = running.await.unwrap().expect("the connection holds until its calls have ended");
    // The retry may have fenced the first attempt, if it came in time to wait.
    assert!(ran.reason() == Some(Reason::AttemptFenced) || ran.without_outcome() == retried);
    assert_eq!((books.booked("held"), books.entry("bad").started), (1, 0));
    assert_eq!(scene.server.ended().await.cut, 0);
}

//= test O-16
#[tokio::test]
async fn a_draining_server_opens_no_session() {
    let scene = Scene::set().await;
    let late = scene.bare().bearer(&token::token("bob", &[])).withhold(OPEN);
    scene.alice.query(0, 1).await;
    scene.server.handle().drain(LONG);
    late.give(frame(&proposal())).await;
    let answer = late.finish().await;
    assert_eq!((answer.status().code(), answer.reason()), DRAINING);
    assert_eq!(scene.server.ended().await.cut, 0);
}
