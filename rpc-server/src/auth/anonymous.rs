//! No authentication, for tests and demonstrations.

use rpc_core::principal::Principal;

use super::{Authenticator, Credentials, Identity, Scopes, Verdict};

/// Accepts every caller as one and the same principal.
///
/// **Everyone who can reach the server owns every session on it.** For tests and demonstrations on one machine; the
/// name is long so that it is found in a review. Credentials that are sent are not looked at.
///
/// The principal is `anonymous` of the issuer `dangerous-anonymous`, without scopes until
/// [`with_scopes`](DangerousAnonymous::with_scopes) grants some.
pub fn dangerous_anonymous() -> DangerousAnonymous {
    DangerousAnonymous { identity: Identity::new(Principal::new("dangerous-anonymous", "anonymous")) }
}

/// The authenticator made by [`dangerous_anonymous`].
#[derive(Clone, Debug)]
pub struct DangerousAnonymous {
    identity: Identity,
}

impl DangerousAnonymous {
    /// Grants everyone these scopes, so that methods which require them can be tried.
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.identity = self.identity.with_scopes(scopes);
        self
    }
}

impl Authenticator for DangerousAnonymous {
    fn authenticate(&self, _: Credentials<'_>) -> Verdict {
        Verdict::accepted(self.identity.clone())
    }
}
