//! What a caller may do.

use std::fmt;
use std::sync::Arc;

/// Most scopes one caller can have.
pub const SCOPES_MAX: usize = 64;

/// Longest scope, in bytes.
pub const SCOPE_BYTES_MAX: usize = 128;

/// A set of scopes (RFC 6749, section 3.3): at most [`SCOPES_MAX`], each of 1 to [`SCOPE_BYTES_MAX`] printable ASCII
/// characters without space, quote and backslash. Compared byte by byte. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Scopes(Arc<[Box<str>]>); // sorted, no duplicates

impl Scopes {
    /// The empty set.
    pub fn none() -> Self {
        Self::default()
    }

    /// A set of the given scopes; duplicates count once.
    ///
    /// # Errors
    ///
    /// [`ScopesError`] for too many or an unusable one.
    pub fn new<S: AsRef<str>>(scopes: impl IntoIterator<Item = S>) -> Result<Self, ScopesError> {
        let mut set = Vec::new();
        for scope in scopes {
            let scope = scope.as_ref();
            if !is_scope(scope) {
                return Err(ScopesError::Invalid);
            }
            if set.len() == SCOPES_MAX {
                return Err(ScopesError::TooMany);
            }
            set.push(Box::from(scope));
        }
        set.sort_unstable();
        set.dedup();
        Ok(Self(set.into()))
    }

    /// A set from the form tokens have: scopes separated by spaces.
    ///
    /// # Errors
    ///
    /// As [`Scopes::new`].
    pub fn parse(text: &str) -> Result<Self, ScopesError> {
        Self::new(text.split(' ').filter(|scope| !scope.is_empty()))
    }

    /// Whether `scope` is in the set.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.binary_search_by(|own| (**own).cmp(scope)).is_ok()
    }

    /// Whether all of `scopes` are in the set; true for none.
    pub fn contains_all(&self, scopes: &[&str]) -> bool {
        scopes.iter().all(|scope| self.contains(scope))
    }

    /// The scopes, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|scope| &**scope)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Why a set of scopes was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopesError {
    /// More than [`SCOPES_MAX`].
    #[error("more than {SCOPES_MAX} scopes")]
    TooMany,
    /// One is empty, longer than [`SCOPE_BYTES_MAX`], or has a character that scopes do not have.
    #[error("a scope is empty, over {SCOPE_BYTES_MAX} bytes, or has a character that is not allowed")]
    Invalid,
}

fn is_scope(text: &str) -> bool {
    (1..=SCOPE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_must_be_there() {
        let scopes = Scopes::parse("ledger.write ledger.read  ledger.read").unwrap();
        assert_eq!(scopes.iter().collect::<Vec<_>>(), ["ledger.read", "ledger.write"]);
        assert!(scopes.contains_all(&[]));
        assert!(scopes.contains_all(&["ledger.write", "ledger.read"]));
        assert!(!scopes.contains_all(&["ledger.read", "ledger.admin"]));
        assert!(!scopes.contains("ledger"));
        assert!(!scopes.contains("LEDGER.READ"));
        assert!(!Scopes::none().contains(""));
    }

    #[test]
    fn bounds_are_exact() {
        let many = |n: usize| (0..n).map(|i| format!("s{i}")).collect::<Vec<_>>();
        assert_eq!(Scopes::new(many(SCOPES_MAX)).unwrap().iter().len(), SCOPES_MAX);
        assert_eq!(Scopes::new(many(SCOPES_MAX + 1)), Err(ScopesError::TooMany));
        assert!(Scopes::new(["a".repeat(SCOPE_BYTES_MAX)]).is_ok());
        assert_eq!(Scopes::new(["a".repeat(SCOPE_BYTES_MAX + 1)]), Err(ScopesError::Invalid));
    }

    #[test]
    fn foreign_characters_are_refused() {
        for bad in ["", "a b", "a\tb", "a\"b", "a\\b", "ä", "a\0"] {
            assert_eq!(Scopes::new([bad]), Err(ScopesError::Invalid), "{bad:?}");
        }
    }
}
