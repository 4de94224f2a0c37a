//! I4: only the first admitted request of a call runs.

use std::collections::BTreeMap;

use crate::witness::{Kind, Run, Seen};

//= I4
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut first: BTreeMap<_, &Run> = BTreeMap::new();
    for run in &seen.runs {
        let Some((session, Some(call))) = run.session else { continue };
        let before = *first.entry((session, call)).or_insert(run);
        let is_excused = seen.contested.contains(&session) && was_forgotten(before, run);
        if before.id != run.id && !is_excused {
            wrong.push(format!("call {call} of session {session} ran for {} and for {}", before.id, run.id));
        }
    }
    wrong
}

/// A call that is kept in memory is not known to the next server. Two processes that share a session, against all advice,
/// may then use its place twice: each is a first attempt, of which C-58 has no doubt.
fn was_forgotten(before: &Run, run: &Run) -> bool {
    let in_memory =
        matches!(before.kind, Kind::Memory | Kind::UploadLive | Kind::DownloadLive | Kind::ChatLive);
    in_memory && before.server != run.server
}
