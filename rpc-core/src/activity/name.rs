//! What activities are called.

use std::fmt;

use bytes::Bytes;

/// Longest name of an activity, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// The name of an activity: 1 to 128 bytes, unique within its principal. `Debug` shows how long it is and no more, since
/// what it says is the application's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

/// Not a name: empty, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of an activity has {0} bytes, not 1 to {NAME_BYTES_MAX}")]
pub struct InvalidName(pub usize);

impl Name {
    /// The name that is written so.
    ///
    /// # Errors
    ///
    /// It is empty, or longer than [`NAME_BYTES_MAX`].
    //= D-17
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, InvalidName> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX {
            return Err(InvalidName(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// Sorts before every name, and is none.
    pub(super) fn before_all() -> Self {
        Self(Bytes::new())
    }

    /// How it is written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name(<{} bytes>)", self.0.len())
    }
}
