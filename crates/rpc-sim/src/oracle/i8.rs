//! I8: numbers are unique for ever; an ended session admits nothing, and none is created again.

use std::collections::{BTreeMap, BTreeSet};

use rpc_core::record::Change;

use super::is_owner;
use crate::witness::Seen;

//= I8
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut created, mut ended) = (BTreeSet::new(), BTreeMap::new());
    for entry in seen.journal.iter().filter(|entry| entry.answer.is_ok()) {
        let session = entry.write.session;
        match &entry.write.change {
            Change::Create(_) => {
                if !created.insert(session) {
                    wrong.push(format!("session {session} was created twice"));
                }
            }
            Change::End(_) => _ = ended.entry(session).or_insert(entry.order),
            Change::Update(_)
            | Change::Claim(_)
            | Change::Slot(_)
            | Change::Commit(..)
            | Change::Activity(..) => {
                if ended.contains_key(&session) {
                    wrong.push(format!("session {session} has ended and took {:?}", entry.write));
                }
            }
            Change::ForgetActivity(..) | Change::Forget => {}
        }
    }
    for run in &seen.runs {
        let Some((session, _)) = run.session else { continue };
        let over = ended.get(&session).is_some_and(|ended| *ended < run.began);
        if over && is_owner(seen, run, run.began) {
            wrong.push(format!("session {session} has ended, and {run:?}"));
        }
    }
    wrong
}
