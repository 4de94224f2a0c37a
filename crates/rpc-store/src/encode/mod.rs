//! Bytes of the store: what each key and each value looks like. Drawn in `docs/storage.md`.
//!
//! A value is a frame around a body. The frame's checksum covers the key too, so that a record under another's key is
//! not taken for that one's. Decoding answers an error on any bytes that were not written as they are; it never
//! panics and never allocates more than the bytes it was given.

mod activity;
mod cursor;
mod keys;
mod session;
mod slot;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod value;

use rpc_core::checksum::{append, crc32c};

pub(crate) use activity::{decode_activity, encode_activity};
pub(crate) use cursor::FieldReader;
pub(crate) use keys::{
    COMMITS_KEY, HEADER_KEY, Key, KeyRange, NUMBERS_KEY, activities_above, activity_key, is_value_key,
    range_above, range_of, session_key, slot_key, value_key,
};
pub(crate) use session::{Life, decode_life, decode_session, encode_ended, encode_live};
pub(crate) use slot::{decode_slot, encode_slot};
pub(crate) use state::{Header, decode_counter, decode_header, encode_counter, encode_header};
pub(crate) use value::{decode_value, encode_value};

/// The format that this version writes, and the only one it reads.
pub(crate) const FORMAT_VERSION: u8 = 2;

/// Largest body of a record. A session with the longest names and lists that the server's own bounds allow, a value of
/// the application and a reply of 1 MiB, the largest that a server can be told to keep, stay below; a write over it is
/// refused.
pub(crate) const BODY_BYTES_MAX: usize = 2 << 20;

/// Version, kind and length.
const HEAD_BYTES: usize = 6;
const CHECKSUM_BYTES: usize = 4;

/// Largest value: a frame around the largest body.
pub(crate) const VALUE_BYTES_MAX: usize = HEAD_BYTES + BODY_BYTES_MAX + CHECKSUM_BYTES;

/// What a body is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Header = 1,
    Counter = 2,
    Live = 16,
    Ended = 17,
    Slot = 18,
    Activity = 19,
    Value = 32,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Header),
            2 => Some(Self::Counter),
            16 => Some(Self::Live),
            17 => Some(Self::Ended),
            18 => Some(Self::Slot),
            19 => Some(Self::Activity),
            32 => Some(Self::Value),
            _ => None,
        }
    }
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("format version {0}, this program reads {FORMAT_VERSION}")]
    Version(u8),
    #[error("the length does not fit")]
    Length,
    #[error("the checksum does not fit")]
    Checksum,
    #[error("unknown kind of record {0}")]
    Kind(u8),
    #[error("the field {0} is not what this version writes")]
    Field(&'static str),
}

/// Why a record is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("{field} has {size} bytes or items, {max} is the most")]
    TooLong { field: &'static str, size: usize, max: usize },
}

/// Puts the frame around a body.
fn seal(key: &[u8], kind: Kind, body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let too_long = EncodeError::TooLong { field: "record", size: body.len(), max: BODY_BYTES_MAX };
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= BODY_BYTES_MAX).ok_or(too_long)?;
    let mut value = Vec::with_capacity(HEAD_BYTES + body.len() + CHECKSUM_BYTES);
    value.extend([FORMAT_VERSION, kind as u8]);
    value.extend(length.to_le_bytes());
    value.extend(body);
    value.extend(checksum(key, &value).to_le_bytes());
    Ok(value)
}

/// Takes the frame off and says what is inside.
fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<(Kind, &'a [u8]), DecodeError> {
    match value.first() {
        Some(&FORMAT_VERSION) => {}
        Some(&other) => return Err(DecodeError::Version(other)),
        None => return Err(DecodeError::Length),
    }
    let (framed, sum) = value.split_last_chunk::<CHECKSUM_BYTES>().ok_or(DecodeError::Length)?;
    let (head, body) = framed.split_first_chunk::<HEAD_BYTES>().ok_or(DecodeError::Length)?;
    let [_, kind, length @ ..] = *head;
    if usize::try_from(u32::from_le_bytes(length)) != Ok(body.len()) || body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::Length);
    }
    if checksum(key, framed) != u32::from_le_bytes(*sum) {
        return Err(DecodeError::Checksum);
    }
    Ok((Kind::from_number(kind).ok_or(DecodeError::Kind(kind))?, body))
}

fn checksum(key: &[u8], framed: &[u8]) -> u32 {
    append(crc32c(key), framed)
}
