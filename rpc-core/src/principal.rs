//! Who a caller is.

use std::fmt;
use std::sync::Arc;

/// The authenticated caller: issuer and subject together, never the subject alone (OWASP ASVS 10.3.3).
///
/// Cheap to clone, and one word: each session, its record and its nonce name one. Two principals are equal exactly if issuer
/// and subject are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
//= A-10
pub struct Principal(Arc<Names>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Names {
    issuer: Arc<str>,
    subject: Arc<str>,
}

impl Principal {
    /// Names the caller that `issuer` calls `subject`.
    pub fn new(issuer: impl Into<Arc<str>>, subject: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(Names { issuer: issuer.into(), subject: subject.into() }))
    }

    /// Who vouches for the subject.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The caller's name at its issuer.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.0.subject, self.0.issuer)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
