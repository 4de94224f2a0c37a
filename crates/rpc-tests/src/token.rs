//! Tokens: good ones, and the two keys that the test servers trust.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use rpc_server::auth::{JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};
use serde_json::{Value, json};

/// The issuer with a shared secret.
pub const ISSUER: &str = "https://id.test";
/// The issuer with a key pair on P-256.
pub const EC_ISSUER: &str = "https://ec.test";
/// For whom tokens are made.
pub const AUDIENCE: &str = "ledger";
/// The secret of [`ISSUER`].
pub const SECRET: &[u8; 32] = b"a secret that only tests do know";

/// How long good tokens last, unless a test says otherwise.
const LIFETIME: Duration = Duration::from_secs(600);

static EC_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().expect("the system is random"));

/// The public key of [`EC_ISSUER`], as everybody can have it.
pub fn ec_public_pem() -> String {
    EC_KEY.public_key_pem()
}

/// What the test servers trust. No leeway, so that a token ends when it says.
pub fn authenticator() -> JwtAuthenticator {
    let shared = Key::hs256(SECRET).expect("a good secret");
    let pair = Key::es256_pem(&ec_public_pem()).expect("a good key");
    JwtAuthenticator::builder()
        .issuer(TrustedIssuer::new(ISSUER, AUDIENCE).key(shared))
        .issuer(TrustedIssuer::new(EC_ISSUER, AUDIENCE).key(pair))
        .leeway(Duration::ZERO)
        .build()
        .expect("a good configuration")
}

/// A token for `subject` with `scopes`.
pub fn token(subject: &str, scopes: &[&str]) -> String {
    token_for(subject, scopes, LIFETIME)
}

/// A token that lasts for `lifetime`, in whole seconds.
pub fn token_for(subject: &str, scopes: &[&str], lifetime: Duration) -> String {
    let issuer = JwtIssuer::hs256(SECRET, ISSUER, AUDIENCE).expect("a good secret");
    issuer.token(subject, scopes, lifetime).expect("a good token")
}

/// A token of the other issuer: the same subject is another principal.
pub fn ec_token(subject: &str) -> String {
    let issuer = JwtIssuer::es256_pem(&EC_KEY.serialize_pem(), EC_ISSUER, AUDIENCE).expect("a good key");
    issuer.token(subject, &[], LIFETIME).expect("a good token")
}

/// A token of any header and claims, signed with HMAC-SHA-256 and any secret, whatever the header says.
pub fn signed_with(secret: &[u8], header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = sign(signed.as_bytes(), &key, Algorithm::HS256).expect("HMAC does not fail");
    format!("{signed}.{signature}")
}

/// A header that is accepted.
pub fn good_header() -> Value {
    json!({ "alg": "HS256", "typ": "JWT" })
}

/// Claims of `alice` that are accepted.
pub fn good_claims() -> Value {
    json!({ "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "iat": now(), "exp": now() + 600 })
}

/// Seconds of Unix time.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// A certificate as servers read it.
pub fn certificate_pem(der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}
