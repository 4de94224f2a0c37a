//! The store: the core's own, with its faults.

use bytes::Bytes;
use rpc_core::id::{CallId, Epoch, SessionId};
use rpc_core::record::{CallRecord, Change, Write};
use rpc_core::session::Restored;
use rpc_core::store::{MemoryStore, Store, Stored, WriteError};
use rpc_core::time::Timestamp;
use rpc_core::transaction::{Transaction, Version};

use crate::ledger::Ledger;
use crate::scenario::{Fault, Scenario};

/// What transactions read and write.
const KEY: &[u8] = b"count";

/// The store and what it holds.
#[derive(Debug, Clone, Hash)]
pub struct Disk {
    store: MemoryStore,
}

impl Disk {
    /// An empty store.
    pub(crate) fn new() -> Self {
        Self { store: MemoryStore::new() }
    }

    /// Makes one write.
    pub(crate) fn commit(
        &self,
        scenario: &Scenario,
        ledger: &mut Ledger,
        write: &Write,
    ) -> Result<(), WriteError> {
        let epoch = self.epoch(write.session);
        let mut made = write.clone();
        if let Some(epoch) = epoch.filter(|_| scenario.is(Fault::EpochNotCompared)) {
            made.epoch = epoch;
        }
        self.make(&made)?;
        ledger.epoch_ignored |= epoch.is_some_and(|epoch| epoch != write.epoch);
        // A write without an effect on calls is none that an ended session must not see.
        ledger.ended_goes_on |= ledger.ended;
        match &write.change {
            Change::Slot(slot) | Change::Commit(slot, _) => ledger.stored(slot.slot, slot.sequence),
            Change::End(_) => ledger.ended = true,
            _ => {}
        }
        if let Change::Commit(slot, _) = &write.change
            && let CallRecord::Done(fingerprint, reply) = &slot.call
            && let Some(call) = (fingerprint.0 as usize).checked_sub(1)
        {
            ledger.identity(CallId { slot: slot.slot, sequence: slot.sequence }, call);
            let truth = &mut ledger.calls[call];
            truth.commits += 1;
            truth.committed = reply.message.first().copied();
        }
        Ok(())
    }

    /// Raises the epoch for a server that takes over.
    pub(crate) fn claim(&self, session: SessionId) {
        let Some(epoch) = self.epoch(session) else { return };
        let claimed = self.make(&Write { session, epoch, change: Change::Claim(epoch.next()) });
        debug_assert!(claimed.is_ok(), "the epoch was just read");
    }

    /// What a server that starts finds of the session; `None`: it has ended, or there is none.
    pub(crate) fn load(&self, session: SessionId) -> Option<Restored> {
        match self.store.load(session).ok()?? {
            Stored::Live(epoch, record, slots) => {
                let authority_until = Timestamp::NEVER;
                Some(Restored { id: session, epoch, record, slots, authority_until })
            }
            Stored::Ended(..) => None,
        }
    }

    /// A transaction that has read the counter and raises it by one.
    pub(crate) fn transaction(&self, read: (Version, u8)) -> Transaction {
        let mut transaction = Transaction::new();
        let (version, count) = read;
        let key = Bytes::from_static(KEY);
        let read = transaction.read(key.clone(), version);
        let written = transaction.write(key, Some(Bytes::copy_from_slice(&[count + 1])));
        debug_assert!(read.is_ok() && written.is_ok(), "one small key");
        transaction
    }

    /// The counter that transactions raise.
    pub(crate) fn count(&self) -> (Version, u8) {
        let value = self.store.get(KEY).ok().flatten();
        value.map_or((Version::NONE, 0), |value| (value.version, value.value[0]))
    }

    /// How many slots have a record.
    pub(crate) fn records(&self, session: SessionId) -> usize {
        self.load(session).map_or(0, |restored| restored.slots.len())
    }

    /// Under which epoch the store has the session.
    pub(crate) fn epoch(&self, session: SessionId) -> Option<Epoch> {
        self.store.load(session).ok().flatten().map(|stored| stored.epoch())
    }

    fn make(&self, write: &Write) -> Result<(), WriteError> {
        let answers = self.store.commit(std::slice::from_ref(write)).map_err(WriteError::Store)?;
        answers.into_iter().next().unwrap_or(Ok(()))
    }
}
