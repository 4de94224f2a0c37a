//! What a header says: the algorithm, the key, rules of its own, the type.

use rcgen::PublicKeyData as _;
use serde_json::{Value, json};

use super::*;

pub(crate) fn shapes() -> Vec<Shape> {
    all([no_algorithm(), other_algorithms(), confusion(), key_ids(), parameters(), types()])
}

fn header(name: &str, value: impl Into<Value>) -> String {
    signed(&with(good_header(), name, value), &good_claims())
}

/// The token with another signature.
fn resigned(token: &str, signature: &str) -> String {
    format!("{}.{signature}", token.rsplit_once('.').unwrap().0)
}

fn no_algorithm() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", "none ", "n\u{f6}ne", ""] {
        let token = header("alg", name);
        shapes.push(Shape::of(format!("alg {name:?} without signature"), resigned(&token, "")));
        shapes.push(Shape::of(format!("alg {name:?} with a word for a signature"), resigned(&token, "none")));
        shapes.push(Shape::of(format!("alg {name:?} with a signature"), token));
    }
    shapes
        .push(Shape::of("alg none without the last dot", header("alg", "none").rsplit_once('.').unwrap().0));
    shapes
}

fn other_algorithms() -> Vec<Shape> {
    let others = [
        "HS256",
        "HS384",
        "HS512",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES384",
        "ES512",
        "ES256K",
        "EdDSA",
        "Ed25519",
        "es256",
        "ES256 ",
        " ES256",
        "ES256\u{0}",
        "ES-256",
        "RSA1_5",
        "dir",
    ];
    let mut shapes: Vec<Shape> = others
        .map(|other| Shape::of(format!("alg {other:?} of a key for ES256"), header("alg", other)))
        .into();
    for (name, value) in [
        ("null", Value::Null),
        ("a number", json!(1)),
        ("a list", json!(["ES256"])),
        ("an object", json!({ "name": "ES256" })),
        ("true", json!(true)),
    ] {
        shapes.push(Shape::of(format!("alg is {name}"), header("alg", value)));
    }
    shapes.push(Shape::of("no alg", signed(&without(good_header(), "alg"), &good_claims())));
    shapes
}

/// A public key, which everybody has, as the secret of an HMAC; and keys of one kind under the names of others.
fn confusion() -> Vec<Shape> {
    let claims = good_claims().to_string();
    let forged = |secret: &[u8], header: Value| {
        Signer::Hs(secret).sign(header.to_string().as_bytes(), claims.as_bytes())
    };
    let hs = |kid: &str| json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
    let unnamed = json!({ "typ": "JWT", "alg": "HS256" });
    let mut shapes = Vec::new();
    for (kid, key) in [("es", &KEYS.es), ("ed", &KEYS.ed), ("rs", &KEYS.rs)] {
        let pem = key.public_key_pem();
        let crlf = pem.replace('\n', "\r\n");
        let secrets: [(&str, &[u8]); 5] = [
            ("PEM", pem.as_bytes()),
            ("trimmed PEM", pem.trim().as_bytes()),
            ("PEM of Windows", crlf.as_bytes()),
            ("DER", &key.subject_public_key_info()),
            ("raw key", key.public_key_raw()),
        ];
        for (form, secret) in secrets {
            shapes.push(Shape::of(format!("{form} of {kid} as a secret"), forged(secret, hs(kid))));
        }
        let kept = with(with(good_header(), "kid", kid), "alg", "HS256");
        shapes.push(Shape::of(format!("{kid} without a secret"), forged(b"", kept)));
        let unnamed = forged(pem.as_bytes(), unnamed.clone());
        shapes.push(Shape::of(format!("PEM of {kid} as a secret without a name"), unnamed));
    }
    let es = json!({ "typ": "JWT", "alg": "ES256", "kid": "es" });
    shapes.push(Shape::of("HMAC under the name ES256", forged(KEYS.es.public_key_raw(), es)));
    let symmetric = with(good_claims(), "iss", SYMMETRIC);
    shapes.push(Shape::of("ES256 for an issuer with a secret", signed(&good_header(), &symmetric)));
    let rs = |header: Value| {
        Signer::Rs(&KEYS.rs).sign(header.to_string().as_bytes(), good_claims().to_string().as_bytes())
    };
    shapes.push(Shape::of(
        "RS256 with the name of ES256",
        rs(json!({ "typ": "JWT", "alg": "RS256", "kid": "es" })),
    ));
    shapes
        .push(Shape::of("RS256 said to be PS256", rs(json!({ "typ": "JWT", "alg": "PS256", "kid": "rs" }))));
    shapes
}

