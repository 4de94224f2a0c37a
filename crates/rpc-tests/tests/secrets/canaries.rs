//! Secrets that can be recognised, and every form in which one could be printed.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The key of the tokens.
pub(crate) const HMAC_KEY: &[u8; 32] = b"HMACKEY-canary-that-signs-tokens";
/// In each message, both ways.
pub(crate) const PAYLOAD: &[u8] = b"PAYLOAD-canary-in-each-message";
/// What the client leaves at its points.
pub(crate) const CLIENT_STATE: &[u8] = b"CLIENTSTATE-canary-of-a-point";
/// What the handler answers points with, or leaves at its own.
pub(crate) const SERVER_STATE: &[u8] = b"SERVERSTATE-canary-of-a-point";
/// The name of an activity.
pub(crate) const ACTIVITY: &[u8] = b"ACTIVITY-canary-of-a-name";
/// With which a handler panics.
pub(crate) const PANIC: &str = "PANIC-canary-of-a-handler";
/// What strangers send instead of what they should.
pub(crate) const INPUT: &str = "INPUT-canary-of-a-stranger";
/// A claim of each token.
pub(crate) const CLAIM: &str = "CLAIM-canary-of-a-token";
/// The beginning of each ticket; 24 bytes, so that base64 shows it whole.
const TICKET: &[u8; 24] = b"TICKET-canary-of-entropy";

/// Randomness of a server by which its tickets can be recognised.
pub(crate) struct Recognizable;

impl rpc_server::Entropy for Recognizable {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        rpc_server::SystemEntropy.fill(bytes)?;
        if let Some(first) = bytes.first_chunk_mut() {
            *first = *TICKET;
        }
        Ok(())
    }
}

/// One secret, in each form.
#[derive(Debug, Clone)]
pub(crate) struct Secret {
    pub(crate) name: String,
    forms: Vec<String>,
}

impl Secret {
    pub(crate) fn of(name: &str, bytes: &[u8]) -> Self {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{bytes:?}");
        let mut forms = vec![hex.to_uppercase(), hex, list.trim_matches(['[', ']']).to_owned()];
        if let Ok(text) = std::str::from_utf8(bytes) {
            forms.push(text.to_owned());
        }
        // Within something longer, base64 looks different by where the secret begins; its ends depend on what is around.
        for shift in 0..3 {
            let shifted = [&[0; 2][..shift], bytes].concat();
            for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
                forms.push(text[4..text.len() - 2].to_owned());
            }
        }
        Self { name: name.to_owned(), forms }
    }

    /// Text that is secret as it is.
    pub(crate) fn text(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), forms: vec![text.to_owned()] }
    }

    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }
}

/// Tokens that were made so far.
static TOKENS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers a token, to look for it.
pub(crate) fn remember(token: &str) {
    TOKENS.lock().unwrap_or_else(PoisonError::into_inner).push(token.to_owned());
}

/// Everything that must not be printed. `tls_key` is a private key in DER.
pub(crate) fn all(tls_key: &[u8]) -> Vec<Secret> {
    let mut all = vec![
        Secret::of("HMAC key", HMAC_KEY),
        Secret::of("payload", PAYLOAD),
        Secret::of("client state", CLIENT_STATE),
        Secret::of("server state", SERVER_STATE),
        Secret::of("activity", ACTIVITY),
        Secret::of("panic", PANIC.as_bytes()),
        Secret::of("input", INPUT.as_bytes()),
        Secret::of("claim", CLAIM.as_bytes()),
        Secret::of("ticket", TICKET),
        // Where PKCS #8 has the number itself.
        Secret::of("TLS key", &tls_key[40..64]),
    ];
    for token in TOKENS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // The header is the same in every token.
        let parts = token.split('.').skip(1).filter(|part| part.len() > 8);
        all.extend(parts.map(|part| Secret::text("token", part)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_whatever_it_is_wrapped() {
        let secret = Secret::of("x", PAYLOAD);
        for front in ["", "a", "ab", "abc"] {
            for back in ["", "z", "zz"] {
                let whole = [front.as_bytes(), PAYLOAD, back.as_bytes()].concat();
                assert!(secret.is_in(&STANDARD_NO_PAD.encode(&whole)), "{front} {back}");
                assert!(secret.is_in(&URL_SAFE_NO_PAD.encode(&whole)), "{front} {back}");
                assert!(secret.is_in(&format!("{whole:?} {whole:x?}")), "{front} {back}");
                assert!(secret.is_in(&format!("{:?}", bytes::Bytes::from(whole))), "{front} {back}");
            }
        }
        assert!(!secret.is_in("PAYLOAD"));
    }
}
