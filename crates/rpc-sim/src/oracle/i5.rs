//! I5: the sequence of a slot never goes down; and what was settled stays so.

use std::collections::BTreeMap;

use rpc_core::record::{CallRecord, Change, SlotRecord};

use crate::witness::Seen;

//= I5
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut slots: BTreeMap<_, SlotRecord> = BTreeMap::new();
    for entry in seen.journal.iter().filter(|entry| entry.answer.is_ok()) {
        let Some(slot) = slot(&entry.write.change) else { continue };
        let place = (entry.write.session, slot.slot);
        if let Some(before) = slots.get(&place) {
            if before.sequence > slot.sequence {
                wrong.push(format!("slot {place:?} goes from {} to {}", before.sequence, slot.sequence));
            }
            let settled = matches!(before.call, CallRecord::Settled);
            if settled && before.sequence == slot.sequence && before.call != slot.call {
                wrong.push(format!("slot {place:?} was settled at {}, and is {slot:?}", before.sequence));
            }
        }
        slots.insert(place, slot.clone());
    }
    wrong
}

/// The slot that a change is about.
pub(super) fn slot(change: &Change) -> Option<&SlotRecord> {
    match change {
        Change::Slot(slot) | Change::Commit(slot, _) | Change::Activity(_, Some(slot)) => Some(slot),
        Change::Activity(_, None)
        | Change::Create(_)
        | Change::Update(_)
        | Change::Claim(_)
        | Change::ForgetActivity(..)
        | Change::End(_)
        | Change::Forget => None,
    }
}
