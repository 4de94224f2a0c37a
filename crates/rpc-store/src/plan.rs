//! What a batch comes to: each write is judged against the store as the writes before it leave it, and each key gets one
//! value in the end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::activity::Worker;
use rpc_core::id::{SessionId, SlotId};
use rpc_core::planted::{self, Bug};
use rpc_core::record::{ActivityRecord, Change, SessionRecord, SlotRecord, Write};
use rpc_core::store::operations::Contents;
use rpc_core::store::{StoreError, Stored, WriteError};
use rpc_core::transaction::{Transaction, Version};

use crate::contents::Count;
use crate::encode::{
    DecodeError, EncodeError, Key, Life, activity_key, decode_life, decode_session, decode_value,
    encode_activity, encode_ended, encode_live, encode_slot, encode_value, range_of, session_key, slot_key,
    value_key,
};
use crate::engine::{Changes, Engine, EngineError};
use crate::inventory::value_name;
use crate::read::read_activity;

/// Bytes of records at which a plan takes no more writes. A write is at most a reply and a transaction of 1 MiB each,
/// so a commit stays below 12 MiB.
pub(crate) const COMMIT_BYTES_MAX: usize = 8 << 20;

/// The part of a batch that becomes one commit.
pub(crate) struct Plan<'a> {
    engine: &'a Engine,
    /// The version of what it writes: its own number, which never falls and is never given twice to what was read.
    version: Version,
    sessions: BTreeMap<SessionId, Touched>,
    slots: BTreeMap<(SessionId, SlotId), Cell>,
    values: BTreeMap<Bytes, Cell>,
    /// By the bytes of their keys, with the call that worked on them last.
    activities: BTreeMap<Vec<u8>, (Cell, Option<Worker>)>,
    bytes: usize,
    answers: Vec<Result<(), WriteError>>,
}

/// A plan with no more to come.
pub(crate) struct Planned {
    pub(crate) answers: Vec<Result<(), WriteError>>,
    pub(crate) changes: Changes,
    /// What the store holds once the changes are made.
    pub(crate) contents: Contents,
}

/// A session that a batch has named.
struct Touched {
    before: Option<(Life, usize)>,
    now: Option<Life>,
    /// What its record becomes; `None` within: it goes. `None` without: no write was made.
    record: Option<Option<Vec<u8>>>,
}

/// The record under one key: how many bytes it had, and what it becomes. `None`: there is none.
struct Cell {
    before: Option<usize>,
    after: Option<Vec<u8>>,
}

/// Why a write is not planned.
enum Stop {
    /// This one only.
    Refused(WriteError),
    /// None of the batch: the store cannot be read.
    Failed(StoreError),
}

impl<'a> Plan<'a> {
    /// For the commit with the number `commit`.
    pub(crate) fn new(engine: &'a Engine, commit: u64) -> Self {
        Self {
            engine,
            version: Version(commit),
            sessions: BTreeMap::new(),
            slots: BTreeMap::new(),
            values: BTreeMap::new(),
            activities: BTreeMap::new(),
            bytes: 0,
            answers: Vec::new(),
        }
    }

    /// Plans writes from the front of `batch`, at least one, until there is enough for a commit.
    pub(crate) fn take(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        for write in batch {
            match self.write(write) {
                Ok(()) => self.answers.push(Ok(())),
                Err(Stop::Refused(why)) => self.answers.push(Err(why)),
                Err(Stop::Failed(error)) => return Err(error),
            }
            if self.bytes >= COMMIT_BYTES_MAX {
                break;
            }
        }
        Ok(())
    }

    /// `contents` is what the store holds before.
    pub(crate) fn finish(self, mut contents: Contents) -> Planned {
        let mut changes = Changes::new();
        for (session, touched) in self.sessions {
            let Some(record) = touched.record else { continue };
            if let Some((life, bytes)) = touched.before {
                contents.remove_session(life, bytes);
            }
            let key = session_key(session);
            if let (Some(life), Some(record)) = (touched.now, &record) {
                contents.add_session(life, key.len() + record.len());
            }
            changes.push((key.to_vec(), record));
        }
        for ((session, slot), cell) in self.slots {
            let key = slot_key(session, slot);
            contents.replace_slot(cell.before, cell.bytes(&key));
            cell.push_to(&mut changes, key.to_vec());
        }
        for (name, cell) in self.values {
            let key = value_key(&name);
            contents.replace_value(cell.before, cell.bytes(&key));
            cell.push_to(&mut changes, key);
        }
        for (key, (cell, _)) in self.activities {
            contents.replace_activity(cell.before, cell.bytes(&key));
            cell.push_to(&mut changes, key);
        }
        Planned { answers: self.answers, changes, contents }
    }

