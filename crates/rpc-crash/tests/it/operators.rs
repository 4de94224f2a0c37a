//! What a program does with its store while its server uses it.

use std::sync::Arc;
use std::time::Duration;

use rpc_crash::caller::{self, Client};
use rpc_crash::pb::Entry;
use rpc_crash::pb::vault_server::VaultServer;
use rpc_crash::trust::{AUDIENCE, ISSUER, SECRET};
use rpc_crash::vault::Vault;
use rpc_server::Server;
use rpc_server::auth::{JwtAuthenticator, Key, TrustedIssuer};
use rpc_store::EmbeddedStore;

use super::Scratch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_copies_and_counts_the_store_that_its_server_uses() {
    let scratch = Scratch::new("operators");
    let store = Arc::new(EmbeddedStore::open(scratch.0.join("store")).unwrap());
    let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(SECRET).unwrap());
    let server = Server::builder()
        .authenticate(JwtAuthenticator::new(issuer).unwrap())
        .store(Arc::clone(&store))
        .service(VaultServer::new(Vault::open(&scratch.0.join("notes")).unwrap()))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.serve());
    let session = caller::open(address, "teller").await.unwrap();
    let mut client = Client::new(session.clone());
    client.book(Entry { id: "one".into(), ..Entry::default() }).await.unwrap();

    let (of_store, to) = (Arc::clone(&store), scratch.0.join("copy"));
    let copied = tokio::task::spawn_blocking(move || of_store.backup(to)).await.unwrap().unwrap();
    assert_eq!((copied.contents.sessions_live, copied.contents.slots), (1, 1));
    client.book(Entry { id: "two".into(), ..Entry::default() }).await.unwrap();
    let found = store.statistics().unwrap();
    assert!(found.closed.is_none() && found.contents.values > copied.contents.values, "{found:?}");

    session.release().await.unwrap();
    handle.drain(Duration::from_secs(5));
    serving.await.unwrap().unwrap();
    assert!(rpc_store::check(scratch.0.join("copy")).unwrap().is_sound());
}
