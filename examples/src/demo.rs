//! Who trusts whom in the examples. A real server reads its keys from a secret store.

use std::error::Error;
use std::time::Duration;

use rpc_server::auth::{JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};

/// Everybody can read this key: good for nothing but demonstrations on this machine.
const KEY: &[u8; 32] = b"a key that everybody can read...";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "bank";

/// Trusts the demonstration's key.
///
/// # Errors
///
/// Never with this key.
pub fn authenticator() -> Result<JwtAuthenticator, Box<dyn Error>> {
    Ok(JwtAuthenticator::new(TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(KEY)?))?)
}

/// A token that says that its bearer is `subject`, for ten minutes.
///
/// # Errors
///
/// The subject is not one that a token can carry.
pub fn token(subject: &str) -> Result<String, Box<dyn Error>> {
    Ok(JwtIssuer::hs256(KEY, ISSUER, AUDIENCE)?.token(subject, &[], Duration::from_secs(600))?)
}