    /// A refused write leaves the plan as it was.
    fn write(&mut self, write: &Write) -> Result<(), Stop> {
        let Write { session, epoch, change } = write;
        let (session, epoch) = (*session, *epoch);
        if let Change::ForgetActivity(key, call) = change {
            return self.forget_activity(&activity_key(key)?, Worker { session, call: *call });
        }
        let now = self.touch(session)?.now;
        //= C-53, I7
        if let Some(Life::Live(stored) | Life::Ended(stored)) = now
            && stored != epoch
            && !planted::is(Bug::EpochNotComparedOnDisk)
        {
            return Err(WriteError::Fenced { stored }.into());
        }
        match (change, now) {
            (Change::Create(record), None) | (Change::Update(record), Some(Life::Live(_))) => {
                let record = encode_live(session, epoch, record)?;
                self.put_session(session, Life::Live(epoch), record)
            }
            (Change::Claim(next), Some(Life::Live(stored))) if *next <= stored => {
                Err(WriteError::Fenced { stored }.into())
            }
            (Change::Claim(next), Some(Life::Live(_))) => {
                let record = encode_live(session, *next, &*self.session_record(session)?)?;
                self.put_session(session, Life::Live(*next), record)
            }
            (Change::Slot(slot), Some(Life::Live(_))) => {
                let record = encode_slot(session, slot)?;
                self.put_slot(session, slot, record)
            }
            (Change::Commit(slot, transaction), Some(Life::Live(_))) => {
                self.check_reads(transaction)?;
                let record = encode_slot(session, slot)?;
                self.put_values(transaction)?;
                self.put_slot(session, slot, record)
            }
            (Change::Activity(activity, slot), Some(Life::Live(_))) => {
                let record = encode_activity(activity)?;
                let slot_record = slot.as_ref().map(|slot| encode_slot(session, slot)).transpose()?;
                self.put_activity(activity, record)?;
                match slot.as_ref().zip(slot_record) {
                    Some((slot, record)) => self.put_slot(session, slot, record),
                    None => Ok(()),
                }
            }
            (Change::End(tombstone), Some(Life::Live(_))) => {
                let record = encode_ended(session, epoch, tombstone)?;
                self.clear_slots(session)?;
                self.put_session(session, Life::Ended(epoch), record)
            }
            (Change::Forget, Some(life)) => {
                if matches!(life, Life::Live(_)) {
                    self.clear_slots(session)?;
                }
                let touched = self.touch(session)?;
                (touched.now, touched.record) = (None, Some(None));
                Ok(())
            }
            (Change::Create(_), Some(_)) => Err(WriteError::Exists.into()),
            // It asks for no session, and was answered above.
            (Change::ForgetActivity(..), _) => Ok(()),
            (
                Change::Update(_)
                | Change::Claim(_)
                | Change::Slot(_)
                | Change::Commit(..)
                | Change::Activity(..),
                _,
            )
            | (Change::End(_), Some(Life::Ended(_)) | None)
            | (Change::Forget, None) => Err(WriteError::Missing.into()),
        }
    }

    /// The session as the writes so far leave it.
    fn touch(&mut self, session: SessionId) -> Result<&mut Touched, Stop> {
        let place = match self.sessions.entry(session) {
            Entry::Occupied(place) => return Ok(place.into_mut()),
            Entry::Vacant(place) => place,
        };
        let key = session_key(session);
        let before = match self.engine.get(&key)? {
            Some(value) => {
                let life = decode_life(session, &value).map_err(|error| damaged_session(session, error))?;
                Some((life, key.len() + value.len()))
            }
            None => None,
        };
        let now = before.map(|(life, _)| life);
        Ok(place.insert(Touched { before, now, record: None }))
    }

    /// The record of a live session.
    fn session_record(&mut self, session: SessionId) -> Result<Arc<SessionRecord>, Stop> {
        let stored = match &self.touch(session)?.record {
            Some(Some(record)) => decode_session(session, record),
            Some(None) | None => match self.engine.get(&session_key(session))? {
                Some(record) => decode_session(session, &record),
                None => return Err(WriteError::Missing.into()),
            },
        };
        match stored.map_err(|error| damaged_session(session, error))? {
            Stored::Live(_, record, _) => Ok(record),
            Stored::Ended(..) => Err(WriteError::Missing.into()),
        }
    }

    fn put_session(&mut self, session: SessionId, life: Life, record: Vec<u8>) -> Result<(), Stop> {
        self.bytes += record.len();
        let touched = self.touch(session)?;
        (touched.now, touched.record) = (Some(life), Some(Some(record)));
        Ok(())
    }

    fn put_slot(&mut self, session: SessionId, slot: &SlotRecord, record: Vec<u8>) -> Result<(), Stop> {
        let slot = slot.slot;
        self.bytes += record.len();
        match self.slots.entry((session, slot)) {
            Entry::Occupied(mut place) => place.get_mut().after = Some(record),
            Entry::Vacant(place) => {
                let before = bytes_at(self.engine, &slot_key(session, slot))?;
                place.insert(Cell { before, after: Some(record) });
            }
        }
        Ok(())
    }

