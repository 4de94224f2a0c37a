//! Every shape of a token that has fooled somebody, at a whole server: each is told UNAUTHENTICATED with its reason, runs
//! nothing, and costs the connection nothing.
//!
//! The clock of the authenticator stands and there is no leeway, so that edges are exact. The exact causes, which callers are
//! not told, are compared beside the authenticator.

mod claims;
mod form;
mod good;
mod header;
mod keys;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rpc_core::error::Reason;
use rpc_server::auth::{JwtAuthenticator, Key, TrustedIssuer};
use rpc_server::{MemoryStore, Server};
use rpc_tests::channel::{Answer, Channel};
use rpc_tests::ledger::{Books, Ledger};
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::pb::ledger::v1::test_ledger_server::TestLedgerServer;
use rpc_tests::server::net;
use rpc_tests::session::{booking, proposal};
use rpc_tests::soon;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

use crate::scene::{ECHO, OPEN};
use keys::{KEYS, SECRET, Signer};

/// The time of the authenticator, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
const AUDIENCE: &str = "ledger";
/// Has one secret without id.
const SYMMETRIC: &str = "https://hs.test";
/// Has three public keys: `es`, `ed`, `rs`.
const ASYMMETRIC: &str = "https://id.test";
/// Has another key with the id `es`.
const FOREIGN: &str = "https://foreign.test";

/// What one request says of its caller, and what it is told.
struct Shape {
    name: String,
    /// The values of `authorization`.
    values: Vec<Vec<u8>>,
    reason: Reason,
}

impl Shape {
    fn of(name: impl Into<String>, token: impl AsRef<str>) -> Self {
        Self::told(name, token, Reason::TokenInvalid)
    }

    fn told(name: impl Into<String>, token: impl AsRef<str>, reason: Reason) -> Self {
        let value = format!("Bearer {}", token.as_ref()).into_bytes();
        Self { name: name.into(), values: vec![value], reason }
    }

    fn said(name: impl Into<String>, values: &[&[u8]]) -> Self {
        let values = values.iter().map(|value| value.to_vec()).collect();
        Self { name: name.into(), values, reason: Reason::TokenInvalid }
    }

    async fn call(&self, bare: &Channel, path: &str) -> Answer {
        let said = |channel: Channel, value: &Vec<u8>| channel.with_header("authorization", value);
        let channel = self.values.iter().fold(bare.clone(), said);
        let answer = match path {
            OPEN => soon(&self.name, channel.call(path, &proposal())).await,
            _ => soon(&self.name, channel.call(path, &booking("bad"))).await,
        };
        answer.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

fn good_header() -> Value {
    json!({ "typ": "at+jwt", "alg": "ES256", "kid": "es" })
}

fn good_claims() -> Value {
    json!({
        "iss": ASYMMETRIC, "sub": "alice", "aud": AUDIENCE,
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300, "jti": "token-1", "scope": "read write",
    })
}

fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name).unwrap();
    object
}

/// Signed with the key `es`, whatever header and claims say.
fn signed(header: &Value, claims: &Value) -> String {
    Signer::Es(&KEYS.es).sign(header.to_string().as_bytes(), claims.to_string().as_bytes())
}

fn good_token() -> String {
    signed(&good_header(), &good_claims())
}

fn authenticator() -> JwtAuthenticator {
    let pair = |key: &rcgen::KeyPair| Key::es256_pem(&key.public_key_pem()).unwrap().with_id("es").unwrap();
    let asymmetric = TrustedIssuer::new(ASYMMETRIC, AUDIENCE).keys([
        pair(&KEYS.es),
        Key::eddsa_pem(&KEYS.ed.public_key_pem()).unwrap().with_id("ed").unwrap(),
        Key::rs256_pem(&KEYS.rs.public_key_pem()).unwrap().with_id("rs").unwrap(),
    ]);
    JwtAuthenticator::builder()
        .issuer(TrustedIssuer::new(SYMMETRIC, AUDIENCE).key(Key::hs256(SECRET).unwrap()))
        .issuer(asymmetric)
        .issuer(TrustedIssuer::new(FOREIGN, AUDIENCE).key(pair(&KEYS.foreign)))
        .leeway(Duration::ZERO)
        .clock(|| -> SystemTime { UNIX_EPOCH + Duration::from_secs(NOW) })
        .build()
        .unwrap()
}

