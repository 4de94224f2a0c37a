//! Who a caller is.

use std::fmt;
use std::sync::Arc;

/// The authenticated caller: issuer and subject together, never the subject alone (OWASP ASVS 10.3.3).
///
/// Cheap to clone. Two principals are equal exactly if issuer and subject are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
//= A-10
pub struct Principal {
    issuer: Arc<str>,
    subject: Arc<str>,
}

impl Principal {
    /// Names the caller that `issuer` calls `subject`.
    pub fn new(issuer: impl Into<Arc<str>>, subject: impl Into<Arc<str>>) -> Self {
        Self { issuer: issuer.into(), subject: subject.into() }
    }

    /// Who vouches for the subject.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The caller's name at its issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.subject, self.issuer)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
