//! Messages: how large they are, what is in them, and that they are what was sent.

/// A message whose payload is not the one that was sent, or not in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message {got} of {bytes} bytes came as number {expected}, or is damaged")]
pub(crate) struct Damaged {
    got: u64,
    bytes: usize,
    expected: u64,
}

/// The smallest message: an index, and a payload of one byte.
pub(crate) const SIZE_MIN: usize = INDEX_BYTES + 3;

/// The field of the index, encoded. It is never 0, which would not be.
const INDEX_BYTES: usize = 9;

/// How often a message of a stream is compared byte by byte. Of the others the index, the length and both ends of the
/// payload are, so that the comparison is not what is measured: 64 KiB cost as much to compare as to receive.
const WHOLE_EVERY: u64 = 64;

/// The same in whatever holds the bytes of this variant.
pub(crate) fn data_as<D: From<Vec<u8>>>(size: usize) -> D {
    data(size).into()
}

/// The payload of a message whose encoded size is `size`, with the header of its field as long as it has to be.
pub(crate) fn data(size: usize) -> Vec<u8> {
    let room = size.max(SIZE_MIN) - INDEX_BYTES;
    // One byte for the key and one for each seven bits of the length.
    let header = |len: usize| 1 + (1..).find(|bytes| len >> (7 * bytes) == 0).unwrap_or(1);
    let len = (room.saturating_sub(6)..room).rev().find(|len| len + header(*len) <= room).unwrap_or(1);
    pattern(len)
}

/// What every payload of this length is.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(7)).collect()
}

/// What has come of a stream, or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Messages.
    pub(crate) messages: u64,
    /// Of their indices, in their order.
    pub(crate) checksum: u64,
}

impl Tally {
    /// Counts a message that is made here, and answers its index.
    pub(crate) fn make(&mut self) -> u64 {
        self.messages += 1;
        self.checksum = self.checksum.wrapping_mul(31).wrapping_add(self.messages);
        self.messages
    }

    /// Counts a message that came, whose payload must be `expected`.
    ///
    /// # Errors
    ///
    /// It is another, or not the next one.
    pub(crate) fn take(&mut self, index: u64, data: &[u8], expected: &[u8]) -> Result<(), Damaged> {
        let wanted = self.make();
        let same = if wanted % WHOLE_EVERY == 1 { data == expected } else { have_same_ends(data, expected) };
        if index != wanted || !same {
            return Err(Damaged { got: index, bytes: data.len(), expected: wanted });
        }
        Ok(())
    }
}

/// Whether length, first and last bytes are the same.
fn have_same_ends(data: &[u8], expected: &[u8]) -> bool {
    let edge = data.len().min(8);
    data.len() == expected.len()
        && data[..edge] == expected[..edge]
        && data[data.len() - edge..] == expected[expected.len() - edge..]
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::owned::Payload;

    #[test]
    fn messages_have_the_size_that_the_case_names() {
        for size in [12, 16, 64, 138, 139, 1_024, 16_393, 16_396, 65_536, 1 << 20] {
            let message = Payload { index: 1, data: data(size) };
            let off = size - message.encoded_len();
            // Where the length of the payload needs a byte more, one size cannot be had.
            assert!(off <= 1, "{size}: {off}");
        }
        assert_eq!(Payload { index: 1, data: data(16) }.encoded_len(), 16);
    }

    #[test]
    fn a_message_that_is_lost_doubled_or_damaged_is_found() {
        let good = data(64);
        let mut tally = Tally::default();
        assert!(tally.take(1, &good, &good).is_ok());
        assert!(tally.take(3, &good, &good).is_err());
        let mut tally = Tally { messages: 1, checksum: 1 };
        assert!(tally.take(1, &good, &good).is_err());
        let mut damaged = good.clone();
        damaged[54 - 1 - 9] ^= 1;
        assert!(Tally::default().take(1, &damaged, &good).is_err());
        assert!(Tally::default().take(1, &good[1..], &good).is_err());
    }
}
