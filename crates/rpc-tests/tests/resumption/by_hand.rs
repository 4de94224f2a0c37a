//! A program without a session library sends an upload again from where a query says.

use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::Answered;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_tests::pb::vault::v1::FetchRequest;

use super::*;

//= test S-29
#[tokio::test]
async fn an_upload_goes_on_from_where_the_query_says() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let mut told = 0;
    for attempt in 0..4 {
        let upload = Upload::begin(&alice.channel_for(&format!("0.1.{attempt}")), STORE);
        let points = vault.seen().points;
        upload.give(told..told + 35).await;
        vault.until("a point", |seen| seen.chunks == told + 35 && seen.points > points).await;
        let response = alice.query(0, 1).await;
        assert_eq!(response.state(), State::Running);
        let secured = secured(&response);
        assert_eq!(
            secured.receiver_state,
            tally(place(&response).messages).state(),
            "the handler's own state"
        );
        assert!(place(&response).messages > told, "{secured:?} after {told}");
        told = place(&response).messages;
        upload.lose().await;
    }
    let last = Upload::begin(&alice.channel_for("0.1.4"), STORE);
    last.give(told..200).await;
    let answer = last.finish().await;
    assert_eq!((summary(&answer), answer.answered()), (tally(200).summary(), Some(Answered::Attached)));
    assert_eq!(vault.seen().most_at_work, 1);
}

//= test S-29
#[tokio::test]
async fn an_upload_of_which_nobody_asked_begins_again_and_arrives_once() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let first = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    first.give(0..35).await;
    vault.until("chunks", |seen| seen.chunks == 35).await;
    first.lose().await;
    let second = Upload::begin(&alice.channel_for("0.1.1"), STORE);
    second.give(0..50).await;
    assert_eq!(summary(&second.finish().await), tally(50).summary());
    assert_eq!(vault.seen().chunks, 50);
}

//= test S-29
#[tokio::test]
async fn what_the_header_says_counts_more_than_what_was_told() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let first = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    first.give(0..35).await;
    vault.until("a point", |seen| seen.chunks == 35 && seen.points > 0).await;
    let early = alice.query(0, 1).await;
    let points = vault.seen().points;
    first.give(35..65).await;
    vault.until("another", |seen| seen.chunks == 65 && seen.points > points).await;
    assert!(place(&alice.query(0, 1).await).messages > place(&early).messages);
    first.lose().await;
    let header = resume_value(&resume(place(&early)));
    let second = Upload::begin(&alice.channel_for("0.1.1").with_header("session-resume-bin", header), STORE);
    second.give(place(&early).messages..80).await;
    assert_eq!(summary(&second.finish().await), tally(80).summary());
}

//= test S-12
//= test S-19
#[tokio::test]
async fn a_place_that_leaves_a_gap_is_refused_and_the_older_attempt_goes_on() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let first = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    first.give(0..35).await;
    vault.until("chunks", |seen| seen.chunks == 35).await;
    let header = resume_value(&resume(Position { messages: 36, bytes: 10_000 }));
    let second = Upload::begin(&alice.channel_for("0.1.1").with_header("session-resume-bin", header), STORE);
    let refused = second.finish().await;
    assert_eq!(
        (refused.reason(), refused.outcome()),
        (Some(Reason::ProtocolViolated), Some(Outcome::Unknown))
    );
    first.give(35..40).await;
    assert_eq!(summary(&first.finish().await), tally(40).summary());
}

//= test S-30
//= test C-8
//= test W-10
#[tokio::test]
async fn the_reply_of_an_upload_is_recorded_like_that_of_a_unary_call() {
    let (server, vault) = served(|builder| builder).await;
    let channel = server.connect().await;
    let alice = open(&channel, "alice").await;
    let upload = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    upload.give(0..30).await;
    let first = upload.finish().await;
    assert_eq!(first.answered(), Some(Answered::New));
    let over = alice.over(&server.connect().await);
    for attempt in 1..4 {
        // Nothing is sent again, or all of it, or what is only half of it.
        let again = Upload::begin(&over.channel_for(&format!("0.1.{attempt}")), STORE);
        again.give(0..(attempt - 1) * 15).await;
        let answer = again.finish().await;
        assert_eq!(answer.answered(), Some(Answered::Replayed));
        assert_eq!(answer.clone().without_outcome(), first.clone().without_outcome());
    }
    let done = alice.query(0, 1).await;
    assert_eq!(done.state(), State::Done);
    assert_eq!(done.reply.unwrap().response, first.body.slice(5..));
    let fenced = Upload::begin(&over.channel_for("0.1.2"), STORE).finish().await;
    assert_eq!((fenced.reason(), vault.seen().ended), (Some(Reason::AttemptFenced), 1));
    let false_retry = Upload::begin(&over.channel_for("0.1.9"), STOPPABLE).finish().await;
    assert_eq!(false_retry.reason(), Some(Reason::CallFalseRetry));
}

//= test S-30
//= test C-16
#[tokio::test]
async fn a_reply_over_the_bound_is_told_once() {
    let (server, _vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let channel = |attempt: u32| {
        alice.channel_for(&format!("0.1.{attempt}")).with_header(rpc_tests::vault::FILLER, "100000")
    };
    let first = Upload::begin(&channel(0), STORE).finish().await;
    assert_eq!(first.message::<Stored>().filler.len(), 100_000);
    let again = Upload::begin(&channel(1), STORE).finish().await;
    assert_eq!((again.reason(), again.outcome()), (Some(Reason::ExecutedReplyDropped), Some(Outcome::Done)));
    assert!(alice.query(0, 1).await.reply.unwrap().dropped);
}

//= test S-30
//= test C-14
#[tokio::test]
async fn the_error_of_a_handler_is_recorded_too() {
    let (server, _vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    let wrong = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    wrong.give(7..8).await;
    let first = wrong.finish().await;
    assert_eq!((first.status().code(), first.outcome()), (tonic::Code::DataLoss, Some(Outcome::Done)));
    let again = Upload::begin(&alice.channel_for("0.1.1"), STORE).finish().await;
    assert_eq!(again.answered(), Some(Answered::Replayed));
    assert_eq!((again.status().code(), again.outcome()), (tonic::Code::DataLoss, Some(Outcome::Done)));
}

/// Nobody can say which of the responses arrived, so nothing may be said to follow them.
#[tokio::test]
async fn a_download_does_not_go_on_by_hand() {
    let (server, vault) = served(|builder| builder).await;
    let alice = open(&server.connect().await, "alice").await;
    vault.hold();
    let download = "/vault.v1.Vault/Fetch";
    let request = FetchRequest { chunks: 25 };
    let channel = alice.channel_for("0.1.0");
    let sent = frame(&request);
    let first = tokio::spawn(async move { channel.call_bytes(download, sent).await });
    soon("the responses", async {
        while alice.query(0, 1).await.resumption.unwrap_or_default().responses.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.abort();
    let again = soon("the answer", alice.channel_for("0.1.1").call(download, &request)).await.unwrap();
    assert_eq!((again.reason(), again.outcome()), (Some(Reason::StreamIncomplete), Some(Outcome::Unknown)));
    vault.let_go();
    vault.until("the end", |seen| seen.at_work == 0).await;
    let done = soon("the record", async {
        loop {
            let response = alice.query(0, 1).await;
            if response.state() == State::Done {
                return response;
            }
        }
    })
    .await;
    assert!(done.reply.unwrap().dropped, "of many messages the record has the status only");
}