    /// The activity under that key as the writes so far leave it.
    fn touch_activity(&mut self, key: Vec<u8>) -> Result<&mut (Cell, Option<Worker>), Stop> {
        let place = match self.activities.entry(key) {
            Entry::Occupied(place) => return Ok(place.into_mut()),
            Entry::Vacant(place) => place,
        };
        let found = self.engine.get(place.key())?;
        let worker = match &found {
            Some(value) => Some(read_activity(place.key(), value)?.worker),
            None => None,
        };
        let before = found.map(|value| place.key().len() + value.len());
        Ok(place.insert((Cell { before, after: None }, worker)))
    }

    fn put_activity(&mut self, activity: &ActivityRecord, record: Vec<u8>) -> Result<(), Stop> {
        self.bytes += record.len();
        let (cell, worker) = self.touch_activity(activity_key(&activity.key)?)?;
        (cell.after, *worker) = (Some(record), Some(activity.worker));
        Ok(())
    }

    fn forget_activity(&mut self, key: &[u8], last: Worker) -> Result<(), Stop> {
        let found = match self.activities.get(key) {
            Some((_, worker)) => *worker,
            None => match self.engine.get(key)? {
                Some(value) => Some(read_activity(key, &value)?.worker),
                None => None,
            },
        };
        if found != Some(last) {
            return Err(WriteError::Missing.into());
        }
        let (cell, worker) = self.touch_activity(key.to_vec())?;
        (cell.after, *worker) = (None, None);
        Ok(())
    }

    /// What its slots remember goes with the session.
    fn clear_slots(&mut self, session: SessionId) -> Result<(), Stop> {
        for entry in self.engine.scan(range_of(session)) {
            let (key, value) = entry?;
            if let Some(Key::Slot(_, slot)) = Key::parse(&key) {
                let before = Some(key.len() + value.len());
                self.slots.entry((session, slot)).or_insert(Cell { before, after: None });
            }
        }
        let slots = (session, SlotId(0))..=(session, SlotId(u32::MAX));
        for (_, cell) in self.slots.range_mut(slots) {
            cell.after = None;
        }
        Ok(())
    }

    /// Whether all is as the transaction has read it.
    fn check_reads(&self, transaction: &Transaction) -> Result<(), Stop> {
        for (key, read) in transaction.reads() {
            let now = match self.values.get(key) {
                Some(Cell { after: Some(_), .. }) => self.version,
                Some(Cell { after: None, .. }) => Version::NONE,
                None => self.version_of(key)?,
            };
            if now != read && !planted::is(Bug::ReadsNotComparedOnDisk) {
                return Err(WriteError::Conflict.into());
            }
        }
        Ok(())
    }

    fn version_of(&self, key: &[u8]) -> Result<Version, Stop> {
        let Some(value) = self.engine.get(&value_key(key))? else { return Ok(Version::NONE) };
        match decode_value(key, &value) {
            Ok(value) => Ok(value.version),
            Err(error) => Err(StoreError::Damaged(format!("{}: {error}", value_name(key))).into()),
        }
    }

    fn put_values(&mut self, transaction: &Transaction) -> Result<(), Stop> {
        let encode = |(key, value): (&Bytes, Option<&Bytes>)| {
            let record = value.map(|value| encode_value(key, self.version, value)).transpose()?;
            Ok((key.clone(), record))
        };
        let records = transaction.writes().map(encode).collect::<Result<Vec<_>, EncodeError>>()?;
        for (key, record) in records {
            self.bytes += key.len() + record.as_ref().map_or(0, Vec::len);
            match self.values.entry(key) {
                Entry::Occupied(mut place) => place.get_mut().after = record,
                Entry::Vacant(place) => {
                    let before = bytes_at(self.engine, &value_key(place.key()))?;
                    place.insert(Cell { before, after: record });
                }
            }
        }
        Ok(())
    }
}

impl Cell {
    fn bytes(&self, key: &[u8]) -> Option<usize> {
        self.after.as_ref().map(|record| key.len() + record.len())
    }

    fn push_to(self, changes: &mut Changes, key: Vec<u8>) {
        // What was not there and is not wanted needs no word.
        if self.before.is_some() || self.after.is_some() {
            changes.push((key, self.after));
        }
    }
}

/// How large the record at `key` is, its key included.
fn bytes_at(engine: &Engine, key: &[u8]) -> Result<Option<usize>, EngineError> {
    Ok(engine.get(key)?.map(|value| key.len() + value.len()))
}

fn damaged_session(session: SessionId, error: DecodeError) -> StoreError {
    StoreError::Damaged(format!("the record of session {session}: {error}"))
}

impl From<WriteError> for Stop {
    fn from(error: WriteError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<EncodeError> for Stop {
    /// The store is well, the record is not one for it.
    fn from(error: EncodeError) -> Self {
        Self::Refused(WriteError::Store(StoreError::Failed(error.to_string())))
    }
}
