//! Reads sessions with what their slots remember.

use std::iter::Peekable;

use rpc_core::id::SessionId;
use rpc_core::record::{ActivityRecord, SlotRecord};
use rpc_core::store::{StoreError, Stored};

use crate::encode::{Key, decode_activity, decode_session, decode_slot};
use crate::engine::{EngineError, Scan};
use crate::inventory::activity_name;

/// The sessions of a scan, each with the slots that follow it. All are of one instant.
pub(crate) struct Sessions {
    scan: Peekable<Scan>,
}

impl Sessions {
    pub(crate) fn new(scan: Scan) -> Self {
        Self { scan: scan.peekable() }
    }

    fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(SessionId, Stored), StoreError> {
        let Some(Key::Session(session)) = Key::parse(key) else {
            let text = format!("key \"{}\" where a session was expected", key.escape_ascii());
            return Err(StoreError::Damaged(text));
        };
        let mut stored = decode_session(session, value)
            .map_err(|error| StoreError::Damaged(format!("the record of session {session}: {error}")))?;
        if let Stored::Live(_, _, slots) = &mut stored {
            while let Some(slot) = self.slot_of(session) {
                slots.push(slot?);
            }
        }
        Ok((session, stored))
    }

    /// The next record, if it is a slot of this session.
    fn slot_of(&mut self, session: SessionId) -> Option<Result<SlotRecord, StoreError>> {
        let is_slot = |key: &[u8]| matches!(Key::parse(key), Some(Key::Slot(owner, _)) if owner == session);
        let entry = self.scan.next_if(|entry| entry.as_ref().map_or(true, |(key, _)| is_slot(key)))?;
        Some(entry.map_err(StoreError::from).and_then(|(key, value)| match Key::parse(&key) {
            Some(Key::Slot(_, slot)) => decode_slot(session, slot, &value).map_err(|error| {
                StoreError::Damaged(format!("the record of slot {slot} of session {session}: {error}"))
            }),
            _ => Err(StoreError::Damaged(format!("a key behind session {session}"))),
        }))
    }
}

/// Reads an activity.
pub(crate) fn read_activity(key: &[u8], value: &[u8]) -> Result<ActivityRecord, StoreError> {
    let Some(Key::Activity(activity)) = Key::parse(key) else {
        return Err(StoreError::Damaged("a key where an activity was expected".into()));
    };
    let damaged = |error| StoreError::Damaged(format!("{}: {error}", activity_name(key)));
    decode_activity(key, activity, value).map_err(damaged)
}

impl Iterator for Sessions {
    type Item = Result<(SessionId, Stored), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.scan.next()?;
        Some(entry.map_err(StoreError::from).and_then(|(key, value)| self.read(&key, &value)))
    }
}

impl From<EngineError> for StoreError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Damaged(text) => Self::Damaged(text),
            EngineError::Failed(text) => Self::Failed(text),
        }
    }
}
