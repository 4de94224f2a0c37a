//! Who trusts whom in the examples, and what they show of their calls. A real server reads its keys from a secret store.

use std::error::Error;
use std::time::Duration;

use rpc_client::{Event, Events};
use rpc_server::auth::{JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};
use tokio::time::timeout;

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

/// The try that got the answer of a call that was sent again, of the session's events so far: `slot.sequence.attempt`.
///
/// # Errors
///
/// No call was sent again within ten seconds.
pub async fn sent_again(events: &mut Events) -> Result<String, Box<dyn Error>> {
    let again = async {
        loop {
            match events.next().await {
                Some(Event::CallRetried(attempt)) => return Some(attempt.to_string()),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let found = timeout(Duration::from_secs(10), again).await.ok().flatten();
    found.ok_or_else(|| "no call was sent again".into())
}