fn key_ids() -> Vec<Shape> {
    let unknown = [
        "ES",
        "es2",
        "es/../es",
        "../../../../dev/null",
        "/dev/null",
        "/proc/self/environ",
        "C:\\keys\\es",
        "file:///dev/null",
        "https://evil.test/jwks",
        "es' OR '1'='1",
        "x' UNION SELECT 'secret'--",
        "es\");DROP TABLE keys;--",
        "*)(uid=*))(|(uid=*",
        "es|id",
        "$(id)",
        "`id`",
        "%00",
        "es%00",
        "${jndi:x}",
        "{{7*7}}",
        "*",
    ];
    let mut shapes: Vec<Shape> =
        unknown.map(|kid| Shape::of(format!("kid {kid:?}"), header("kid", kid))).into();
    for (name, value) in [
        ("empty", json!("")),
        ("two words", json!("e s")),
        ("with NUL", json!("es\0")),
        ("with a line's end", json!("es\r\nx: y")),
        ("with an escape", json!("\u{1b}[31mes")),
        ("with an umlaut", json!("\u{e4}s")),
        ("a smile", json!("\u{1f600}")),
        ("as long as may be", json!("k".repeat(128))),
        ("too long", json!("k".repeat(129))),
        ("very long", json!("k".repeat(4_000))),
        ("a number", json!(1)),
        ("null", Value::Null),
        ("a list", json!(["es"])),
        ("an object", json!({ "es": "es" })),
        ("true", json!(true)),
        ("of another key", json!("ed")),
    ] {
        shapes.push(Shape::of(format!("kid {name}"), header("kid", value)));
    }
    shapes.push(Shape::of("no kid, of many keys", signed(&without(good_header(), "kid"), &good_claims())));
    shapes
}

fn parameters() -> Vec<Shape> {
    let own = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "es" });
    [
        ("jwk", own),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("jwk", Value::Null),
        ("jku", json!("https://evil.test/jwks")),
        ("jku", json!("file:///dev/zero")),
        ("x5u", json!("https://evil.test/certificate")),
        ("x5c", json!(["MIIB"])),
        ("x5c", Value::Null),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["https://evil.test/extension"])),
        ("crit", json!([])),
        ("crit", Value::Null),
        ("crit", json!("exp")),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
    ]
    .map(|(name, value)| Shape::of(format!("{name} is {value}"), header(name, value)))
    .into()
}

fn types() -> Vec<Shape> {
    let others = [
        "",
        "JWS",
        "JOSE",
        "JWE",
        "dpop+jwt",
        "logout+jwt",
        "id+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "refresh",
        "at+jwt ",
        " JWT",
        "application/jwt",
        "at+jwt;v=1",
        "JWT\0",
    ];
    let mut shapes: Vec<Shape> =
        others.map(|other| Shape::of(format!("typ {other:?}"), header("typ", other))).into();
    for (name, value) in [("null", Value::Null), ("a number", json!(1)), ("a list", json!(["JWT"]))] {
        shapes.push(Shape::of(format!("typ is {name}"), header("typ", value)));
    }
    shapes.push(Shape::of("no typ", signed(&without(good_header(), "typ"), &good_claims())));
    shapes
}
