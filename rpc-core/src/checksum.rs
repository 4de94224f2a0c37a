//! CRC-32C (Castagnoli; RFC 3720, appendix B.4), which finds accidents in what is sent and stored.

use crc_fast::{CrcAlgorithm, Digest};

/// Of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    append(0, bytes)
}

/// Of what `crc` is of, followed by `bytes`.
pub fn append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    // The upper half is of algorithms with 64 bits.
    (digest.finalize() & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_of_the_standard() {
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46DD_794E);
    }

    // Records and streams that were begun with it go on with it.
    #[test]
    fn it_is_what_another_implementation_says_in_whatever_pieces() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let whole = crc32c::crc32c(&bytes);
        for cut in [0, 1, 4, 5, 63, 64, 255, 4_096, 65_536, bytes.len()] {
            assert_eq!(append(crc32c(&bytes[..cut]), &bytes[cut..]), whole, "{cut}");
        }
    }
}
