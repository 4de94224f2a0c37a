//! Transactions of EXACTLY_ONCE calls, on the embedded store in this process.

use rpc_client::{Outcome, OutcomeExt as _};
use rpc_core::store::Store as _;
use rpc_crash::caller::{self, Client};
use rpc_crash::pb::Entry;
use rpc_crash::pb::entry::Then;
use rpc_crash::pb::vault_server::VaultServer;
use rpc_crash::trust::{AUDIENCE, ISSUER, SECRET};
use rpc_crash::vault::Vault;
use rpc_server::Server;
use rpc_server::auth::{JwtAuthenticator, Key, TrustedIssuer};
use rpc_store::EmbeddedStore;
use tokio::task::JoinSet;
use tonic::Code;

use super::Scratch;

const CALLS: u64 = 64;

async fn serve(scratch: &Scratch) -> (std::net::SocketAddr, rpc_server::Handle, tokio::task::JoinHandle<()>) {
    let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(SECRET).unwrap());
    let server = Server::builder()
        .authenticate(JwtAuthenticator::new(issuer).unwrap())
        .store(EmbeddedStore::open(scratch.0.join("store")).unwrap())
        .service(VaultServer::new(Vault::open(&scratch.0.join("notes")).unwrap()))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(async move {
        server.serve().await.unwrap();
    });
    (address, handle, serving)
}

fn entry(id: &str, then: Then) -> Entry {
    Entry { id: id.into(), then: then.into(), ..Entry::default() }
}

/// All of them read and write the same key.
//= test C-54
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_meet_are_made_one_after_the_other() {
    let scratch = Scratch::new("meet");
    let (address, handle, serving) = serve(&scratch).await;
    let session = caller::open(address, "alice").await.unwrap();
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let mut client = Client::new(session.clone());
        calls.spawn(async move {
            client.book(entry(&call.to_string(), Then::Answer)).await.unwrap().into_inner().total
        });
    }
    let mut totals = calls.join_all().await;
    totals.sort_unstable();
    assert_eq!(totals, (1..=CALLS).collect::<Vec<_>>(), "each saw what the one before it had left");
    session.release().await.unwrap();
    handle.drain(std::time::Duration::ZERO);
    serving.await.unwrap();
}

//= test C-54
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_fails_has_no_effects_and_its_error_is_the_reply() {
    let scratch = Scratch::new("fail");
    let (address, handle, serving) = serve(&scratch).await;
    let session = caller::open(address, "alice").await.unwrap();
    let mut client = Client::new(session.clone());
    let failed = client.book(entry("x", Then::Fail)).await.unwrap_err();
    assert_eq!((failed.code(), failed.outcome()), (Code::FailedPrecondition, Some(Outcome::Done)));
    let panicked = client.book(entry("x", Then::Panic)).await.unwrap_err();
    assert_eq!((panicked.code(), panicked.outcome()), (Code::Internal, Some(Outcome::Done)));
    let booked = client.book(entry("x", Then::Answer)).await.unwrap().into_inner();
    assert_eq!((booked.count, booked.total), (1, 1));
    session.release().await.unwrap();
    handle.drain(std::time::Duration::ZERO);
    serving.await.unwrap();
    // A handle keeps what it stops, the store too; the connections' threads let go of that a moment after the end.
    drop(handle);
    let path = scratch.0.join("store");
    let store = (0..200).find_map(|_| {
        EmbeddedStore::open(&path)
            .inspect_err(|_| std::thread::sleep(std::time::Duration::from_millis(10)))
            .ok()
    });
    assert_eq!(store.unwrap().get(b"id/x").unwrap().unwrap().value[7], 1);
}
