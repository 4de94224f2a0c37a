//! Tokens that were verified before.

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;

use super::claims::Verified;
use crate::auth::{AuthError, Bearer, Identity};

/// Verified tokens by their SHA-256, so that memory holds no token that could be replayed.
///
/// Bounded; the least used goes first. Only verified tokens enter: a stranger can neither fill it nor push others
/// out. Each hit is judged by the time again, and an entry that expired is dropped by the hit that finds it so.
pub(super) struct TokenCache(Cache<Digest, Arc<Verified>>);

/// What an entry is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: Bearer<'_>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_str().as_bytes()).as_ref());
        Self(bytes)
    }
}

impl TokenCache {
    pub(super) fn new(tokens_max: usize) -> Self {
        Self(Cache::new(tokens_max))
    }

    /// The verdict on a token seen before; `None` if it was not, or was forgotten.
    pub(super) fn judge(&self, token: &Digest, now: SystemTime) -> Option<Result<Identity, AuthError>> {
        let identity = self.0.get(token)?.identity(now);
        if identity == Err(AuthError::Expired) {
            self.0.remove(token);
        }
        Some(identity)
    }

    pub(super) fn remember(&self, token: Digest, verified: Verified) {
        self.0.insert(token, Arc::new(verified));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
