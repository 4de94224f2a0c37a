//! Nothing that is logged shows a secret or what a stranger sent.

use super::*;
use crate::auth::{AuthErrorKind, Authenticator, Credentials, JwtIssuer};

/// Stands in every place of a token that a stranger fills.
const CANARY: &str = "canary7f3a";

fn assert_silent(text: &str, token: &str) {
    for secret in [CANARY, "canary-secret", token] {
        assert!(!text.contains(secret), "{text}");
    }
    for part in token.split('.').filter(|part| part.len() > 8) {
        assert!(!text.contains(part), "{text}");
    }
    let bytes = format!("{SECRET:?}");
    assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{text}");
}

/// Tokens that reach as many causes as strangers can.
fn canary_tokens() -> Vec<String> {
    let mut tokens =
        vec![good_token(), format!("{CANARY}.{CANARY}.{CANARY}"), CANARY.into(), CANARY.repeat(1000)];
    for name in ["typ", "alg", "kid", "jku", "crit"] {
        tokens.push(signed(&with(good_header(), name, CANARY), &good_claims()));
        tokens.push(signed(&with(good_header(), name, json!([CANARY])), &good_claims()));
    }
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", CANARY] {
        tokens.push(signed(&good_header(), &with(good_claims(), name, format!("{CANARY}\n"))));
        tokens.push(signed(&good_header(), &with(good_claims(), name, json!({ CANARY: CANARY }))));
    }
    tokens.push(signed(&good_header(), &with(good_claims(), "exp", 1)));
    tokens.push(signed(&good_header(), &with(good_claims(), "nbf", NOW + 1000)));
    tokens
}

#[test]
fn refusals_quote_nothing() {
    let authenticator = authenticator();
    let mut kinds = std::collections::BTreeSet::new();
    for token in canary_tokens() {
        let Err(error) = verify(&authenticator, &token) else { continue };
        assert_silent(&format!("{error} {error:?}"), &token);
        kinds.insert(error.kind());
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [AuthErrorKind::TokenInvalid, AuthErrorKind::TokenExpired]
    );
}

#[test]
fn debug_shows_no_secret() {
    let token = good_token();
    let bearer = Bearer::new(&token).unwrap();
    let credentials = Credentials::none().with_bearer(bearer);
    let authenticator = authenticator();
    let verdict = authenticator.authenticate(credentials);
    let key = Key::hs256(SECRET).unwrap();
    let issuer = JwtIssuer::hs256(SECRET, SYMMETRIC, AUDIENCE).unwrap();
    let builder = JwtAuthenticator::builder().issuer(symmetric_issuer());
    let text = format!(
        "{bearer:?} {credentials:?} {verdict:?} {key:?} {issuer:?} {builder:?} {authenticator:?} {:?}",
        symmetric_issuer()
    );
    assert_silent(&text, &token);
    assert!(text.contains("HS256"), "but says which key it is");
}

#[test]
fn key_errors_quote_nothing() {
    let short = format!("{CANARY}-short");
    let jwk = json!({ "kty": "oct", "k": CANARY, "kid": CANARY }).to_string();
    let errors = [
        Key::hs256(short.as_bytes()).unwrap_err(),
        Key::es256_pem(&short).unwrap_err(),
        Key::from_jwk(&jwk).unwrap_err(),
        Key::from_jwks(&jwk).unwrap_err(),
    ];
    for error in errors {
        assert_silent(&format!("{error} {error:?}"), CANARY);
    }
}

#[test]
fn reasons_are_stable() {
    let reasons = [
        (AuthError::Missing, "TOKEN_MISSING"),
        (AuthError::Malformed { what: "x" }, "TOKEN_INVALID"),
        (AuthError::BadSignature, "TOKEN_INVALID"),
        (AuthError::NotYetValid, "TOKEN_INVALID"),
        (AuthError::Refused, "TOKEN_INVALID"),
        (AuthError::Expired, "TOKEN_EXPIRED"),
        (AuthError::Unavailable, "AUTH_UNAVAILABLE"),
    ];
    for (error, reason) in reasons {
        assert_eq!(error.kind().reason().name(), reason);
    }
}
