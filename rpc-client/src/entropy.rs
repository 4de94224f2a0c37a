//! Where random numbers come from.

use std::io;
use std::sync::Arc;

/// A source of random bytes: nonces, which nobody may guess, and the waits between attempts.
///
/// The default is the operating system's. Simulations give one that repeats.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    ///
    /// The source does not work; no session is opened then.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The source that all parts of a session share.
#[derive(Clone)]
pub(crate) struct Chance(Arc<dyn Entropy>);

impl Chance {
    pub(crate) fn new(entropy: impl Entropy) -> Self {
        Self(Arc::new(entropy))
    }

    /// Fills `bytes`, as [`Entropy::fill`].
    pub(crate) fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.fill(bytes)
    }

    /// A number from 0 to 1; 1 where the source does not work.
    pub(crate) fn fraction(&self) -> f64 {
        let mut bytes = [0; 4];
        let number = self.0.fill(&mut bytes).map(|()| u32::from_le_bytes(bytes));
        number.map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new(SystemEntropy)
    }
}
