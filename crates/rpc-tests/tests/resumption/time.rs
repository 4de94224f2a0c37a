//! Deadlines, cancels and the end of the session: what becomes of the handlers of streams.

use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::Answered;
use rpc_proto::pb::session::v1::AbortRequest;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The handler of a stream was dropped at the deadline, whatever its policy said.
//= test C-45
//= test C-44
#[tokio::test(start_paused = true)]
async fn a_handler_that_is_to_finish_outlives_the_deadline_and_its_reply_is_recorded() {
    let (server, vault) = piped(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    vault.hold();
    let upload = Upload::begin(&alice.channel_for("0.1.0").with_header("grpc-timeout", "2S"), STORE);
    upload.give(0..30).await;
    let late = upload.finish().await;
    assert_eq!((late.reason(), late.outcome()), (Some(Reason::DeadlineExceeded), Some(Outcome::Unknown)));
    assert_eq!(alice.query(0, 1).await.state(), State::Running);
    // A later attempt waits for the run, and is answered at its own deadline or with the reply.
    let waiting = Upload::begin(&alice.channel_for("0.1.1").with_header("grpc-timeout", "1S"), STORE);
    assert_eq!(waiting.finish().await.reason(), Some(Reason::DeadlineExceeded));
    let waiting = tokio::spawn(Upload::begin(&alice.channel_for("0.1.2"), STORE).finish());
    tokio::time::sleep(SECOND).await;
    vault.let_go();
    let answer = waiting.await.unwrap();
    assert_eq!((summary(&answer), answer.answered()), (tally(30).summary(), Some(Answered::Attached)));
    assert_eq!(alice.query(0, 1).await.state(), State::Done);
    let again = Upload::begin(&alice.channel_for("0.1.3"), STORE).finish().await;
    assert_eq!((summary(&again), again.answered()), (tally(30).summary(), Some(Answered::Replayed)));
    assert_eq!((vault.seen().ended, vault.seen().most_at_work), (1, 1));
}

//= test C-45
#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_more_at_the_deadline_is_told() {
    let (server, vault) = piped(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let upload = Upload::begin(&alice.channel_for("0.1.0").with_header("grpc-timeout", "2S"), STORE);
    upload.give(0..30).await;
    assert_eq!(upload.answer().await.reason(), Some(Reason::DeadlineExceeded));
    vault.until("the end of the request", |seen| seen.failures == 1 && seen.at_work == 0).await;
    let done = soon("the record", until_done(&alice)).await;
    assert_eq!(done.reply.unwrap().code, tonic::Code::DeadlineExceeded as u32, "the handler's own error");
}

async fn until_done(session: &Opened) -> QueryResponse {
    loop {
        let response = session.query(0, 1).await;
        if response.state() != State::Running {
            return response;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

//= test C-36
//= test C-45
#[tokio::test(start_paused = true)]
async fn a_handler_that_may_be_stopped_is_dropped_at_the_deadline() {
    let (server, vault) = piped(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    vault.hold();
    let upload = Upload::begin(&alice.channel_for("0.1.0").with_header("grpc-timeout", "2S"), STOPPABLE);
    upload.give(0..30).await;
    assert_eq!(upload.finish().await.reason(), Some(Reason::DeadlineExceeded));
    vault.until("the end of the handler", |seen| seen.at_work == 0).await;
    assert_eq!(soon("the record", until_done(&alice)).await.state(), State::Unknown);
    let again = Upload::begin(&alice.channel_for("0.1.1"), STOPPABLE).finish().await;
    assert_eq!((again.reason(), again.outcome()), (Some(Reason::DeadlineExceeded), Some(Outcome::Unknown)));
    assert_eq!(vault.seen().ended, 0);
}

/// A query with `cancel` stopped handlers of unary calls and none of streams.
//= test C-37
#[tokio::test]
async fn a_query_stops_the_handler_of_a_stream_exactly_if_its_policy_says_so() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let upload = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    upload.give(0..5).await;
    vault.until("chunks", |seen| seen.chunks == 5).await;
    alice.ask(QueryRequest { slot: 0, sequence: 1, cancel: true, ..QueryRequest::default() }).await;
    upload.give(5..10).await;
    assert_eq!(summary(&upload.finish().await), tally(10).summary());
    let upload = Upload::begin(&alice.channel_for("0.2.0"), STOPPABLE);
    upload.give(0..5).await;
    vault.until("chunks", |seen| seen.chunks == 15).await;
    alice.ask(QueryRequest { slot: 0, sequence: 2, cancel: true, ..QueryRequest::default() }).await;
    let answer = upload.answer().await;
    assert_eq!((answer.reason(), answer.outcome()), (Some(Reason::CallCancelled), Some(Outcome::Unknown)));
    vault.until("the end of the handler", |seen| seen.at_work == 0).await;
}

//= test L-25
#[tokio::test]
async fn the_end_of_the_session_stops_no_handler_that_is_to_finish() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    vault.hold();
    let [finish, stop] = ["0.1.0", "1.1.0"].map(|call| alice.channel_for(call));
    let [finish, stop] = [Upload::begin(&finish, STORE), Upload::begin(&stop, STOPPABLE)];
    for upload in [&finish, &stop] {
        upload.give(0..10).await;
    }
    let finish = tokio::spawn(finish.finish());
    vault.until("both uploads", |seen| seen.at_work == 2 && seen.chunks == 20).await;
    soon("the abort", alice.service().abort(AbortRequest::default())).await.unwrap();
    assert_eq!(stop.answer().await.reason(), Some(Reason::SessionEnded));
    assert_eq!(finish.await.unwrap().reason(), Some(Reason::SessionEnded));
    vault.until("the end of one", |seen| seen.at_work == 1).await;
    vault.let_go();
    vault.until("the end of the other", |seen| seen.at_work == 0).await;
    assert_eq!(vault.seen().ended, 1);
}
