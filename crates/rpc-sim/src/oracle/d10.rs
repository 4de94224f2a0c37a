//! D-10: calls of one exclusive class do not run at the same time, and run first come, first served.

use std::collections::BTreeMap;

use crate::witness::{Kind, Run, Seen};

//= D-10
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut classes: BTreeMap<_, Vec<&Run>> = BTreeMap::new();
    for run in &seen.runs {
        let Some((session, _)) = run.session else { continue };
        let within = match run.kind {
            Kind::Sole => format!("of {}", run.subject),
            Kind::SoleHere => format!("in session {session}"),
            _ => continue,
        };
        // Two servers cannot know of each other.
        classes.entry((run.server, run.kind, within)).or_default().push(run);
    }
    for ((_, kind, within), runs) in &classes {
        for pair in runs.windows(2) {
            if pair[0].ended.as_ref().is_none_or(|(ended, _)| *ended > pair[1].began) {
                wrong.push(format!("two of {kind:?} {within} at the same time: {pair:?}"));
            }
        }
    }
    for queue in &seen.queues {
        wrong.extend(overtaken(seen, queue));
    }
    wrong
}

/// Whether one of these calls, which came one after another, ran before one that came earlier. One that was sent again may
/// have come later than it was called.
fn overtaken(seen: &Seen, queue: &[String]) -> Option<String> {
    let came = |id: &&String| seen.asked.get(*id).is_some_and(|asked| asked.attempts == 1);
    let began = |id: &String| seen.runs.iter().find(|run| run.id == *id).map(|run| run.began);
    let runs: Vec<_> = queue.iter().filter(came).filter_map(began).collect();
    (!runs.is_sorted()).then(|| format!("{queue:?} came in this order, and began at {runs:?}"))
}
