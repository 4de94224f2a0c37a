//! I2: a caller that saw a reply: the call ran once, and that is its recorded reply; every answer is the same.

use std::collections::BTreeMap;

use super::i1::booked;
use super::{is_shared, runs};
use crate::store::Disk;
use crate::witness::{Ending, Kind, Seen, What};

//= I2
pub(super) fn check(seen: &Seen, disk: &Disk) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut totals = BTreeMap::new();
    for (id, asked) in &seen.asked {
        let answered = |number| {
            runs(seen, id)
                .any(|run| Some(run.number) == number && matches!(run.ended, Some((_, Ending::Answered))))
        };
        match asked.told.as_ref().map(|(_, what)| what) {
            Some(What::Replied { run, count, total }) => {
                if !answered(Some(*run)) {
                    wrong.push(format!("{id} was told the reply of run {run}, which gave none"));
                }
                if asked.kind == Kind::Book {
                    if *count != 1 || booked(disk, id) != 1 {
                        wrong.push(format!("{id} was told {count} bookings, there are {}", booked(disk, id)));
                    }
                    if let Some(other) = totals.insert(*total, id) {
                        wrong.push(format!("{id} and {other} were both told that they are booking {total}"));
                    }
                }
                if asked.queried.is_some() && asked.queried != asked.reply {
                    wrong.push(format!("{id} has another reply by query"));
                }
            }
            Some(What::Streamed) => {
                if !runs(seen, id).any(|run| matches!(run.ended, Some((_, Ending::Answered)))) {
                    wrong.push(format!("{:?} {id} came to its end at its caller only", asked.kind));
                }
            }
            Some(What::Failed(text)) => {
                let ended = |run: &crate::witness::Run| {
                    matches!(run.ended, Some((_, Ending::Failed | Ending::Answered | Ending::Dropped)))
                };
                let is_excused = asked.kind.streams() && is_shared(seen, asked.session, asked.kind);
                if !runs(seen, id).any(ended) && !is_excused {
                    wrong.push(format!("{:?} {id} was told that it ran: {text}", asked.kind));
                }
                if asked.kind == Kind::Book && booked(disk, id) != 0 {
                    wrong.push(format!("{id} failed ({text}) and is booked"));
                }
            }
            Some(What::NotExecuted(_) | What::Unknown(_) | What::Cancelled) | None => {}
        }
    }
    wrong
}
