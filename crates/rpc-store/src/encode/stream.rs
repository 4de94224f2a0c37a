//! From where a stream goes on.

use bytes::Bytes;
use rpc_core::stream::digest::Digest;
use rpc_core::stream::position::{Position, Serial};
use rpc_core::stream::secured::{Resumption, Secured};

use super::cursor::{FieldReader, FieldWriter};
use super::{DecodeError, EncodeError};

pub(super) fn write_resumption(fields: &mut FieldWriter, resumption: &Resumption) -> Result<(), EncodeError> {
    for secured in [&resumption.requests, &resumption.responses] {
        fields.u8(u8::from(secured.is_some()));
        if let Some(secured) = secured {
            write_secured(fields, secured)?;
        }
    }
    Ok(())
}

pub(super) fn read_resumption(fields: &mut FieldReader<'_>) -> Result<Resumption, DecodeError> {
    let mut secured = || match fields.presence("secured")? {
        true => read_secured(fields).map(Some),
        false => Ok(None),
    };
    Ok(Resumption { requests: secured()?, responses: secured()? })
}

fn write_secured(fields: &mut FieldWriter, secured: &Secured) -> Result<(), EncodeError> {
    let Secured { serial, position, digest, sender_state, receiver_state } = secured;
    fields.u64(serial.0);
    fields.u64(position.messages);
    fields.u64(position.bytes);
    fields.raw(&digest.crc.to_le_bytes());
    fields.u8(u8::from(digest.blake3.is_some()));
    if let Some(blake3) = &digest.blake3 {
        fields.raw(blake3);
    }
    fields.bytes("sender's state", sender_state)?;
    fields.bytes("receiver's state", receiver_state)
}

fn read_secured(fields: &mut FieldReader<'_>) -> Result<Secured, DecodeError> {
    let serial = Serial(fields.u64("serial")?);
    let position = Position { messages: fields.u64("messages")?, bytes: fields.u64("bytes")? };
    let crc = u32::from_le_bytes(fields.raw("crc")?);
    let blake3 = match fields.presence("blake3")? {
        true => Some(fields.raw("blake3")?),
        false => None,
    };
    Ok(Secured {
        serial,
        position,
        digest: Digest { crc, blake3 },
        sender_state: Bytes::copy_from_slice(fields.bytes("sender's state")?),
        receiver_state: Bytes::copy_from_slice(fields.bytes("receiver's state")?),
    })
}
