//! What servers do with a store, by seed: sessions, calls begun and done, bookings, claims, ends.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use bytes::Bytes;
use rpc_core::id::{CallId, Epoch, Fingerprint, Sequence, SessionId, SlotId};
use rpc_core::record::{ActivityRecord, CallRecord, Change, End, Reply, SlotRecord, Tombstone, Write};
use rpc_core::session::Kept;
use rpc_core::store::{Store, WriteError, suite};
use rpc_core::transaction::{Transaction, Version};

use crate::EmbeddedStore;

/// Bookings are made in this slot and nothing else is.
pub(super) const BOOKINGS: SlotId = SlotId(0);
/// Calls that work on the activity of their session are made in this slot.
pub(super) const WORK: SlotId = SlotId(3);
/// How many bookings there were.
pub(super) const TOTAL: Bytes = Bytes::from_static(b"total");
const NUMBERS_AT_ONCE: NonZeroU32 = NonZeroU32::new(8).unwrap();
const SESSIONS_MAX: usize = 16;

/// How many bookings a session has made.
pub(super) fn account(session: SessionId) -> Bytes {
    Bytes::from(format!("account/{session}"))
}

/// xorshift64.
#[derive(Debug, Clone, Copy)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// What the servers know.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    pub(super) random: Random,
    numbers: Vec<u64>,
    sessions: BTreeMap<SessionId, Session>,
}

