//! The record of an activity.

use rpc_core::activity::Worker;
use rpc_core::id::{CallId, Sequence, SessionId, SlotId};
use rpc_core::record::ActivityRecord;
use rpc_core::session::Kept;

use super::cursor::{FieldReader, FieldWriter};
use super::keys::{ActivityKey, activity_key};
use super::slot::{read_reply, write_reply};
use super::stream::{read_resumption, write_resumption};
use super::{DecodeError, EncodeError, Kind, open, seal};

const OPEN: u8 = 0;
const DONE: u8 = 1;
const DONE_DROPPED: u8 = 2;

pub(crate) fn encode_activity(record: &ActivityRecord) -> Result<Vec<u8>, EncodeError> {
    let ActivityRecord { key, method, worker, at, done } = record;
    let mut fields = FieldWriter::default();
    fields.text("method", method)?;
    let Worker { session, call: CallId { slot, sequence } } = worker;
    fields.u64(session.value());
    fields.u32(slot.0);
    fields.u64(sequence.0);
    write_resumption(&mut fields, at)?;
    match done {
        None => fields.u8(OPEN),
        Some(Kept::Whole(reply)) => {
            fields.u8(DONE);
            write_reply(&mut fields, reply)?;
        }
        Some(Kept::StatusOnly(reply)) => {
            fields.u8(DONE_DROPPED);
            write_reply(&mut fields, reply)?;
        }
    }
    seal(&activity_key(key)?, Kind::Activity, &fields.into_bytes())
}

/// `bytes` are those of the key.
pub(crate) fn decode_activity(
    bytes: &[u8],
    key: ActivityKey<'_>,
    value: &[u8],
) -> Result<ActivityRecord, DecodeError> {
    let (Kind::Activity, body) = open(bytes, value)? else { return Err(DecodeError::Field("kind")) };
    let mut fields = FieldReader::new(body);
    let record = ActivityRecord {
        key: key.to_key().ok_or(DecodeError::Field("name"))?,
        method: fields.text("method")?.into(),
        worker: Worker {
            session: SessionId::new(fields.u64("session")?).ok_or(DecodeError::Field("session"))?,
            call: CallId { slot: SlotId(fields.u32("slot")?), sequence: Sequence(fields.u64("sequence")?) },
        },
        at: read_resumption(&mut fields)?,
        done: match fields.u8("done")? {
            OPEN => None,
            DONE => Some(Kept::Whole(read_reply(&mut fields)?)),
            DONE_DROPPED => Some(Kept::StatusOnly(read_reply(&mut fields)?)),
            _ => return Err(DecodeError::Field("done")),
        },
    };
    fields.finish()?;
    Ok(record)
}
