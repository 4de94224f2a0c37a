//! I18: after an affirmative release every call has ended, and nothing begins.

use super::is_owner;
use crate::witness::{Kind, Seen};

//= I18
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    for over in seen.over.iter().filter(|over| over.released) {
        let of_session = seen.runs.iter().filter(|run| {
            run.session.is_some_and(|(session, _)| session == over.session)
                // Plain calls are not the session's to wait for.
                && !matches!(run.kind, Kind::Plain | Kind::Least)
        });
        for run in of_session.filter(|run| is_owner(seen, run, over.order)) {
            let runs_on = run.ended.as_ref().is_none_or(|(ended, _)| *ended > over.order);
            if run.began > over.order || runs_on {
                wrong.push(format!("session {} was released, and {run:?}", over.session));
            }
        }
    }
    wrong
}
