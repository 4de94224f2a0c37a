//! The record of a slot: what is remembered of its last call.

use bytes::Bytes;
use rpc_core::activity::Name;
use rpc_core::id::{Fingerprint, Sequence, SessionId, SlotId};
use rpc_core::record::{CallRecord, Reply, SlotRecord};
use rpc_core::session::Kept;

use super::cursor::{FieldReader, FieldWriter};
use super::stream::{read_resumption, write_resumption};
use super::{DecodeError, EncodeError, Kind, open, seal, slot_key};

const BEGUN: u8 = 1;
const DONE: u8 = 2;
const REPLY_DROPPED: u8 = 3;
const UNKNOWN: u8 = 4;
const SETTLED: u8 = 5;
const STREAMING: u8 = 6;
const STREAMED: u8 = 7;
const STREAMED_DROPPED: u8 = 8;
const WORKING: u8 = 9;

pub(crate) fn encode_slot(session: SessionId, record: &SlotRecord) -> Result<Vec<u8>, EncodeError> {
    let SlotRecord { slot, sequence, call } = record;
    let mut fields = FieldWriter::default();
    fields.u64(sequence.0);
    match call {
        CallRecord::Begun(fingerprint) => {
            fields.u8(BEGUN);
            write_fingerprint(&mut fields, *fingerprint);
        }
        CallRecord::Streaming(fingerprint, resumption) => {
            fields.u8(STREAMING);
            write_fingerprint(&mut fields, *fingerprint);
            write_resumption(&mut fields, resumption)?;
        }
        CallRecord::Working(fingerprint, name) => {
            fields.u8(WORKING);
            write_fingerprint(&mut fields, *fingerprint);
            fields.bytes("activity", name.as_bytes())?;
        }
        CallRecord::Unknown(fingerprint) => {
            fields.u8(UNKNOWN);
            fields.u8(u8::from(fingerprint.is_some()));
            if let Some(fingerprint) = fingerprint {
                write_fingerprint(&mut fields, *fingerprint);
            }
        }
        CallRecord::Done(fingerprint, reply) => {
            fields.u8(DONE);
            write_fingerprint(&mut fields, *fingerprint);
            write_reply(&mut fields, reply)?;
        }
        CallRecord::ReplyDropped(fingerprint, reply) => {
            fields.u8(REPLY_DROPPED);
            write_fingerprint(&mut fields, *fingerprint);
            write_reply(&mut fields, reply)?;
        }
        CallRecord::Streamed(fingerprint, kept, end) => {
            let (call, reply) = match kept {
                Kept::Whole(reply) => (STREAMED, reply),
                Kept::StatusOnly(reply) => (STREAMED_DROPPED, reply),
            };
            fields.u8(call);
            write_fingerprint(&mut fields, *fingerprint);
            write_reply(&mut fields, reply)?;
            write_resumption(&mut fields, end)?;
        }
        CallRecord::Settled => fields.u8(SETTLED),
    }
    seal(&slot_key(session, *slot), Kind::Slot, &fields.into_bytes())
}

pub(crate) fn decode_slot(session: SessionId, slot: SlotId, value: &[u8]) -> Result<SlotRecord, DecodeError> {
    let (Kind::Slot, body) = open(&slot_key(session, slot), value)? else {
        return Err(DecodeError::Field("kind"));
    };
    let mut fields = FieldReader::new(body);
    let record =
        SlotRecord { slot, sequence: Sequence(fields.u64("sequence")?), call: read_call(&mut fields)? };
    fields.finish()?;
    Ok(record)
}

fn read_call(fields: &mut FieldReader<'_>) -> Result<CallRecord, DecodeError> {
    match fields.u8("call")? {
        BEGUN => Ok(CallRecord::Begun(read_fingerprint(fields)?)),
        STREAMING => Ok(CallRecord::Streaming(read_fingerprint(fields)?, Box::new(read_resumption(fields)?))),
        DONE => Ok(CallRecord::Done(read_fingerprint(fields)?, read_reply(fields)?)),
        REPLY_DROPPED => Ok(CallRecord::ReplyDropped(read_fingerprint(fields)?, read_reply(fields)?)),
        WORKING => {
            let fingerprint = read_fingerprint(fields)?;
            let name = Name::new(Bytes::copy_from_slice(fields.bytes("activity")?));
            Ok(CallRecord::Working(fingerprint, name.map_err(|_| DecodeError::Field("activity"))?))
        }
        STREAMED => read_streamed(fields, Kept::Whole),
        STREAMED_DROPPED => read_streamed(fields, Kept::StatusOnly),
        UNKNOWN => Ok(CallRecord::Unknown(match fields.presence("fingerprint")? {
            true => Some(read_fingerprint(fields)?),
            false => None,
        })),
        SETTLED => Ok(CallRecord::Settled),
        _ => Err(DecodeError::Field("call")),
    }
}

fn read_streamed(
    fields: &mut FieldReader<'_>,
    kept: impl FnOnce(Reply) -> Kept,
) -> Result<CallRecord, DecodeError> {
    let (fingerprint, reply) = (read_fingerprint(fields)?, read_reply(fields)?);
    Ok(CallRecord::Streamed(fingerprint, kept(reply), Box::new(read_resumption(fields)?)))
}

fn write_fingerprint(fields: &mut FieldWriter, fingerprint: Fingerprint) {
    fields.raw(&fingerprint.0.to_le_bytes());
}

fn read_fingerprint(fields: &mut FieldReader<'_>) -> Result<Fingerprint, DecodeError> {
    Ok(Fingerprint(u128::from_le_bytes(fields.raw("fingerprint")?)))
}

pub(super) fn write_reply(fields: &mut FieldWriter, reply: &Reply) -> Result<(), EncodeError> {
    let Reply { code, head, message, trailer } = reply;
    fields.u8(*code);
    fields.bytes("head", head)?;
    fields.bytes("message", message)?;
    fields.bytes("trailer", trailer)
}

pub(super) fn read_reply(fields: &mut FieldReader<'_>) -> Result<Reply, DecodeError> {
    Ok(Reply {
        code: fields.u8("code")?,
        head: Bytes::copy_from_slice(fields.bytes("head")?),
        message: Bytes::copy_from_slice(fields.bytes("message")?),
        trailer: Bytes::copy_from_slice(fields.bytes("trailer")?),
    })
}
