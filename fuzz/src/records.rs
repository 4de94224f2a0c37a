//! Keys and records of the store, as a damaged disk may give them back.

use rpc_store::fuzzing::written_again;

use super::choices::Choices;

/// The format that this version writes.
const FORMAT: u8 = 2;

/// What is read as a record is written again as it was, byte for byte; everything else is an error of bounded length.
///
/// Without the right checksum nobody gets far, so the first byte says whether a frame is put around the rest: the kind of
/// record, the length of the key and the key stand before its body then.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let is_framed = choices.yes();
    let kind = choices.byte();
    let key = choices.piece();
    let value = if is_framed { framed(key, kind, choices.rest()) } else { choices.rest().to_vec() };
    match written_again(key, &value) {
        None => {}
        Some(Ok(again)) => assert_eq!(again, value, "two spellings of one record"),
        Some(Err(error)) => {
            assert!(error.len() < 100, "{error}");
            assert_eq!(written_again(key, &value), Some(Err(error)), "another time, another error");
        }
    }
}

fn framed(key: &[u8], kind: u8, body: &[u8]) -> Vec<u8> {
    let mut value = vec![FORMAT, kind];
    value.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    value.extend_from_slice(body);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend(checksum.to_le_bytes());
    value
}
