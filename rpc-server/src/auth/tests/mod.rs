//! Tests of the whole authenticator, with tokens forged at will.

mod bad_tokens;
mod cache;
mod config;
mod good_tokens;
mod secrecy;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};

use super::{AuthError, Bearer, Identity, JwtAuthenticator, Key, TrustedIssuer, WallClock};

/// The time of all tests, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
const AUDIENCE: &str = "ledger";
/// Has one symmetric key without id.
const SYMMETRIC: &str = "https://hs.example";
/// Has three asymmetric keys: `es`, `ed`, `rs`.
const ASYMMETRIC: &str = "https://id.example";
/// Has another key, with the id `es` too.
const FOREIGN: &str = "https://foreign.example";
const SECRET: &[u8] = b"canary-secret-of-thirty-two-byte";

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);

/// A key pair of each kind, made anew in every run.
struct Keys {
    es: KeyPair,
    es_foreign: KeyPair,
    ed: KeyPair,
    rs_private_der: Vec<u8>,
    rs_public_pem: String,
}

impl Keys {
    fn generate() -> Self {
        let rs = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        // PKCS #1 within PKCS #8: the signer wants the former, so keep what it accepts.
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'static> = rs.as_der().unwrap();
        let public: aws_lc_rs::encoding::PublicKeyX509Der<'static> =
            aws_lc_rs::signature::KeyPair::public_key(&rs).as_der().unwrap();
        Self {
            es: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            es_foreign: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            ed: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            rs_private_der: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", pkcs8.as_ref()).as_bytes())
                .unwrap()
                .as_bytes()
                .to_vec(),
            rs_public_pem: pem("PUBLIC KEY", public.as_ref()),
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Signs whatever it is given.
#[derive(Clone, Copy)]
enum Signer<'a> {
    Hs(&'a [u8]),
    Es(&'a KeyPair),
    Ed(&'a KeyPair),
    Rs(&'a [u8]),
}

impl Signer<'_> {
    fn sign(self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signature(&signed);
        format!("{signed}.{signature}")
    }

    fn signature(self, signed: &str) -> String {
        let (algorithm, key) = match self {
            Self::Hs(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret)),
            Self::Es(pair) => (Algorithm::ES256, EncodingKey::from_ec_der(pair.serialized_der())),
            Self::Ed(pair) => (Algorithm::EdDSA, EncodingKey::from_ed_der(pair.serialized_der())),
            Self::Rs(der) => (Algorithm::RS256, EncodingKey::from_rsa_der(der)),
        };
        let signer = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).unwrap();
        URL_SAFE_NO_PAD.encode(signer.try_sign(signed.as_bytes()).unwrap())
    }
}

/// Claims that are accepted, of [`ASYMMETRIC`].
fn good_claims() -> Value {
    json!({
        "iss": ASYMMETRIC, "sub": "alice", "aud": AUDIENCE,
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300, "jti": "token-1", "scope": "read write",
    })
}

/// A header that is accepted, for the key `es` of [`ASYMMETRIC`].
fn good_header() -> Value {
    json!({ "typ": "at+jwt", "alg": "ES256", "kid": "es" })
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

fn symmetric_issuer() -> TrustedIssuer {
    TrustedIssuer::new(SYMMETRIC, AUDIENCE).key(Key::hs256(SECRET).unwrap())
}

fn asymmetric_issuer() -> TrustedIssuer {
    TrustedIssuer::new(ASYMMETRIC, AUDIENCE).keys([
        Key::es256_pem(&KEYS.es.public_key_pem()).unwrap().with_id("es").unwrap(),
        Key::eddsa_pem(&KEYS.ed.public_key_pem()).unwrap().with_id("ed").unwrap(),
        Key::rs256_pem(&KEYS.rs_public_pem).unwrap().with_id("rs").unwrap(),
    ])
}

fn foreign_issuer() -> TrustedIssuer {
    let key = Key::es256_pem(&KEYS.es_foreign.public_key_pem()).unwrap();
    TrustedIssuer::new(FOREIGN, AUDIENCE).key(key.with_id("es").unwrap())
}

/// Trusts the three issuers, at the time [`NOW`].
fn authenticator() -> JwtAuthenticator {
    JwtAuthenticator::builder()
        .issuer(symmetric_issuer())
        .issuer(asymmetric_issuer())
        .issuer(foreign_issuer())
        .clock(Clock::at(NOW).hands())
        .build()
        .unwrap()
}

fn verify(authenticator: &JwtAuthenticator, token: &str) -> Result<Identity, AuthError> {
    authenticator.verify(Bearer::new(token)?)
}

/// A clock that stands until it is set.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    fn hands(&self) -> impl WallClock + use<> {
        let seconds = Arc::clone(&self.0);
        move || time(seconds.load(Ordering::Relaxed))
    }
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
