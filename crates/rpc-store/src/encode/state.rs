//! What the store keeps of itself: its header and its counters.

use rpc_core::store::operations::StoreId;

use super::cursor::{FieldReader, FieldWriter};
use super::{DecodeError, EncodeError, HEADER_KEY, Kind, open, seal};

/// The first record of a store. Its frame carries the format version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: StoreId,
}

pub(crate) fn encode_header(header: Header) -> Result<Vec<u8>, EncodeError> {
    seal(HEADER_KEY, Kind::Header, &header.id.0)
}

pub(crate) fn decode_header(value: &[u8]) -> Result<Header, DecodeError> {
    let (Kind::Header, body) = open(HEADER_KEY, value)? else { return Err(DecodeError::Field("kind")) };
    let mut fields = FieldReader::new(body);
    let header = Header { id: StoreId(fields.raw("store id")?) };
    fields.finish()?;
    Ok(header)
}

/// The counter under `key`: numbers given, or commits made.
pub(crate) fn encode_counter(key: &[u8], count: u64) -> Result<Vec<u8>, EncodeError> {
    let mut fields = FieldWriter::default();
    fields.u64(count);
    seal(key, Kind::Counter, &fields.into_bytes())
}

pub(crate) fn decode_counter(key: &[u8], value: &[u8]) -> Result<u64, DecodeError> {
    let (Kind::Counter, body) = open(key, value)? else { return Err(DecodeError::Field("kind")) };
    let mut fields = FieldReader::new(body);
    let count = fields.u64("count")?;
    fields.finish()?;
    Ok(count)
}
