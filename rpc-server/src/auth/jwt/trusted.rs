//! Issuers whose tokens are accepted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::ConfigError;
use super::claims::is_name;
use super::header::Header;
use super::jwk::SET_KEYS_MAX;
use super::key::Key;
use crate::auth::AuthError;

/// An issuer whose tokens are accepted, for whom they must be, and the keys that verify them.
///
/// Keys are either symmetric or asymmetric, never both: otherwise a public key could be tried as a secret. One key may
/// have no id; it then verifies every token of the issuer, whatever key the token names. As soon as there are two,
/// each needs an id ([`Key::with_id`]) and tokens must name theirs. The rules are checked when the authenticator is
/// built.
#[derive(Clone, Debug)] // `Key` redacts itself
pub struct TrustedIssuer {
    name: Arc<str>,
    audiences: Vec<Box<str>>,
    keys: Vec<Key>,
    type_required: bool,
    lifetime_max: Option<Duration>,
}

impl TrustedIssuer {
    /// Trusts the issuer that calls itself `name` (`iss`, compared letter by letter) to vouch for callers of
    /// `audience` (`aud`), which is this service.
    pub fn new(name: impl Into<Arc<str>>, audience: impl Into<Box<str>>) -> Self {
        Self {
            name: name.into(),
            audiences: vec![audience.into()],
            keys: Vec::new(),
            type_required: true,
            lifetime_max: None,
        }
    }

    /// Adds a key.
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds keys, for example those of [`Key::from_jwks`].
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Accepts one more audience, for a service that is changing its name.
    pub fn also_audience(mut self, audience: impl Into<Box<str>>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts tokens without `typ`. Default: refused, since only the type tells an access token from another token
    /// by the same key. For issuers that never set it; a wrong type stays refused.
    pub fn typ_optional(mut self) -> Self {
        self.type_required = false;
        self
    }

    /// Refuses tokens issued for longer than this (`exp` − `iat`), and those without `iat`. Default: no limit.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime_max = Some(lifetime);
        self
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn accepts_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|own| **own == *audience)
    }

    pub(super) fn lifetime_max(&self) -> Option<Duration> {
        self.lifetime_max
    }

    /// The key that must have signed a token with this header.
    //= A-4
    pub(super) fn key_for(&self, header: &Header) -> Result<&Key, AuthError> {
        if self.type_required && !header.has_type {
            return Err(AuthError::WrongType);
        }
        let key = match self.keys.as_slice() {
            [only] if only.id().is_none() => only,
            named => named
                .iter()
                .find(|key| key.id().is_some() && key.id() == header.key_id.as_deref())
                .ok_or(AuthError::UnknownKey)?,
        };
        if header.algorithm != key.algorithm().name() {
            return Err(AuthError::AlgorithmMismatch);
        }
        Ok(key)
    }

    /// Checks what the type promises.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        let issuer = || self.name.to_string();
        if !is_name(&self.name) || !self.audiences.iter().all(|audience| is_name(audience)) {
            return Err(ConfigError::Name);
        }
        let Some(first) = self.keys.first() else { return Err(ConfigError::NoKey { issuer: issuer() }) };
        if self.keys.len() > SET_KEYS_MAX {
            return Err(ConfigError::TooManyKeys { issuer: issuer(), keys: self.keys.len() });
        }
        if self.keys.iter().any(|key| key.algorithm().is_symmetric() != first.algorithm().is_symmetric()) {
            return Err(ConfigError::MixedKeys { issuer: issuer() });
        }
        if self.keys.len() > 1 {
            self.check_key_ids()?;
        }
        Ok(self)
    }

    fn check_key_ids(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for key in &self.keys {
            let Some(id) = key.id() else {
                return Err(ConfigError::KeyIdMissing { issuer: self.name.to_string() });
            };
            if !seen.insert(id) {
                return Err(ConfigError::KeyIdTwice { issuer: self.name.to_string(), id: id.to_owned() });
            }
        }
        Ok(())
    }
}
