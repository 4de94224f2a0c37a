//! Each attempt is authorized; one that was goes on.

use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::RenewRequest;
use rpc_tests::token::{token, token_for};

use super::*;

const GUARDED: &str = "/vault.v1.Vault/Guarded";

//= test S-32
//= test A-15
//= test A-20
#[tokio::test(start_paused = true)]
async fn a_resumed_attempt_is_authorized_again_before_anything_is_delivered() {
    let (server, vault) = piped(|builder| builder).await;
    let short = token_for("alice", &["vault.guarded"], Duration::from_secs(10));
    let proposal = OpenRequest {
        lease: Some(rpc_tests::session::duration(Duration::from_secs(600))),
        ..proposal(&UNITS)
    };
    let alice = Opened::propose_with(&server.connect().await, &short, proposal).await.unwrap();
    let first = Upload::begin(&alice.channel_for("0.1.0"), GUARDED);
    first.give(0..5).await;
    vault.until("chunks", |seen| seen.chunks == 5).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    // What was authorized goes on.
    first.give(5..10).await;
    vault.until("chunks", |seen| seen.chunks == 10).await;
    first.lose().await;
    let all: Vec<_> = (0..20).flat_map(|index| frame(&chunk(index, PAYLOAD_BYTES))).collect();
    let refused = |reason: Reason| {
        let (channel, all) = (alice.channel_for("0.1.1"), all.clone().into());
        async move {
            let answer = soon("the refusal", channel.call_bytes(GUARDED, all)).await.unwrap();
            assert_eq!(answer.reason(), Some(reason));
        }
    };
    refused(Reason::AuthorityExpired).await;
    let renew = |token: String| {
        let alice = alice.clone();
        async move { alice.renew(Some(&token), RenewRequest::default()).await.unwrap() }
    };
    renew(token("alice", &[])).await;
    refused(Reason::ScopeMissing).await;
    assert_eq!(vault.seen().chunks, 10, "nothing more was delivered");
    renew(token("alice", &["vault.guarded"])).await;
    let second = Upload::begin(&alice.channel_for("0.1.1"), GUARDED);
    second.give(0..20).await;
    assert_eq!(summary(&second.finish().await), tally(20).summary());
    assert_eq!((vault.seen().chunks, vault.seen().most_at_work), (20, 1));
}

//= test S-32
//= test A-17
#[tokio::test]
async fn nobody_resumes_the_stream_of_another_session() {
    let (server, vault) = served(|builder| builder).await;
    let channel = server.connect().await;
    let [alice, bob] = [open(&channel, "alice").await, open(&channel, "bob").await];
    let first = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    first.give(0..5).await;
    vault.until("chunks", |seen| seen.chunks == 5).await;
    let stolen = alice.with_ticket(&bob.ticket.0);
    let refused = Upload::begin(&stolen.channel_for("0.1.1"), STORE).finish().await;
    assert_eq!(refused.reason(), Some(Reason::SessionUnknown));
    first.give(5..10).await;
    assert_eq!(summary(&first.finish().await), tally(10).summary());
}
