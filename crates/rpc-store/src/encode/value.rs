//! The record of a value of the application.

use bytes::Bytes;
use rpc_core::transaction::{Version, Versioned};

use super::cursor::{FieldReader, FieldWriter};
use super::{DecodeError, EncodeError, Kind, open, seal, value_key};

/// `key` is the application's own.
pub(crate) fn encode_value(key: &[u8], version: Version, value: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut fields = FieldWriter::default();
    fields.u64(version.0);
    fields.raw(value);
    seal(&value_key(key), Kind::Value, &fields.into_bytes())
}

pub(crate) fn decode_value(key: &[u8], value: &[u8]) -> Result<Versioned, DecodeError> {
    let (Kind::Value, body) = open(&value_key(key), value)? else { return Err(DecodeError::Field("kind")) };
    let mut fields = FieldReader::new(body);
    let version = Version(fields.u64("version")?);
    // No commit has the number 0.
    if version == Version::NONE {
        return Err(DecodeError::Field("version"));
    }
    Ok(Versioned { version, value: Bytes::copy_from_slice(fields.rest()) })
}
