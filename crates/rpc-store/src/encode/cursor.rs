//! Fields, one after the other: little-endian numbers, text and lists with a length of 16 bits before them, other bytes
//! with one of 32.

use std::time::Duration;

use super::{BODY_BYTES_MAX, DecodeError, EncodeError};

const LENGTH_MAX: usize = u16::MAX as usize;

/// Writes fields.
#[derive(Default)]
pub(super) struct FieldWriter {
    bytes: Vec<u8>,
}

impl FieldWriter {
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn duration(&mut self, value: Duration) {
        self.u64(value.as_secs());
        self.u32(value.subsec_nanos());
    }

    /// The length of what follows.
    pub(super) fn length(&mut self, field: &'static str, size: usize) -> Result<(), EncodeError> {
        let too_long = EncodeError::TooLong { field, size, max: LENGTH_MAX };
        self.raw(&u16::try_from(size).map_err(|_| too_long)?.to_le_bytes());
        Ok(())
    }

    pub(super) fn text(&mut self, field: &'static str, text: &str) -> Result<(), EncodeError> {
        self.length(field, text.len())?;
        self.raw(text.as_bytes());
        Ok(())
    }

    /// Bytes with their length in 32 bits before them.
    pub(super) fn bytes(&mut self, field: &'static str, bytes: &[u8]) -> Result<(), EncodeError> {
        let too_long = EncodeError::TooLong { field, size: bytes.len(), max: BODY_BYTES_MAX };
        self.u32(u32::try_from(bytes.len()).map_err(|_| too_long)?);
        self.raw(bytes);
        Ok(())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads fields; each read names its field for the error.
pub(crate) struct FieldReader<'a> {
    rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) fn raw<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Field(field))?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.raw(field)?))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.raw(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.raw(field)?))
    }

    /// `Duration::new` carries a whole second over and panics at the end of its range: neither is ever written.
    pub(crate) fn duration(&mut self, field: &'static str) -> Result<Duration, DecodeError> {
        let (seconds, nanos) = (self.u64(field)?, self.u32(field)?);
        if nanos >= 1_000_000_000 {
            return Err(DecodeError::Field(field));
        }
        Ok(Duration::new(seconds, nanos))
    }

    pub(crate) fn length(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        Ok(usize::from(u16::from_le_bytes(self.raw(field)?)))
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let size = self.length(field)?;
        let bytes = self.take(field, size)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Field(field))
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let size = usize::try_from(self.u32(field)?).map_err(|_| DecodeError::Field(field))?;
        self.take(field, size)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Whether the optional field that follows is there.
    pub(crate) fn presence(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Field(field)),
        }
    }

    fn take(&mut self, field: &'static str, size: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(DecodeError::Field(field))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Everything has been read: one record has one spelling.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Length) }
    }
}
