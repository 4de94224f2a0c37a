//! Calls that were decided without a reply of their handlers: they had not arrived, or were stopped.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::RecordId;
use crate::id::SlotId;

/// How far the store is with such decisions. Nobody is told of one before the store has it: the call could still run at the
/// next server.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Settling {
    last: RecordId,
    on_the_way: BTreeMap<RecordId, SlotId>,
    /// The store has refused these: whoever asks has them written again.
    refused: BTreeSet<SlotId>,
}

impl Settling {
    /// The last call of the slot was decided, in this record.
    pub(super) fn written(&mut self, record: RecordId, slot: SlotId) {
        self.refused.remove(&slot);
        self.on_the_way.insert(record, slot);
        self.last = record;
    }

    /// What an answer that tells of a decision rests on.
    pub(super) fn last(&self) -> RecordId {
        self.last
    }

    /// Whether the decision about the last call of the slot is to be written again.
    pub(super) fn is_refused(&self, slot: SlotId) -> bool {
        self.refused.contains(&slot)
    }

    /// The store has this record, and all before it.
    pub(super) fn durable(&mut self, record: RecordId) {
        self.on_the_way = self.on_the_way.split_off(&record.next());
    }

    /// The store goes on without this record.
    pub(super) fn refused(&mut self, record: RecordId) {
        self.refused.extend(self.on_the_way.remove(&record));
    }

    /// The store goes on without any of those on the way.
    pub(super) fn all_refused(&mut self) {
        self.refused.extend(std::mem::take(&mut self.on_the_way).into_values());
    }
}
