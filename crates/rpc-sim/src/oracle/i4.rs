//! I4: only the first admitted request of a call runs.

use std::collections::BTreeMap;

use super::is_shared;
use crate::witness::{Run, Seen};

//= I4
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut first: BTreeMap<_, &Run> = BTreeMap::new();
    for run in &seen.runs {
        let Some((session, Some(call))) = run.session else { continue };
        let before = *first.entry((session, call)).or_insert(run);
        let is_shared = |kind| is_shared(seen, session, kind);
        let is_excused = before.server != run.server && (is_shared(before.kind) || is_shared(run.kind));
        if before.id != run.id && !is_excused {
            wrong.push(format!("call {call} of session {session} ran for {} and for {}", before.id, run.id));
        }
    }
    wrong
}
