//! Tokens that are the same in every run: no random id, and the simulation's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac::{HMAC_SHA256, Key as Signer, sign};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rpc_server::auth::{ConfigError, JwtAuthenticator, Key, TrustedIssuer};

const ISSUER: &str = "https://id.test";
const AUDIENCE: &str = "sim";
const SECRET: &[u8; 32] = b"a secret that only tests do know";
/// When every simulation begins, in seconds of Unix time.
const BEGIN_UNIX_S: u64 = 1_800_000_000;

/// The wall clock of one host. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct Wall {
    skew_ms: Arc<AtomicI64>,
}

impl Wall {
    /// Puts the clock forward, or back, by so much compared to the true time.
    pub fn skew(&self, millis: i64) {
        self.skew_ms.store(millis, Ordering::Relaxed);
    }

    /// The time of day.
    pub fn now(&self) -> SystemTime {
        let true_time = Duration::from_secs(BEGIN_UNIX_S) + turmoil::sim_elapsed().unwrap_or_default();
        let skew = self.skew_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(skew.unsigned_abs());
        SystemTime::UNIX_EPOCH + if skew < 0 { true_time - by } else { true_time + by }
    }
}

/// A token by which its bearer is `subject` for `lifetime` from now. `number` tells it from the others.
pub fn token(subject: &str, number: u64, lifetime: Duration) -> String {
    let issued = BEGIN_UNIX_S + turmoil::sim_elapsed().unwrap_or_default().as_secs();
    let expires = issued + lifetime.as_secs();
    let header = r#"{"typ":"at+jwt","alg":"HS256"}"#;
    let claims = format!(
        r#"{{"iss":"{ISSUER}","sub":"{subject}","aud":"{AUDIENCE}","iat":{issued},"exp":{expires},"jti":"{number}"}}"#
    );
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(&Signer::new(HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Trusts these tokens, by this clock.
///
/// # Errors
///
/// None that a test would see: the configuration is always the same.
pub fn authenticator(wall: &Wall) -> Result<JwtAuthenticator, ConfigError> {
    let wall = wall.clone();
    let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(SECRET)?);
    JwtAuthenticator::builder().issuer(issuer).clock(move || wall.now()).build()
}
