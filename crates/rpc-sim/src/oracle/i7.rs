//! I7: a write with an epoch succeeds only while the stored epoch is that.

use std::collections::BTreeMap;

use rpc_core::record::Change;

use crate::witness::Seen;

//= I7
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut epochs = BTreeMap::new();
    for entry in seen.journal.iter().filter(|entry| entry.answer.is_ok()) {
        let write = &entry.write;
        if matches!(write.change, Change::ForgetActivity(..)) {
            continue;
        }
        let stored = *epochs.entry(write.session).or_insert(write.epoch);
        if stored != write.epoch {
            wrong.push(format!("session {} of epoch {stored} took {write:?}", write.session));
        }
        if let Change::Claim(epoch) = write.change {
            if epoch <= stored {
                wrong.push(format!("session {} goes from epoch {stored} to {epoch}", write.session));
            }
            epochs.insert(write.session, epoch);
        }
    }
    wrong
}
