//! Digests of what was sent: CRC32C always, BLAKE3 where the unit *digest* is on.

use std::fmt;

use crate::checksum::append;

/// Which digests the sync points of a stream carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DigestKind {
    /// CRC32C: finds accidents. Nearly free.
    #[default]
    Crc32c,
    /// BLAKE3 beside it: finds intent, too.
    Blake3,
}

/// What a sync point says of everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    /// CRC32C of all bytes from the beginning of the direction.
    pub crc: u32,
    /// The chain of BLAKE3: of the last point's value (nothing before the first) and the bytes since that point.
    ///
    /// A chain and not one hash over everything, so that a stream can go on from a point with 32 bytes and no saved
    /// state of a hasher.
    pub blake3: Option<[u8; 32]>,
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.blake3.is_some() { "blake3" } else { "crc32c" };
        write!(f, "Digest({kind}, {:08x})", self.crc)
    }
}

/// The digest of a direction so far.
#[derive(Clone)]
pub(super) struct Running {
    crc: u32,
    /// Boxed: the hasher has 2 KiB, and most streams have none.
    chain: Option<Box<blake3::Hasher>>,
}

impl Running {
    pub(super) fn new(kind: DigestKind) -> Self {
        let chain = match kind {
            DigestKind::Crc32c => None,
            DigestKind::Blake3 => Some(Box::new(blake3::Hasher::new())),
        };
        Self { crc: 0, chain }
    }

    /// As it was right after a point that stated `digest`, or as it begins. A point without BLAKE3 is the beginning of a
    /// chain.
    pub(super) fn from_point(kind: DigestKind, digest: Option<&Digest>) -> Self {
        let mut running = Self::new(kind);
        let Some(digest) = digest else { return running };
        running.crc = digest.crc;
        if let (Some(chain), Some(value)) = (&mut running.chain, &digest.blake3) {
            chain.update(value);
        }
        running
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.crc = append(self.crc, bytes);
        if let Some(chain) = &mut self.chain {
            chain.update(bytes);
        }
    }

    /// The chain of BLAKE3 begins here. CRC32C goes on.
    pub(super) fn restart_chain(&mut self) {
        if let Some(chain) = &mut self.chain {
            chain.reset();
        }
    }

    /// Both begin anew here: nothing before counts.
    pub(super) fn restart(&mut self) {
        self.crc = 0;
        self.restart_chain();
    }

    /// CRC32C of everything so far.
    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    /// The digest that a sync point here states; the next one's chain starts from it.
    pub(super) fn at_point(&mut self) -> Digest {
        let blake3 = self.chain.as_mut().map(|chain| {
            let value = *chain.finalize().as_bytes();
            chain.reset();
            chain.update(&value);
            value
        });
        Digest { crc: self.crc, blake3 }
    }
}

/// Shows no more than which digest it is.
impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({:08x})", self.crc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_is_the_one_of_rfc_3720() {
        let mut running = Running::new(DigestKind::Crc32c);
        running.update(b"1234");
        running.update(b"56789");
        assert_eq!(running.at_point(), Digest { crc: 0xE306_9283, blake3: None });
        running.update(&[]);
        assert_eq!(running.crc(), 0xE306_9283, "a point does not restart the CRC");
    }

    #[test]
    fn blake3_is_chained_from_point_to_point() {
        let mut running = Running::new(DigestKind::Blake3);
        running.update(b"one");
        let first = running.at_point().blake3.unwrap();
        assert_eq!(first, *blake3::hash(b"one").as_bytes());
        running.update(b"two");
        let second = running.at_point().blake3.unwrap();
        assert_eq!(second, *blake3::hash(&[&first[..], b"two"].concat()).as_bytes());
    }

    #[test]
    fn a_point_is_all_that_it_takes_to_go_on() {
        for kind in [DigestKind::Crc32c, DigestKind::Blake3] {
            let mut whole = Running::new(kind);
            whole.update(b"one");
            let mut resumed = Running::from_point(kind, Some(&whole.at_point()));
            whole.update(b"two");
            resumed.update(b"two");
            assert_eq!(resumed.at_point(), whole.at_point());
            assert_eq!(resumed.crc(), append(0, b"onetwo"));
        }
    }
}
