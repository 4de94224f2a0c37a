//! Activities that are given up, and what an abort says of streams.

use rpc_client::{ActivityState, Session};
use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::AbortRequest;

use super::*;

//= test D-45
#[tokio::test]
async fn an_activity_that_is_discarded_is_ended_and_then_absent() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let upload = Upload::begin(&for_activity(&alice, "0.1.0", "dump", None), STORE);
    upload.give(0..55).await;
    vault.until("chunks", |seen| seen.chunks == 55 && seen.points > 0).await;
    let session = Session::builder(format!("http://{}", server.address()))
        .credentials(rpc_tests::token::token("alice", &[]))
        .unit(rpc_client::Unit::Activity)
        .open()
        .await
        .unwrap();
    soon("the discard", session.discard_activity("dump")).await.unwrap();
    assert_eq!(upload.finish().await.reason(), Some(Reason::ActivityInterrupted));
    vault.until("the handler's end", |seen| seen.at_work == 0).await;
    assert_eq!(session.activity("dump").await.unwrap(), ActivityState::Absent);
    // One that is not there, and one that is done.
    session.discard_activity("dump").await.unwrap();
    let upload = Upload::begin(&for_activity(&alice, "1.1.0", "dump", None), STORE);
    upload.give(0..10).await;
    assert_eq!(summary(&upload.finish().await), tally(10).summary());
    until_activity(&alice, "dump", State::Done).await;
    session.discard_activity("dump").await.unwrap();
    assert_eq!(ask_activity(&alice, "dump", false).await.state(), State::Absent);
}

//= test L-24
//= test L-42
#[tokio::test]
async fn an_abort_says_what_both_sides_had_secured() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let upload = Upload::begin(&for_activity(&alice, "0.1.0", "dump", None), STORE);
    upload.give(0..55).await;
    vault.until("chunks", |seen| seen.chunks == 55 && seen.points > 0).await;
    let aborted = soon("the abort", alice.service().abort(AbortRequest::default())).await.unwrap();
    let [call] = &aborted.into_inner().calls[..] else { panic!("one call was under way") };
    assert_eq!((call.slot, call.sequence, call.state()), (0, 1, State::Running));
    let secured = call.resumption.as_ref().unwrap().requests.as_ref().unwrap();
    let messages = secured.position.as_ref().unwrap().messages;
    assert!((1..=55).contains(&messages), "{messages}");
    assert_eq!(secured.receiver_state, tally(messages).state());
}
