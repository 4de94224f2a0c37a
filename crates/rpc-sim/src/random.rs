//! Everything random in a simulation, from its seed.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Numbers that a seed decides: SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A series of numbers for each pair of seed and salt.
    pub fn new(seed: u64, salt: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ salt.rotate_left(32));
        random.draw();
        random
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number within the range, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// True in so many of 100 cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// A time of so many milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// One of several things; there is at least one.
    pub fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        let index = usize::try_from(self.draw() % things.len() as u64).unwrap_or_default();
        things[index]
    }
}

/// Randomness for servers and clients that repeats: tickets, nonces, waits.
#[derive(Debug)]
pub struct Entropy(Mutex<Random>);

impl Entropy {
    /// A source for each pair of seed and salt.
    pub fn new(seed: u64, salt: u64) -> Self {
        Self(Mutex::new(Random::new(seed, salt)))
    }

    fn fill_with(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.draw().to_le_bytes()[..chunk.len()]);
        }
    }
}

impl rpc_server::Entropy for Entropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.fill_with(bytes);
        Ok(())
    }
}

impl rpc_client::Entropy for Entropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.fill_with(bytes);
        Ok(())
    }
}