#[derive(Debug, Clone, Default)]
struct Session {
    epoch: u64,
    has_ended: bool,
    /// The last sequence of each slot, and whether that call is done.
    slots: [(u64, bool); 4],
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random(seed), numbers: Vec::new(), sessions: BTreeMap::new() }
    }

    /// Every key that may have been used.
    pub(super) fn keys(&self) -> Vec<Bytes> {
        (1..100).filter_map(SessionId::new).map(account).chain([TOTAL]).collect()
    }

    /// One commit that changes something.
    pub(super) fn commit(&mut self, store: &EmbeddedStore) {
        if self.numbers.is_empty() {
            self.numbers = store.reserve_numbers(NUMBERS_AT_ONCE).unwrap().rev().collect();
            return;
        }
        let mut batch = vec![self.create(store)];
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for session in sessions {
            if self.random.below(3) == 0 {
                batch.push(self.change(store, session));
            }
        }
        let answers = store.commit(&batch).unwrap();
        for (write, answer) in batch.iter().zip(answers) {
            match answer {
                Ok(()) => self.made(write),
                Err(WriteError::Conflict | WriteError::Fenced { .. }) => {}
                Err(WriteError::Missing) if matches!(write.change, Change::ForgetActivity(..)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A new session while there are few, or a booking, so that each batch has one write that is made.
    fn create(&mut self, store: &EmbeddedStore) -> Write {
        let live = self.sessions.iter().find(|(_, session)| !session.has_ended);
        match live.map(|(id, session)| (*id, session.clone())) {
            Some((id, session)) if self.sessions.len() >= SESSIONS_MAX => {
                let change = self.booking(store, id, &session);
                // Nobody else is a step behind: the others of this batch meet it in conflict.
                Write { session: id, epoch: Epoch(session.epoch), change }
            }
            _ => {
                let session = self.numbers.pop().and_then(SessionId::new).unwrap();
                let n = self.random.below(200) as u8;
                Write { session, epoch: Epoch::FIRST, change: Change::Create(suite::record(n)) }
            }
        }
    }

    fn change(&mut self, store: &EmbeddedStore, id: SessionId) -> Write {
        let session = self.sessions[&id].clone();
        let epoch = Epoch(session.epoch);
        let change = if session.has_ended {
            Change::Forget
        } else {
            match self.random.below(20) {
                0..5 => self.booking(store, id, &session),
                5..9 => self.call(&session),
                9..13 => self.work(id, &session),
                13 | 14 => Change::Update(suite::record(self.random.below(200) as u8)),
                15 | 16 => Change::Claim(Epoch(session.epoch + 1)),
                17 => {
                    let record = suite::record(1);
                    let end = [End::Released, End::Aborted, End::Expired][self.random.below(3)];
                    Change::End(Box::new(Tombstone {
                        principal: record.principal.clone(),
                        nonce: record.nonce,
                        end,
                        receipt: None,
                    }))
                }
                // A server that does not know yet that it lost the session.
                _ => return Write { session: id, epoch: Epoch(session.epoch + 7), change: Change::Forget },
            }
        };
        Write { session: id, epoch, change }
    }

    /// A call of a slot is begun, or the one that was begun comes to an end.
    fn call(&mut self, session: &Session) -> Change {
        let slot = 1 + self.random.below(2);
        let (last, is_done) = session.slots[slot];
        let fingerprint = Fingerprint(self.random.0.into());
        let (sequence, call) = if is_done || last == 0 {
            (last + 1, CallRecord::Begun(fingerprint))
        } else {
            let call = match self.random.below(8) {
                0 => CallRecord::Unknown(Some(fingerprint)),
                1 => CallRecord::Unknown(None),
                2 => CallRecord::Settled,
                3 => CallRecord::ReplyDropped(fingerprint, suite::reply(1)),
                _ => CallRecord::Done(fingerprint, self.reply()),
            };
            (last, call)
        };
        Change::Slot(Box::new(SlotRecord { slot: SlotId(slot as u32), sequence: Sequence(sequence), call }))
    }

    /// The activity of a session is begun, comes further, is done, or is forgotten.
    fn work(&mut self, id: SessionId, session: &Session) -> Change {
        let (last, is_done) = session.slots[WORK.0 as usize];
        let key = suite::key((id.value() % 200) as u8, "work");
        let (begins, fingerprint) = (is_done || last == 0, Fingerprint(self.random.0.into()));
        let (sequence, end) = (Sequence(last + u64::from(begins)), self.random.below(3));
        let call = CallId { slot: WORK, sequence };
        if is_done && end == 0 {
            return Change::ForgetActivity(Box::new(key), CallId { sequence: Sequence(last), ..call });
        }
        let mut activity = suite::activity(&key, id, 2);
        (activity.worker.call, activity.done) = (call, None);
        let (slot, done) = match (begins, end) {
            (true, _) => (Some(CallRecord::Working(fingerprint, key.name)), None),
            (false, 0) => {
                let kept = Kept::Whole(self.reply());
                let end = Box::new(activity.at.clone());
                (Some(CallRecord::Streamed(fingerprint, kept.clone(), end)), Some(kept))
            }
            (false, _) => (None, None),
        };
        let slot = slot.map(|call| Box::new(SlotRecord { slot: WORK, sequence, call }));
        Change::Activity(Box::new(ActivityRecord { done, ..activity }), slot)
    }

    /// Mostly small; one in eight is of many sectors, and of more than one write of the engine.
    fn reply(&mut self) -> Reply {
        let bytes = if self.random.below(8) == 0 { 20_000 } else { self.random.below(900) };
        let message = (0..bytes).map(|_| 1 + self.random.below(255) as u8).collect();
        Reply { message, ..suite::reply(0) }
    }

    /// One more in the account and in the total; the reply says what is in the account then.
    fn booking(&mut self, store: &EmbeddedStore, id: SessionId, session: &Session) -> Change {
        let mut transaction = Transaction::new();
        let mut add_one = |key: Bytes| {
            let found = store.get(&key).unwrap();
            let version = found.as_ref().map_or(Version::NONE, |found| found.version);
            let count = 1 + found.map_or(0, |found| number(&found.value));
            transaction.read(key.clone(), version).unwrap();
            transaction.write(key, Some(Bytes::from(count.to_string()))).unwrap();
            count
        };
        let count = add_one(account(id));
        add_one(TOTAL);
        let reply = Reply { message: Bytes::from(count.to_string()), ..suite::reply(0) };
        let slot = SlotRecord {
            slot: BOOKINGS,
            sequence: Sequence(session.slots[0].0 + 1),
            call: CallRecord::Done(Fingerprint(self.random.0.into()), reply),
        };
        Change::Commit(Box::new(slot), Box::new(transaction))
    }

    fn made(&mut self, write: &Write) {
        let session = self.sessions.entry(write.session).or_default();
        match &write.change {
            Change::Create(_) => session.epoch = write.epoch.0,
            Change::Update(_) => {}
            Change::Claim(epoch) => session.epoch = epoch.0,
            Change::Activity(_, None) | Change::ForgetActivity(..) => {}
            Change::Slot(slot) | Change::Commit(slot, _) | Change::Activity(_, Some(slot)) => {
                let is_done = !matches!(slot.call, CallRecord::Begun(_) | CallRecord::Working(..));
                session.slots[slot.slot.0 as usize] = (slot.sequence.0, is_done);
            }
            Change::End(_) => session.has_ended = true,
            Change::Forget => drop(self.sessions.remove(&write.session)),
        }
    }
}

/// What a booking has written.
pub(super) fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}
