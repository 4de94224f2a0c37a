//! Handlers that secure sync points themselves.

use rpc_client::{OutcomeExt as _, Session};
use rpc_core::error::Reason;
use rpc_tests::pb::streams::v1::Chunk;
use rpc_tests::pb::vault::v1::FetchRequest;
use rpc_tests::pb::vault::v1::vault_client::VaultClient;
use rpc_tests::token;
use tokio_stream::StreamExt as _;

use super::*;

async fn session(server: &TestServer) -> Session {
    let opening = Session::builder(format!("http://{}", server.address()))
        .credentials(token::token("alice", &[]))
        .service::<VaultClient<Session>>()
        .open();
    soon("the opening", opening).await.unwrap()
}

fn chunks(count: u64) -> impl tokio_stream::Stream<Item = Chunk> + Send + 'static {
    tokio_stream::iter((0..count).map(|index| chunk(index, PAYLOAD_BYTES)))
}

//= test S-9
#[tokio::test]
async fn a_handler_secures_the_points_that_it_comes_to() {
    let (server, vault) = served(|builder| builder).await;
    let session = session(&server).await;
    let mut client = VaultClient::new(session.clone());
    let stored = soon("the upload", client.store(chunks(1_000))).await.unwrap().into_inner();
    assert_eq!(stored.summary.unwrap(), tally(1_000).summary());
    assert!(vault.seen().points > 0);
    let fetched = soon("the head", client.fetch(FetchRequest { chunks: 1_000 })).await.unwrap().into_inner();
    let fetched: Vec<_> = soon("the download", fetched.collect()).await;
    assert_eq!(fetched.len(), 1_000);
    soon("the release", session.release()).await.unwrap();
}

#[tokio::test]
async fn a_handler_that_needs_sync_points_says_so_where_there_are_none() {
    let (server, _vault) = served(|builder| builder).await;
    let channel = server.connect().await;
    let plain = channel.bearer(&token::token("alice", &[]));
    let without_session = Upload::begin(&plain, "/vault.v1.Vault/Note").finish().await;
    assert_eq!(without_session.reason(), Some(Reason::CheckpointsRequired));
    let kernel = Opened::propose(&channel, "alice", proposal(&[Unit::ExactlyOnce])).await.unwrap();
    let without_unit = Upload::begin(&kernel.channel_for("0.1.0"), "/vault.v1.Vault/Note").finish().await;
    assert_eq!(without_unit.reason(), Some(Reason::CheckpointsRequired));
    let protected = Upload::begin(&kernel.channel_for("0.1.0"), STORE).finish().await;
    assert_eq!(protected.reason(), Some(Reason::UnitUnsupported));
    let alice = open(&channel, "alice").await;
    let with_both = Upload::begin(&alice.channel_for("0.1.0"), "/vault.v1.Vault/Note");
    with_both.give(0..25).await;
    assert_eq!(summary(&with_both.finish().await), tally(25).summary());
}

#[tokio::test]
async fn a_handler_that_reads_past_the_points_it_is_to_secure_does_not_hang() {
    let (server, vault) = served(|builder| builder).await;
    let mut client = VaultClient::new(session(&server).await);
    let status = soon("the upload", client.ignore(chunks(1_000))).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::CheckpointsIgnored), "{status:?}");
    assert_eq!(vault.seen().failures, 1);
}

/// The server's digest is the client's, or every sync point would end the stream.
#[tokio::test]
async fn points_carry_blake3_where_that_was_agreed_on() {
    let (server, vault) = served(|builder| builder).await;
    let mut units = UNITS.to_vec();
    units.push(Unit::Digest);
    let alice = Opened::propose(&server.connect().await, "alice", proposal(&units)).await.unwrap();
    assert!(alice.response.units.contains(&i32::from(Unit::Digest)));
    let upload = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    upload.give(0..15).await;
    vault.until("a point", |seen| seen.points == 1).await;
    let secured = secured(&alice.query(0, 1).await).clone();
    let sent: Vec<_> = (0..secured.position.unwrap().messages)
        .flat_map(|index| frame(&chunk(index, PAYLOAD_BYTES)))
        .collect();
    assert_eq!(secured.blake3.len(), 32);
    assert_eq!(secured.position.unwrap().bytes, sent.len() as u64);
    upload.give(15..20).await;
    assert_eq!(summary(&upload.finish().await), tally(20).summary());

    let session = Session::builder(format!("http://{}", server.address()))
        .credentials(token::token("alice", &[]))
        .service::<VaultClient<Session>>()
        .unit(rpc_client::Unit::Digest)
        .open();
    let mut client = VaultClient::new(soon("the opening", session).await.unwrap());
    soon("the upload", client.store(chunks(1_000))).await.unwrap();
}
