//! Calls that were decided without a reply of their handlers: they had not arrived, or were stopped.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::RecordId;
use crate::id::SlotId;

/// How far the store is with such decisions. Nobody is told of one before the store has it: the call could still run at the
/// next server.
///
/// There is nothing in it unless one is on the way or was refused.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Settling(Option<Box<Decided>>);

#[derive(Debug, Clone, Hash, Default)]
struct Decided {
    last: RecordId,
    on_the_way: BTreeMap<RecordId, SlotId>,
    /// The store has refused these: whoever asks has them written again.
    refused: BTreeSet<SlotId>,
}

impl Settling {
    /// The last call of the slot was decided, in this record.
    pub(super) fn written(&mut self, record: RecordId, slot: SlotId) {
        let decided = self.0.get_or_insert_default();
        decided.refused.remove(&slot);
        decided.on_the_way.insert(record, slot);
        decided.last = record;
    }

    /// What an answer that tells of a decision rests on: nothing where the store has all of them.
    pub(super) fn last(&self) -> RecordId {
        self.0.as_ref().map_or_else(RecordId::default, |decided| decided.last)
    }

    /// Whether the decision about the last call of the slot is to be written again.
    pub(super) fn is_refused(&self, slot: SlotId) -> bool {
        self.0.as_ref().is_some_and(|decided| decided.refused.contains(&slot))
    }

    /// The store has this record, and all before it.
    pub(super) fn durable(&mut self, record: RecordId) {
        let Some(decided) = &mut self.0 else { return };
        decided.on_the_way = decided.on_the_way.split_off(&record.next());
        if decided.last <= record && decided.refused.is_empty() {
            self.0 = None;
        }
    }

    /// The store goes on without this record.
    pub(super) fn refused(&mut self, record: RecordId) {
        if let Some(decided) = &mut self.0 {
            decided.refused.extend(decided.on_the_way.remove(&record));
        }
    }

    /// The store goes on without any of those on the way.
    pub(super) fn all_refused(&mut self) {
        if let Some(decided) = &mut self.0 {
            decided.refused.extend(std::mem::take(&mut decided.on_the_way).into_values());
        }
    }
}
