//! What streams carry: parts that the id of the call and their number decide.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::pb::Part;

/// The part with that number, as the caller of `id` sends it.
pub fn part(id: &str, number: u64) -> Part {
    let hash = xxh3_64_with_seed(id.as_bytes(), number);
    // Mostly small; one in 32 is of many frames.
    let length = if hash.is_multiple_of(32) { 20_000 } else { hash % 400 };
    let data = (0..length).map(|at| hash.rotate_left((at % 64) as u32).to_le_bytes()[0]).collect();
    Part { number, data }
}

/// The answer of a handler to it, or the part of a download.
pub fn answer(id: &str, number: u64) -> Part {
    part(&format!("{id} answered"), number)
}

/// Of the first so many parts.
pub fn checksum(id: &str, parts: u64) -> u64 {
    (0..parts).fold(0, |sum, number| xxh3_64_with_seed(&part(id, number).data, sum))
}
