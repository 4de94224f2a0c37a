//! I3: a caller was told *not executed*: the call never runs, for ever.

use super::i1::has_run;
use super::runs;
use crate::store::Disk;
use crate::witness::{Seen, What};

//= I3
pub(super) fn check(seen: &Seen, disk: &Disk) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, asked) in &seen.asked {
        if let Some((_, What::NotExecuted(text))) = &asked.told
            && has_run(seen, disk, id)
        {
            let runs: Vec<_> = runs(seen, id).collect();
            wrong.push(format!("{:?} {id} was told not executed ({text}), and ran: {runs:?}", asked.kind));
        }
    }
    wrong
}
