//! Tokens that are good although they look odd.

use serde_json::json;

use super::*;

/// Names, and values of `authorization`.
pub(crate) fn shapes() -> Vec<(&'static str, String)> {
    let token = good_token();
    let bearer = |token: String| format!("Bearer {token}");
    let claim = |name: &str, value: serde_json::Value| {
        bearer(signed(&good_header(), &with(good_claims(), name, value)))
    };
    let header = |name: &str, value: serde_json::Value| {
        bearer(signed(&with(good_header(), name, value), &good_claims()))
    };
    let raw = |claims: String| {
        bearer(Signer::Es(&KEYS.es).sign(good_header().to_string().as_bytes(), claims.as_bytes()))
    };
    let by = |signer: Signer<'_>, header: serde_json::Value, issuer: &str| {
        let claims = with(good_claims(), "iss", issuer).to_string();
        bearer(signer.sign(header.to_string().as_bytes(), claims.as_bytes()))
    };
    let keyed = |algorithm: &str, kid: &str| json!({ "typ": "JWT", "alg": algorithm, "kid": kid });
    vec![
        ("as it should be", bearer(token.clone())),
        ("bearer in small letters", format!("bearer {token}")),
        ("bearer in capitals", format!("BEARER {token}")),
        ("bearer in both", format!("bEaReR {token}")),
        ("HS256", by(Signer::Hs(SECRET), json!({ "typ": "JWT", "alg": "HS256" }), SYMMETRIC)),
        ("EdDSA", by(Signer::Ed(&KEYS.ed), keyed("EdDSA", "ed"), ASYMMETRIC)),
        ("RS256", by(Signer::Rs(&KEYS.rs), keyed("RS256", "rs"), ASYMMETRIC)),
        ("the other issuer", by(Signer::Es(&KEYS.foreign), keyed("ES256", "es"), FOREIGN)),
        ("type in capitals", header("typ", json!("AT+JWT"))),
        ("type with its prefix", header("typ", json!("application/at+jwt"))),
        ("a parameter that nobody knows", header("note", json!({ "a": [1] }))),
        ("a thumbprint, which brings no key", header("x5t#S256", json!("AA"))),
        ("one audience of several", claim("aud", json!(["archive", "ledger"]))),
        ("16 audiences", claim("aud", json!(vec!["ledger"; 16]))),
        ("ends in the next second", claim("exp", json!(NOW + 1))),
        ("ends in half a second", claim("exp", json!(NOW as f64 + 0.5))),
        ("ends in 9999", claim("exp", json!(253_402_300_799_u64))),
        ("not before this moment", claim("nbf", json!(NOW))),
        ("issued at this moment", claim("iat", json!(NOW))),
        ("a subject of another alphabet", claim("sub", json!("\u{436}\u{1f600}"))),
        ("the longest subject", claim("sub", json!("x".repeat(255)))),
        ("claims that nobody knows", claim("groups", json!(["a", { "b": null }]))),
        (
            "without optional claims",
            bearer(signed(
                &good_header(),
                &["jti", "nbf", "iat", "scope"].into_iter().fold(good_claims(), without),
            )),
        ),
        ("white space in the claims", raw(format!(" \n\t{} ", good_claims()))),
        ("an escaped name", raw(good_claims().to_string().replace("\"sub\"", "\"s\\u0075b\""))),
    ]
}
