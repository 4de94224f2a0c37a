//! Secrets are planted everywhere, everything is done and everything goes wrong, all crates log at `trace`, and all that can
//! be printed is printed: no secret stands in any of it. Of other crates this is true of the versions in the lock file.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod canaries;
mod client;
mod keeper;
mod log;
mod strangers;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rpc_server::auth::{Authenticator as _, Credentials, JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};
use rpc_server::net::{ClientCertificates, Tls};
use rpc_server::{MemoryStore, Server};
use rpc_tests::ledger::{Books, Ledger};
use rpc_tests::pb::ledger::v1::test_ledger_server::TestLedgerServer;
use rpc_tests::pb::vault::v1::vault_server::VaultServer;
use rpc_tests::server::net;
use rpc_tests::token::{AUDIENCE, ISSUER};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use canaries::{CLAIM, HMAC_KEY, Recognizable, remember};
use keeper::Keeper;
use log::Log;

/// A token of `alice` that lasts so long.
fn token(lifetime: Duration) -> String {
    let now = rpc_tests::token::now();
    let claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "iat": now, "exp": now + lifetime.as_secs(), "note": CLAIM,
    });
    let token = rpc_tests::token::signed_with(HMAC_KEY, &rpc_tests::token::good_header(), &claims);
    remember(&token);
    token
}

fn authenticator() -> JwtAuthenticator {
    let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(HMAC_KEY).unwrap());
    JwtAuthenticator::builder().issuer(issuer).leeway(Duration::ZERO).build().unwrap()
}

/// An error with all of its causes, in both forms.
fn chain(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |error| (**error).source())
        .map(|error| format!("{error} {error:?}\n"))
        .collect()
}

/// A server and where it listens.
async fn serve(log: &Log, tls: Option<Tls>) -> (std::net::SocketAddr, AbortOnDropHandle<()>) {
    let printed = log.clone();
    let mut builder = Server::builder()
        .authenticate(authenticator())
        .store(MemoryStore::new())
        .service(TestLedgerServer::new(Ledger::new(Books::default())))
        .service(VaultServer::new(Keeper(log.clone())))
        .on_session_end(move |ended| printed.write("hooks", &format!("{ended:?}")))
        .entropy(Recognizable)
        .net(net(|_| ()));
    if let Some(tls) = tls {
        log.write("server", &format!("{tls:?}"));
        builder = builder.tls(tls);
    }
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    log.write("server", &format!("{server:?} {:?}", server.handle()));
    let address = server.local_addr();
    let serving = tokio::spawn(async move { drop(server.serve().await) });
    (address, AbortOnDropHandle::new(serving))
}

/// What holds keys, printed.
fn print_keys(log: &Log) {
    let authenticator = Arc::new(authenticator());
    let token = token(Duration::from_secs(60));
    let bearer = rpc_server::auth::Bearer::new(&token).unwrap();
    let credentials = Credentials::none().with_bearer(bearer);
    let issuer = JwtIssuer::hs256(HMAC_KEY, ISSUER, AUDIENCE).unwrap();
    let text = format!(
        "{:?} {authenticator:?} {bearer:?} {credentials:?} {issuer:?} {:?} {:?}",
        Key::hs256(HMAC_KEY),
        authenticator.authenticate(credentials),
        Key::hs256(&HMAC_KEY[..31]),
    );
    log.write("keys", &text);
}

//= test W-13
#[tokio::test]
async fn no_secret_is_printed_whatever_happens() {
    let log = Log::listen();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain_pem, key_pem) = (key.cert.pem(), key.signing_key.serialize_pem());
    let tls = Tls::from_pem(chain_pem.as_bytes(), key_pem.as_bytes(), &ClientCertificates::NotAsked).unwrap();
    print_keys(&log);
    let (secure, _serving) = serve(&log, Some(tls)).await;
    client::does_everything(&log, secure, &chain_pem).await;
    let (plain, _serving) = serve(&log, None).await;
    strangers::send_anything(&log, plain).await;

    let said = log.said();
    for who in ["rpc_client", "rpc_server", "h2", "handlers", "hooks", "panics", "answers", "client"] {
        assert!(said.contains_key(who), "{who} was listened to: {:?}", said.keys());
    }
    let secrets = canaries::all(&key.signing_key.serialize_der());
    assert!(secrets.len() > 12, "tokens were made");
    let mut printed = BTreeSet::new();
    for (who, text) in &said {
        for secret in secrets.iter().filter(|secret| secret.is_in(text)) {
            printed.insert((who.as_str(), secret.name.clone()));
        }
    }
    // A panic's own words go where the program's panics go, and nowhere else.
    assert!(printed.remove(&("panics", "panic".to_owned())), "the handler panicked");
    assert!(printed.is_empty(), "{printed:?}");
}
