//! Configuration of a [`JwtAuthenticator`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cache::TokenCache;
use super::key::KeyError;
use super::{JwtAuthenticator, TrustedIssuer};
use crate::auth::WallClock;

const LEEWAY_DEFAULT: Duration = Duration::from_secs(5);
const LEEWAY_MAX: Duration = Duration::from_secs(30);
const CACHED_TOKENS_DEFAULT: usize = 10_000;

/// Builds a [`JwtAuthenticator`]. At least one issuer is needed; the rest has defaults.
pub struct JwtAuthenticatorBuilder {
    issuers: Vec<TrustedIssuer>,
    leeway: Duration,
    cached_tokens_max: usize,
    clock: Box<dyn WallClock>,
}

impl JwtAuthenticatorBuilder {
    pub(super) fn new() -> Self {
        Self {
            issuers: Vec::new(),
            leeway: LEEWAY_DEFAULT,
            cached_tokens_max: CACHED_TOKENS_DEFAULT,
            clock: Box::new(SystemTime::now),
        }
    }

    /// Trusts one more issuer.
    pub fn issuer(mut self, issuer: TrustedIssuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// How far the issuers' clocks and ours may be apart, 0 to 30 s. Default: 5 s. Holds for `exp`, `nbf` and `iat`.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How many verified tokens are remembered; 0 for none. Default: 10,000, each of a few hundred bytes, at most
    /// about the size of its token. Beyond it the least used are forgotten and verified anew.
    pub fn cached_tokens_max(mut self, tokens: usize) -> Self {
        self.cached_tokens_max = tokens;
        self
    }

    /// Reads the time elsewhere. Default: [`SystemTime::now`]. For tests.
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], except [`Key`](ConfigError::Key): keys were checked when they were made.
    pub fn build(self) -> Result<JwtAuthenticator, ConfigError> {
        if self.leeway > LEEWAY_MAX {
            return Err(ConfigError::Leeway { leeway: self.leeway });
        }
        let mut issuers = HashMap::new();
        for issuer in self.issuers {
            let issuer = issuer.checked()?;
            if let Some(earlier) = issuers.insert(Arc::clone(issuer.name()), issuer) {
                return Err(ConfigError::IssuerTwice { issuer: earlier.name().to_string() });
            }
        }
        if issuers.is_empty() {
            return Err(ConfigError::NoIssuer);
        }
        let cache = (self.cached_tokens_max > 0).then(|| TokenCache::new(self.cached_tokens_max));
        Ok(JwtAuthenticator { issuers, leeway: self.leeway, cache, clock: self.clock })
    }
}

impl std::fmt::Debug for JwtAuthenticatorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtAuthenticatorBuilder")
            .field("issuers", &self.issuers)
            .field("leeway", &self.leeway)
            .field("cached_tokens_max", &self.cached_tokens_max)
            .finish_non_exhaustive()
    }
}

/// A mistake in the configuration of token handling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No issuer is trusted, so nobody could call.
    #[error("no trusted issuer")]
    NoIssuer,
    /// The same issuer twice.
    #[error("issuer `{issuer}` configured twice")]
    IssuerTwice {
        /// Its name.
        issuer: String,
    },
    /// An issuer without keys.
    #[error("issuer `{issuer}` has no key")]
    NoKey {
        /// Its name.
        issuer: String,
    },
    /// An issuer with more than 50 keys.
    #[error("issuer `{issuer}` has {keys} keys, expected at most {}", super::jwk::SET_KEYS_MAX)]
    TooManyKeys {
        /// Its name.
        issuer: String,
        /// How many it has.
        keys: usize,
    },
    /// Symmetric and asymmetric keys for one issuer.
    #[error("issuer `{issuer}` has both secrets and public keys")]
    MixedKeys {
        /// Its name.
        issuer: String,
    },
    /// Several keys, and one without id.
    #[error("issuer `{issuer}` has several keys, so each needs an id")]
    KeyIdMissing {
        /// Its name.
        issuer: String,
    },
    /// Two keys of one id.
    #[error("issuer `{issuer}` has two keys with id `{id}`")]
    KeyIdTwice {
        /// Its name.
        issuer: String,
        /// The id.
        id: String,
    },
    /// A name that no token could carry.
    #[error("issuers and audiences have 1 to 255 bytes and no control characters")]
    Name,
    /// Too much leeway.
    #[error("leeway of {leeway:?}, expected at most {LEEWAY_MAX:?}")]
    Leeway {
        /// The leeway asked for.
        leeway: Duration,
    },
    /// A key that cannot be used.
    #[error("unusable key")]
    Key(#[from] KeyError),
}
