//! Tokens that are missing, forged, old or another's.

use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::RenewRequest;
use rpc_tests::SOON;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, proposal};
use rpc_tests::token::{self, good_claims, good_header, now, signed_with};
use serde_json::{Value, json};
use tonic::Code;

use crate::scene::{ADMIN, ECHO, OPEN, Scene, TRANSFER, Told};

const INVALID: Told = (Code::Unauthenticated, Reason::TokenInvalid, None);
const EXPIRED: Told = (Code::Unauthenticated, Reason::TokenExpired, None);
const MISSING: Told = (Code::Unauthenticated, Reason::TokenMissing, None);

fn with(mut value: Value, name: &str, to: impl Into<Value>) -> Value {
    value[name] = to.into();
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn claims(name: &str, to: impl Into<Value>) -> String {
    signed_with(token::SECRET, &good_header(), &with(good_claims(), name, to))
}

fn header(name: &str, to: impl Into<Value>) -> String {
    signed_with(token::SECRET, &with(good_header(), name, to), &good_claims())
}

/// Bad tokens, and what each is told. The exact cause goes to the log only.
fn bad_tokens() -> Vec<(&'static str, String, Told)> {
    let unsigned = |algorithm: &str| {
        let token = header("alg", algorithm);
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };
    let lacks = |name| signed_with(token::SECRET, &good_header(), &without(good_claims(), name));
    let pem = token::ec_public_pem();
    let ec_claims = with(good_claims(), "iss", token::EC_ISSUER);
    vec![
        ("no token at all", "x".into(), INVALID),
        ("three empty segments", "..".into(), INVALID),
        ("expired", claims("exp", now() - 1), EXPIRED),
        ("not yet valid", claims("nbf", now() + 600), INVALID),
        ("wrong audience", claims("aud", "another"), INVALID),
        ("wrong issuer", claims("iss", "https://evil.test"), INVALID),
        ("no issuer", lacks("iss"), INVALID),
        ("no audience", lacks("aud"), INVALID),
        ("no expiry", lacks("exp"), INVALID),
        ("no subject", lacks("sub"), INVALID),
        ("alg none, no signature", unsigned("none"), INVALID),
        ("alg NONE, no signature", unsigned("NONE"), INVALID),
        ("alg none, signature kept", header("alg", "none"), INVALID),
        ("another secret", signed_with(&[9; 32], &good_header(), &good_claims()), INVALID),
        // The public key, which everybody has, taken for the secret of an HMAC.
        ("key confusion", signed_with(pem.as_bytes(), &good_header(), &ec_claims), INVALID),
        ("key confusion, trimmed", signed_with(pem.trim().as_bytes(), &good_header(), &ec_claims), INVALID),
        ("another type", header("typ", "refresh"), INVALID),
        ("critical extension", header("crit", json!(["exp"])), INVALID),
        ("key in the header", header("jwk", json!({ "kty": "oct", "k": "AAAA" })), INVALID),
        ("over 8 KiB", claims("note", "x".repeat(9_000)), INVALID),
    ]
}

//= test A-1
//= test A-3
//= test A-4
//= test A-5
//= test A-6
//= test A-7
//= test A-8
//= test A-24
//= test C-25
//= test E-8
#[tokio::test]
async fn bad_tokens_open_nothing_and_call_nothing() {
    let scene = Scene::set().await;
    for (name, token, told) in bad_tokens() {
        let stranger = scene.bare().bearer(&token);
        scene.refuses(name, &stranger, OPEN, &proposal(), told).await;
        scene.refuses(name, &stranger, ECHO, &booking("bad"), told).await;
        // A token comes first: that the session is a good one does not help.
        let owner = scene.alice.channel().bearer(&token);
        scene.refuses(name, &owner, ECHO, &booking("bad"), told).await;
        for (call, outcome) in [("0.2.0", Outcome::NotExecuted), ("0.2.1", Outcome::Unknown)] {
            let told = (told.0, told.1, Some(outcome));
            let protected = owner.with_header("session-call", call);
            scene.refuses(name, &protected, TRANSFER, &booking("bad"), told).await;
        }
    }
    assert_eq!(scene.server.books().entry("bad").started, 0);
}

//= test A-2
//= test A-23
//= test W-2
#[tokio::test]
async fn a_call_without_a_token_or_a_session_is_refused_whoever_used_the_connection_before() {
    let scene = Scene::set().await;
    scene.refuses("open", scene.bare(), OPEN, &proposal(), MISSING).await;
    scene.refuses("plain", scene.bare(), ECHO, &booking("bad"), MISSING).await;
    scene.refuses("unknown", scene.bare(), "/no.Such/Method", &booking("bad"), MISSING).await;
    let good = scene.bare().bearer(&token::token("alice", &[]));
    let answer = good.call(ECHO, &booking("good")).await.unwrap();
    assert_eq!(answer.message::<TestReply>().booked, 1);
    scene.refuses("plain, again", scene.bare(), ECHO, &booking("bad"), MISSING).await;
}

//= test A-3
#[tokio::test]
async fn an_authorization_header_that_is_no_bearer_token_is_refused() {
    let scene = Scene::set().await;
    let token = token::token("alice", &[]);
    for value in ["", "Bearer", "Bearer ", "Basic YTpi", &token, &format!("Bearer {token} x")] {
        let channel = scene.bare().with_header("authorization", value);
        let answer = channel.call(ECHO, &booking("bad")).await.unwrap();
        assert_eq!(answer.status().code(), Code::Unauthenticated, "{value}");
    }
    let twice = scene.bare().bearer(&token).bearer(&token);
    scene.refuses("twice", &twice, ECHO, &booking("bad"), INVALID).await;
    assert_eq!(scene.server.books().entry("bad").started, 0);
}

//= test A-20
#[tokio::test]
async fn a_method_with_scopes_is_for_those_who_hold_them() {
    let scene = Scene::set().await;
    let told = (Code::PermissionDenied, Reason::ScopeMissing, None);
    scene.refuses("in the session", &scene.alice.channel(), ADMIN, &booking("bad"), told).await;
    let lesser = scene.bare().bearer(&token::token("alice", &["ledger.read", "ledger.admins"]));
    scene.refuses("with a token", &lesser, ADMIN, &booking("bad"), told).await;
    let admin = scene.bare().bearer(&token::token("root", &["ledger.admin"]));
    let answer = admin.call(ADMIN, &booking("good")).await.unwrap();
    assert_eq!(answer.status().code(), Code::Ok);
    let token = token::token("root", &["ledger.admin"]);
    let session = Opened::propose_with(scene.bare(), &token, proposal()).await.unwrap();
    // The session holds the scopes of its token; the call itself carries none.
    let answer = session.channel().call(ADMIN, &booking("good")).await.unwrap();
    assert_eq!(answer.message::<TestReply>().booked, 2);
}

//= test A-14
//= test A-15
//= test A-16
//= test L-11
#[tokio::test]
async fn authority_ends_with_the_token_and_a_fresh_one_brings_it_back() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let short = token::token_for("alice", &[], Duration::from_secs(2));
    let alice = Opened::propose_with(&channel, &short, proposal()).await.unwrap();
    assert!(alice.response.authority.unwrap().seconds <= 2);
    let expired = async {
        loop {
            let answer = alice.channel().call(ECHO, &booking("plain")).await.unwrap();
            if answer.status().code() != Code::Ok {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = tokio::time::timeout(SOON, expired).await.unwrap();
    assert_eq!(
        (answer.status().code(), answer.reason()),
        (Code::Unauthenticated, Some(Reason::AuthorityExpired))
    );
    let booked = server.books().booked("plain");
    let refused = alice.transfer("0.1.0", &booking("late")).await;
    assert_eq!(refused.reason(), Some(Reason::AuthorityExpired));
    assert_eq!(refused.outcome(), Some(Outcome::NotExecuted));
    // The session itself lives: it can be asked, and renewed.
    alice.query(0, 1).await;
    alice.renew(None, RenewRequest::default()).await.unwrap();
    assert_eq!(alice.transfer("0.1.0", &booking("late")).await.reason(), Some(Reason::AuthorityExpired));
    let fresh = token::token("alice", &["ledger.admin"]);
    let renewed = alice.renew(Some(&fresh), RenewRequest::default()).await.unwrap();
    assert!(renewed.authority.unwrap().seconds > 100);
    assert_eq!(alice.transfer("0.1.0", &booking("late")).await.status().code(), Code::Ok);
    let admin = alice.channel().call(ADMIN, &booking("admin")).await.unwrap();
    assert_eq!(admin.status().code(), Code::Ok, "the scopes are those of the new token");
    assert_eq!((server.books().booked("plain"), server.books().booked("late")), (booked, 1));
}
