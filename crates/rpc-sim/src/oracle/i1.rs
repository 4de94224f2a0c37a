//! I1: the committed effects of a call are at most one.

use std::collections::BTreeMap;

use super::{is_shared, runs};
use crate::handler::key;
use crate::store::Disk;
use crate::witness::{Kind, Run, Seen};

//= I1
pub(super) fn check(seen: &Seen, disk: &Disk) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut by_id: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in &seen.runs {
        by_id.entry(&run.id).or_default().push(run);
    }
    for (id, runs) in &by_id {
        let Some(asked) = seen.asked.get(*id) else { continue };
        let is_excused = is_shared(seen, asked.session, asked.kind)
            && runs.windows(2).all(|pair| pair[0].server != pair[1].server);
        if asked.kind.runs_once() && runs.len() > 1 && !is_excused {
            wrong.push(format!("{:?} {id} ran {} times: {runs:?}", asked.kind, runs.len()));
        }
        if asked.kind == Kind::Again && runs.windows(2).any(|pair| pair[0].server == pair[1].server) {
            wrong.push(format!("{id} ran again at the same server: {runs:?}"));
        }
        if asked.kind != Kind::Least && runs.windows(2).any(|pair| overlap(pair[0], pair[1])) {
            wrong.push(format!("{:?} {id} ran twice at the same time: {runs:?}", asked.kind));
        }
    }
    for (id, asked) in &seen.asked {
        let count = booked(disk, id);
        if asked.kind == Kind::Book && count > 1 {
            let runs: Vec<_> = super::runs(seen, id).collect();
            wrong.push(format!("{id} was booked {count} times: {runs:?}"));
        }
    }
    wrong
}

/// Of one life of one server; two servers cannot know of each other.
fn overlap(first: &Run, second: &Run) -> bool {
    first.server == second.server && first.ended.as_ref().is_none_or(|(ended, _)| *ended > second.began)
}

/// How often the store has the id.
pub(super) fn booked(disk: &Disk, id: &str) -> u64 {
    let value = disk.value(key(id).as_bytes());
    value.and_then(|value| value.value[..].try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Whether a handler ran for it, or its effect is in the store.
pub(super) fn has_run(seen: &Seen, disk: &Disk, id: &str) -> bool {
    runs(seen, id).next().is_some() || booked(disk, id) > 0
}
