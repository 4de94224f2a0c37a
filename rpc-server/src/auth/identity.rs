//! Who a caller turned out to be.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rpc_core::principal::Principal;

use super::Scopes;

/// A verified caller: who it is, what it may do, and until when. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    principal: Principal,
    scopes: Scopes,
    expiry: Option<Expiry>,
    token_id: Option<Arc<str>>,
}

impl Identity {
    /// A caller without scopes whose authority does not expire by itself.
    pub fn new(principal: Principal) -> Self {
        Self { principal, scopes: Scopes::none(), expiry: None, token_id: None }
    }

    /// Grants scopes.
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Ends the caller's authority.
    pub fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Names the credential, so that it can be revoked (`jti`).
    pub fn with_token_id(mut self, token_id: impl Into<Arc<str>>) -> Self {
        self.token_id = Some(token_id.into());
        self
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What it may do.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// When its authority ends; `None` for never.
    pub fn expiry(&self) -> Option<Expiry> {
        self.expiry
    }

    /// The credential's id at its issuer (`jti`), if it has one.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }
}

/// The end of a caller's authority: the moment from which its credentials are refused, leeway included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// By the wall clock: for logs and for people.
    pub at: SystemTime,
    /// From the moment of authentication on, by the authenticator's clock, and never zero: for timers, which must not
    /// follow a wall clock that jumps.
    pub remaining: Duration,
}
