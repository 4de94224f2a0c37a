//! JSON Web Tokens (RFC 7519) by the current best practice (RFC 8725).
//!
//! One token takes these steps, and the first that fails is the answer:
//!
//! 1. Size and alphabet, before anything is decoded ([`Bearer`]).
//! 2. The cache of verified tokens; on a hit only the time is checked.
//! 3. Three segments of strict base64url; header and claims are JSON objects without a repeated name.
//! 4. The header: no parameter that brings a key or changes the rules, a type that is an access token's.
//! 5. The key, by issuer and key id out of those configured; the header's algorithm must be the key's.
//! 6. The signature. Until here nothing the token says is believed.
//! 7. `aud`, `sub`, scopes, lifetime; and last the time, so that *expired* is told only about tokens that were good.
//!
//! `iss`, `sub`, `aud` and `exp` are required. To rotate keys, build a new authenticator and swap it in: the cache of
//! the old one goes with it, and so do tokens of keys that were withdrawn.

mod builder;
mod cache;
mod claims;
mod header;
mod issuer;
mod json;
mod jwk;
mod key;
mod trusted;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use builder::{ConfigError, JwtAuthenticatorBuilder};
pub use issuer::{IssueError, JwtIssuer};
pub use key::{Key, KeyError};
pub use trusted::TrustedIssuer;

use super::{AuthError, Authenticator, Bearer, Credentials, Identity, Verdict, WallClock};
use cache::{Digest, TokenCache};
use claims::{Verified, claimed_issuer};
use header::Header;
use json::{Object, decode_segment};

/// Accepts callers that show a token of a trusted issuer.
///
/// The [module](self) lists the checks. The principal is issuer and subject; the identity expires with the token.
/// Never waits. Refusals are logged at level `debug` by their cause.
pub struct JwtAuthenticator {
    issuers: HashMap<Arc<str>, TrustedIssuer>,
    leeway: Duration,
    cache: Option<TokenCache>,
    clock: Box<dyn WallClock>,
}

impl JwtAuthenticator {
    /// Trusts one issuer, with all defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the issuer's keys or names cannot be used.
    pub fn new(issuer: TrustedIssuer) -> Result<Self, ConfigError> {
        Self::builder().issuer(issuer).build()
    }

    /// Starts the configuration of an authenticator.
    pub fn builder() -> JwtAuthenticatorBuilder {
        JwtAuthenticatorBuilder::new()
    }

    /// Judges a token.
    ///
    /// # Errors
    ///
    /// Every [`AuthError`] except [`Missing`](AuthError::Missing), [`Refused`](AuthError::Refused) and
    /// [`Unavailable`](AuthError::Unavailable).
    pub fn verify(&self, token: Bearer<'_>) -> Result<Identity, AuthError> {
        let now = self.clock.now();
        let Some(cache) = &self.cache else { return self.verify_afresh(token)?.identity(now) };
        let digest = Digest::of(token);
        if let Some(judged) = cache.judge(&digest, now) {
            return judged;
        }
        self.verify_and_remember(token, cache, digest, now)
    }

    fn verify_and_remember(
        &self,
        token: Bearer<'_>,
        cache: &TokenCache,
        digest: Digest,
        now: SystemTime,
    ) -> Result<Identity, AuthError> {
        let verified = self.verify_afresh(token)?;
        // A token that is refused now is not remembered, not even one that will be good in a minute.
        let identity = verified.identity(now)?;
        cache.remember(digest, verified);
        Ok(identity)
    }

    /// Everything but the time.
    fn verify_afresh(&self, token: Bearer<'_>) -> Result<Verified, AuthError> {
        let segments = Segments::of(token)?;
        let header = Header::decode(segments.header)?;
        let claims = Object::decode(segments.claims, "claims")?;
        let issuer = self.issuers.get(claimed_issuer(&claims)?).ok_or(AuthError::UnknownIssuer)?;
        let signature = decode_segment(segments.signature, "signature")?;
        issuer.key_for(&header)?.verify(segments.signed.as_bytes(), &signature)?;
        Verified::check(&claims, issuer, self.leeway)
    }
}

impl Authenticator for JwtAuthenticator {
    fn authenticate(&self, credentials: Credentials<'_>) -> Verdict {
        let judged = match credentials.bearer() {
            Some(token) => self.verify(token),
            None => Err(AuthError::Missing),
        };
        if let Err(cause) = judged {
            tracing::debug!(%cause, "token refused");
        }
        Verdict::Ready(judged)
    }
}

impl fmt::Debug for JwtAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthenticator")
            .field("issuers", &self.issuers)
            .field("leeway", &self.leeway)
            .field("cached", &self.cache.as_ref().map_or(0, TokenCache::len))
            .finish_non_exhaustive()
    }
}

/// A token in JWS compact form: header, claims and signature, and what was signed.
struct Segments<'a> {
    signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Segments<'a> {
    fn of(token: Bearer<'a>) -> Result<Self, AuthError> {
        let malformed = AuthError::Malformed { what: "not three segments" };
        let (signed, signature) = token.as_str().rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(malformed)?;
        if claims.contains('.') {
            return Err(malformed);
        }
        Ok(Self { signed, header, claims, signature })
    }
}
