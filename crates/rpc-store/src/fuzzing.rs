//! The way to the decoders for `fuzz/`, and for nobody else: no part of the API.

use crate::encode::{
    Key, decode_activity, decode_counter, decode_header, decode_session, decode_slot, decode_value,
    encode_activity, encode_counter, encode_ended, encode_header, encode_live, encode_slot, encode_value,
};
use rpc_core::store::Stored;

/// Reads the record under `key` and writes it again; the error as text; `None`: the key names nothing of ours.
pub fn written_again(key: &[u8], value: &[u8]) -> Option<Result<Vec<u8>, String>> {
    let again = match Key::parse(key)? {
        Key::Own if key == crate::encode::HEADER_KEY => decode_header(value).map(encode_header),
        Key::Own => decode_counter(key, value).map(|count| encode_counter(key, count)),
        Key::Session(session) => decode_session(session, value).map(|stored| match stored {
            Stored::Live(epoch, record, _) => encode_live(session, epoch, &record),
            Stored::Ended(epoch, tombstone) => encode_ended(session, epoch, &tombstone),
        }),
        Key::Slot(session, slot) => {
            decode_slot(session, slot, value).map(|record| encode_slot(session, &record))
        }
        Key::Value(name) => {
            decode_value(name, value).map(|read| encode_value(name, read.version, &read.value))
        }
        Key::Activity(activity) => {
            decode_activity(key, activity, value).map(|record| encode_activity(&record))
        }
    };
    Some(match again {
        Ok(Ok(written)) => Ok(written),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}
