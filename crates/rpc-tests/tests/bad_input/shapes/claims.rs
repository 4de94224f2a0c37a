//! What a token claims: issuer, subject, audience, times.

use serde_json::{Value, json};

use super::*;

pub(crate) fn shapes() -> Vec<Shape> {
    all([missing(), names(), dates(), audiences(), times(), issuers(), scopes()])
}

fn claim(name: &str, value: impl Into<Value>) -> String {
    signed(&good_header(), &with(good_claims(), name, value))
}

fn missing() -> Vec<Shape> {
    let lacks = |name: &str| signed(&good_header(), &without(good_claims(), name));
    ["iss", "sub", "aud", "exp"].map(|name| Shape::of(format!("no {name}"), lacks(name))).into()
}

fn names() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for name in ["iss", "sub", "jti"] {
        let values = [
            Value::Null,
            json!(1),
            json!(true),
            json!([]),
            json!(["alice"]),
            json!({ "name": "alice" }),
            json!(""),
            json!("x".repeat(256)),
            json!("ali\nce"),
            json!("ali\u{1b}[31mce"),
            json!("alice\0"),
            json!("ali\u{85}ce"),
        ];
        for (index, value) in values.into_iter().enumerate() {
            shapes.push(Shape::of(format!("{name} is no name, {index}"), claim(name, value)));
        }
    }
    shapes
}

fn dates() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for name in ["exp", "nbf", "iat"] {
        let values = [
            Value::Null,
            json!("1800000300"),
            json!(""),
            json!(true),
            json!([NOW]),
            json!({}),
            json!(-1),
            json!(-0.5),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e300),
            json!(253_402_300_800_u64),
            json!("2030-01-01T00:00:00Z"),
        ];
        for (index, value) in values.into_iter().enumerate() {
            shapes.push(Shape::of(format!("{name} is no date, {index}"), claim(name, value)));
        }
        let beyond = good_claims().to_string().replace(&good_claims()[name].to_string(), "1e999");
        let beyond = Signer::Es(&KEYS.es).sign(good_header().to_string().as_bytes(), beyond.as_bytes());
        shapes.push(Shape::of(format!("{name} is infinite"), beyond));
    }
    shapes
}

fn audiences() -> Vec<Shape> {
    let many = vec!["ledger"; 17];
    [
        json!("archive"),
        json!("ledge"),
        json!("ledger.evil.test"),
        json!("Ledger"),
        json!("ledger/"),
        json!("ledger\u{a0}"),
        json!("archive ledger"),
        json!("archive,ledger"),
        json!("*"),
        json!(""),
        json!(["archive", "bank"]),
        json!([]),
        json!([["ledger"]]),
        json!(["ledger", 1]),
        json!([null, "ledger"]),
        json!(many),
        Value::Null,
        json!(1),
        json!(true),
        json!({ "ledger": true }),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, value)| Shape::of(format!("aud is not ours, {index}"), claim("aud", value)))
    .collect()
}

/// There is no leeway: the last moment before and the first moment after are told apart.
fn times() -> Vec<Shape> {
    let expired = |name: &str, value: Value| Shape::told(name, claim("exp", value), Reason::TokenExpired);
    vec![
        expired("expired at this moment", json!(NOW)),
        expired("expired a second ago", json!(NOW - 1)),
        expired("expired half a second ago", json!(NOW as f64 - 0.5)),
        expired("expired in 1970", json!(0)),
        Shape::of("not before the next second", claim("nbf", NOW + 1)),
        Shape::of("not before the next half second", claim("nbf", NOW as f64 + 0.5)),
        Shape::of("not before a year from now", claim("nbf", NOW + 31_536_000)),
        Shape::of("issued in the next second", claim("iat", NOW + 1)),
        Shape::of("issued in milliseconds", claim("iat", NOW * 100)),
        // Whoever cannot show a good token learns nothing of its time.
        Shape::of("expired, and of another key", {
            let expired = with(good_claims(), "exp", NOW - 100).to_string();
            Signer::Es(&KEYS.foreign).sign(good_header().to_string().as_bytes(), expired.as_bytes())
        }),
        Shape::of("expired, and for others", {
            signed(&good_header(), &with(with(good_claims(), "exp", NOW - 100), "aud", "archive"))
        }),
    ]
}

fn issuers() -> Vec<Shape> {
    let hs = |issuer: &str, secret: &[u8]| {
        let header = json!({ "typ": "JWT", "alg": "HS256" }).to_string();
        let claims = with(good_claims(), "iss", issuer).to_string();
        Signer::Hs(secret).sign(header.as_bytes(), claims.as_bytes())
    };
    let id_token = |name: &str| Shape::of(format!("an ID token with {name}"), claim(name, "abc"));
    vec![
        Shape::of("unknown issuer", claim("iss", "https://evil.test")),
        Shape::of("issuer with a slash", claim("iss", format!("{ASYMMETRIC}/"))),
        Shape::of("issuer in another case", claim("iss", "https://ID.test")),
        Shape::of("issuer by another scheme", claim("iss", "http://id.test")),
        Shape::of("issuer with a query", claim("iss", format!("{ASYMMETRIC}?"))),
        Shape::of("another issuer's key of the same id", claim("iss", FOREIGN)),
        Shape::of("secret of another issuer", hs(FOREIGN, SECRET)),
        Shape::of("another secret", hs(SYMMETRIC, &[9; 32])),
        Shape::of("an empty secret", hs(SYMMETRIC, b"")),
        Shape::of("one byte of the secret", hs(SYMMETRIC, &SECRET[..1])),
        Shape::of("half of the secret", hs(SYMMETRIC, &SECRET[..16])),
        Shape::of("the secret and a byte", hs(SYMMETRIC, &[SECRET, b"\0."].concat())),
        id_token("at_hash"),
        id_token("c_hash"),
    ]
}

fn scopes() -> Vec<Shape> {
    let many: Vec<String> = (0..65).map(|number| format!("s{number}")).collect();
    let only_scp =
        |value: Value| signed(&good_header(), &with(without(good_claims(), "scope"), "scp", value));
    vec![
        Shape::of("scope is a list", claim("scope", json!(["read"]))),
        Shape::of("scope is null", claim("scope", Value::Null)),
        Shape::of("scope with a tab", claim("scope", "read\twrite")),
        Shape::of("scope with quotes", claim("scope", "\"read\"")),
        Shape::of("too many scopes", claim("scope", many.join(" "))),
        Shape::of("too long a scope", claim("scope", "x".repeat(129))),
        Shape::of("a number in scp", only_scp(json!(["read", 1]))),
        Shape::of("two scopes in one of scp", only_scp(json!(["read write"]))),
    ]
}
