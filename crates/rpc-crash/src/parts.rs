//! What streams carry: parts that a seed and their number decide.

use crate::caller::Random;
use crate::pb::Part;

/// The part with that number.
pub fn part(seed: u64, number: u64) -> Part {
    let mut random = Random(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Mostly small; one in 16 is of many frames.
    let bytes = if random.below(16) == 0 { 20_000 } else { random.below(1_500) };
    let data = (0..bytes).map(|_| random.below(256).try_into().unwrap_or_default()).collect();
    Part { number, data }
}

/// The bytes of the parts up to `parts`, one after the other.
pub fn content(seed: u64, parts: u64) -> Vec<u8> {
    (0..parts).flat_map(|number| part(seed, number).data).collect()
}
