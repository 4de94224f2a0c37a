//! What all streams of a server may take together.

use rpc_core::error::{Outcome, Reason};
use rpc_proto::status::Details;

use super::*;

const KIB: u64 = 1 << 10;

//= test S-31
//= test E-4
#[tokio::test]
async fn a_stream_for_which_there_is_no_memory_is_not_executed_and_may_come_again() {
    let (server, vault) = served(|builder| builder.stream_memory_max(256 * KIB)).await;
    let channel = server.connect().await;
    let [alice, bob] = [open(&channel, "alice").await, open(&channel, "bob").await];
    let first = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    let second = Upload::begin(&bob.channel_for("0.1.0"), STORE);
    for upload in [&first, &second] {
        upload.give(0..5).await;
    }
    vault.until("both", |seen| seen.at_work == 2).await;
    let refused = Upload::begin(&alice.channel_for("1.1.0"), STORE).finish().await;
    assert_eq!(
        (refused.reason(), refused.outcome()),
        (Some(Reason::StreamsExhausted), Some(Outcome::NotExecuted))
    );
    assert!(Details::of(&refused.status()).retry_after.is_some());
    assert_eq!(alice.query(1, 1).await.state(), State::Absent, "it used up no sequence");
    // Attempts of what was admitted need nothing more.
    first.lose().await;
    let first = Upload::begin(&alice.channel_for("0.1.1"), STORE);
    first.give(0..8).await;
    assert_eq!(summary(&first.finish().await), tally(8).summary());
    let mut attempt = 0;
    let third = soon("the third", async {
        loop {
            let third = Upload::begin(&alice.channel_for(&format!("1.1.{attempt}")), STORE).finish().await;
            if third.reason() != Some(Reason::StreamsExhausted) {
                return third;
            }
            attempt += 1;
        }
    })
    .await;
    assert_eq!(summary(&third), tally(0).summary());
    second.give(5..9).await;
    assert_eq!(summary(&second.finish().await), tally(9).summary());
}

/// Each of many sessions had as much reserved for its last stream as for one that runs.
//= test S-31
#[tokio::test]
async fn a_stream_whose_caller_has_everything_takes_no_memory() {
    let (server, _vault) = served(|builder| builder.stream_memory_max(128 * KIB)).await;
    let channel = server.connect().await;
    for _ in 0..20 {
        let alice = open(&channel, "alice").await;
        let mut attempt = 0;
        soon("a place", async {
            loop {
                let upload = Upload::begin(&alice.channel_for(&format!("0.1.{attempt}")), STORE);
                upload.give(0..3).await;
                let answer = upload.finish().await;
                if answer.reason() != Some(Reason::StreamsExhausted) {
                    return assert_eq!(summary(&answer), tally(3).summary());
                }
                attempt += 1;
            }
        })
        .await;
        let again = Upload::begin(&alice.channel_for("0.1.99"), STORE).finish().await;
        assert_eq!(summary(&again), tally(3).summary(), "the record has what the stream has no more");
    }
}
