//! Who is calling: the [`Authenticator`] contract, and [`JwtAuthenticator`], which fulfils it for JSON Web Tokens.
//!
//! An authenticator turns [`Credentials`], which a stranger sent, into an [`Identity`] or an [`AuthError`]. It decides
//! nothing else: which scopes a method needs, and to whom a session belongs, is judged by the layers after it.
//!
//! ```
//! use rpc_server::auth::{JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = [7_u8; 32]; // from a secret store, and random
//! let authenticator = JwtAuthenticator::new(
//!     TrustedIssuer::new("https://id.example", "ledger").key(Key::hs256(&secret)?),
//! )?;
//! let token = JwtIssuer::hs256(&secret, "https://id.example", "ledger")?
//!     .token("alice", &["ledger.write"], Duration::from_secs(300))?;
//! # let _ = (authenticator, token);
//! # Ok(())
//! # }
//! ```
//!
//! What a caller is told about a refusal is one of four stable reasons ([`AuthErrorKind`]); the exact cause goes to
//! the log at level `debug`, without any text of the token.

mod anonymous;
mod bearer;
mod clock;
mod credentials;
mod error;
mod identity;
pub mod jwt;
mod scopes;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use anonymous::{DangerousAnonymous, dangerous_anonymous};
pub use bearer::{Bearer, TOKEN_BYTES_MAX};
pub use clock::WallClock;
pub use credentials::Credentials;
pub use error::{AuthError, AuthErrorKind};
pub use identity::{Expiry, Identity};
pub use jwt::{
    ConfigError, IssueError, JwtAuthenticator, JwtAuthenticatorBuilder, JwtIssuer, Key, KeyError,
    TrustedIssuer,
};
pub use scopes::{SCOPE_BYTES_MAX, SCOPES_MAX, Scopes, ScopesError};

/// Decides who a caller is.
///
/// Callers may rely on this: the method is called once for every request that needs a principal, from any thread and
/// many at a time, and its answer is used for that request alone. Whoever wants to remember answers does so itself.
///
/// Implementers guarantee:
///
/// - *Fail closed.* An [`Identity`] is returned only for credentials that were verified. A broken backend is
///   [`AuthError::Unavailable`], never an identity.
/// - *The same caller always gets the same principal*, on every server: sessions belong to it.
/// - *No blocking.* What can be decided at once is [`Verdict::Ready`], which costs no allocation; what needs a network
///   or a disk is a [`Verdict::Pending`] future with a time limit of its own.
///
/// Refusing a good caller for a moment is allowed (it retries); accepting a bad one is not.
///
/// # Examples
///
/// Callers named by their client certificate:
///
/// ```
/// use rpc_core::principal::Principal;
/// use rpc_server::auth::{AuthError, Authenticator, Credentials, Identity, Verdict};
///
/// struct ByCertificate;
///
/// impl Authenticator for ByCertificate {
///     fn authenticate(&self, credentials: Credentials<'_>) -> Verdict {
///         let Some(certificate) = credentials.certificates().first() else {
///             return Verdict::refused(AuthError::Missing);
///         };
///         let name = format!("{} bytes", certificate.len()); // a real one reads the subject
///         Verdict::accepted(Identity::new(Principal::new("our-ca", name)))
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Judges the credentials of one request.
    ///
    /// # Errors
    ///
    /// The verdict carries any [`AuthError`]; see there which of the stable reasons each becomes.
    ///
    /// # Cancel safety
    ///
    /// A pending verdict is dropped when its request goes away, at any await point.
    fn authenticate(&self, credentials: Credentials<'_>) -> Verdict;
}

impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    fn authenticate(&self, credentials: Credentials<'_>) -> Verdict {
        (**self).authenticate(credentials)
    }
}

/// A verdict that is still being made. It owns what it needs: credentials are borrowed for the call only.
pub type PendingVerdict = Pin<Box<dyn Future<Output = Result<Identity, AuthError>> + Send>>;

/// What an [`Authenticator`] answers, at once or later.
///
/// Two variants instead of a boxed future, because verifying a token needs no waiting and happens on every call.
#[must_use = "a verdict that nobody reads authenticates nobody"]
pub enum Verdict {
    /// Decided.
    Ready(Result<Identity, AuthError>),
    /// Will be decided when the future is polled to its end.
    Pending(PendingVerdict),
}

impl Verdict {
    /// The caller is this.
    pub fn accepted(identity: Identity) -> Self {
        Self::Ready(Ok(identity))
    }

    /// The caller is refused.
    pub fn refused(error: AuthError) -> Self {
        Self::Ready(Err(error))
    }

    /// Will be decided by `future`.
    pub fn pending(future: impl Future<Output = Result<Identity, AuthError>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(future))
    }

    /// Waits for the decision; returns at once if it was made.
    ///
    /// # Errors
    ///
    /// The refusal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the decision.
    pub async fn resolve(self) -> Result<Identity, AuthError> {
        match self {
            Self::Ready(decided) => decided,
            Self::Pending(future) => future.await,
        }
    }
}

impl std::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(decided) => f.debug_tuple("Ready").field(decided).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
