//! The file of a saved session.

use rpc_client::{SavedError, SavedSession};

/// Only what this version writes is read, and that is written again as it was. The first byte says whether the checksum is
/// put right first, which nobody would hit by chance.
pub fn run(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if first & 1 == 1 {
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    }
    match SavedSession::from_bytes(&bytes) {
        Ok(saved) => {
            assert_eq!(saved.to_bytes(), bytes);
            assert!(saved.number().value() > 0);
            let agreement = saved.agreement();
            assert!(!agreement.lease.is_zero() && (1..=1 << 16).contains(&agreement.slots), "{agreement:?}");
            assert!(format!("{saved:?}").len() < 200 + 2 * saved.target().escape_debug().count());
        }
        Err(SavedError::NotASession) => assert!(!bytes.starts_with(b"rpcsaved")),
        Err(SavedError::Version { found }) => assert_ne!(found, 1),
        Err(SavedError::Damaged) => {}
        Err(other) => panic!("{other} from bytes"),
    }
}
