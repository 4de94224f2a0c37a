//! Bearer tokens.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use rpc_server::auth::{Bearer, Identity, JwtAuthenticator, Key, TrustedIssuer};
use serde_json::Value;

const ISSUER: &str = "https://id.test";
const AUDIENCE: &str = "ledger";
const SECRET: [u8; 32] = [0x5e; 32];
/// In seconds, by the authenticator's clock.
const NOW: u64 = 1_800_000_000;

/// An even first byte: the rest is the header `authorization` of somebody who does not know the key, and does not get in.
/// An odd one: header and claims, with a zero between them, of somebody who does: what is accepted says what it must.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first & 1 == 0 {
        return unsigned(rest);
    }
    let (header, claims) = rest.split_at(rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len()));
    let claims = claims.strip_prefix(&[0]).unwrap_or_default();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(&SECRET);
    let signature = sign(signed.as_bytes(), &key, Algorithm::HS256).expect("HMAC does not fail");
    let token = format!("{signed}.{signature}");
    let Ok(bearer) = Bearer::new(&token) else { return };
    let judged = authenticator().verify(bearer);
    assert_eq!(authenticator().verify(bearer), judged, "another time, another judgement");
    if let Ok(identity) = judged {
        is_founded(&identity, header, claims);
    }
}

fn unsigned(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    if let Ok(Some(bearer)) = Bearer::from_headers(&headers) {
        let refused = authenticator().verify(bearer).expect_err("a token that nobody signed");
        let told = format!("{refused} {refused:?} {bearer:?}");
        assert!(bearer.as_str().len() < 16 || !told.contains(bearer.as_str()), "{told}");
    }
}

/// Read by another reader, the token says that its bearer is who it was taken for.
fn is_founded(identity: &Identity, header: &[u8], claims: &[u8]) {
    let header: Value = serde_json::from_slice(header).expect("the header of a good token");
    let claims: Value = serde_json::from_slice(claims).expect("the claims of a good token");
    assert_eq!((&header["alg"], header.get("crit")), (&Value::from("HS256"), None));
    assert_eq!((&claims["iss"], identity.principal().issuer()), (&Value::from(ISSUER), ISSUER));
    assert_eq!(claims["sub"].as_str(), Some(identity.principal().subject()));
    assert!(!identity.principal().subject().is_empty());
    let is_ours = |name: &Value| name.as_str() == Some(AUDIENCE);
    assert!(is_ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(is_ours)));
    let expires = claims["exp"].as_f64().expect("a number");
    assert!(expires + 5.0 > NOW as f64, "expired at {expires}");
    let expiry = identity.expiry().expect("it expires");
    assert!(!expiry.remaining.is_zero() && expiry.at > now());
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn authenticator() -> &'static JwtAuthenticator {
    static AUTHENTICATOR: OnceLock<JwtAuthenticator> = OnceLock::new();
    AUTHENTICATOR.get_or_init(|| {
        let key = Key::hs256(&SECRET).expect("32 bytes");
        let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(key);
        JwtAuthenticator::builder().issuer(issuer).clock(now).build().expect("one issuer")
    })
}