/// A server of its own: what others trust is decided already.
struct Served {
    address: SocketAddr,
    books: Books,
    _task: AbortOnDropHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let books = Books::default();
        let server = Server::builder()
            .authenticate(authenticator())
            .store(MemoryStore::new())
            .service(TestLedgerServer::new(Ledger::new(books.clone())))
            .net(net(|_| ()))
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        let address = server.local_addr();
        let task = tokio::spawn(async move { drop(server.serve().await) });
        Self { address, books, _task: AbortOnDropHandle::new(task) }
    }

    async fn connect(&self) -> Channel {
        Channel::connect(self.address).await.unwrap()
    }
}

//= test A-1
//= test A-3
//= test A-4
//= test A-5
//= test A-6
//= test A-7
//= test A-8
#[tokio::test]
async fn every_shape_of_a_bad_token_is_told_its_reason_and_nothing_else_happens() {
    let server = Served::start().await;
    let bare = server.connect().await;
    let shapes = all([header::shapes(), form::shapes(), claims::shapes()]);
    let names: BTreeSet<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
    assert_eq!(names.len(), shapes.len(), "each shape has a name of its own");
    assert!(shapes.len() >= 150, "{} shapes", shapes.len());
    let good = bare.bearer(&good_token());
    let mut called = 0;
    for shape in &shapes {
        for path in [ECHO, OPEN] {
            let answer = shape.call(&bare, path).await;
            let status = answer.status();
            let told = (status.code(), answer.reason());
            assert_eq!(told, (Code::Unauthenticated, Some(shape.reason)), "{}: {path}", shape.name);
            assert!(!status.message().contains("alice"), "{}: {}", shape.name, status.message());
        }
        called += 1;
        let answer = soon("a good call", good.call(ECHO, &booking("good"))).await.unwrap();
        assert_eq!(answer.message::<TestReply>().booked, called, "after {}", shape.name);
    }
    assert_eq!(server.books.entry("bad").started, 0);
}

fn all<const GROUPS: usize>(groups: [Vec<Shape>; GROUPS]) -> Vec<Shape> {
    groups.into_iter().flatten().collect()
}

/// What is refused here must not be refused because everything is.
#[tokio::test]
async fn shapes_that_are_good_are_accepted() {
    let server = Served::start().await;
    let bare = server.connect().await;
    let shapes = good::shapes();
    assert!(shapes.len() >= 20, "{} shapes", shapes.len());
    for (name, value) in shapes {
        let channel = bare.with_header("authorization", value);
        let answer = soon(name, channel.call(ECHO, &booking("good"))).await.unwrap();
        assert_eq!(answer.status().code(), Code::Ok, "{name}: {:?}", answer.status());
    }
}

/// Over HTTP/2's own bound no authenticator is asked: a little is answered, and a lot costs the connection, but no other.
#[tokio::test]
async fn a_token_of_64_kib_is_refused_by_http2() {
    let server = Served::start().await;
    let bare = server.connect().await;
    let good = bare.bearer(&good_token());
    let heavy = bare.bearer(&"A".repeat(17 << 10)).send(ECHO, tonic::body::Body::empty()).await.unwrap();
    assert_eq!(heavy.status(), http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    for bytes in [64 << 10, 200 << 10] {
        let other = server.connect().await.bearer(&"A".repeat(bytes));
        let refused = soon("heavy", other.send(ECHO, tonic::body::Body::empty())).await;
        if let Ok(response) = refused {
            assert_eq!(response.status(), http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{bytes}");
        }
    }
    soon("a good call", good.call(ECHO, &booking("good"))).await.unwrap().message::<TestReply>();
    assert_eq!(server.books.entry("bad").started, 0);
}
