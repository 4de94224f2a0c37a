//! I23: the ticket in use is valid: a client is told that its session is gone only when it is.

use std::time::Duration;

use rpc_core::record::Change;

use crate::witness::{Over, Seen};
use crate::world::Config;

/// How long after the end of a server its last answers may have their effect.
const HEARD_LATE: Duration = Duration::from_secs(20);

//= I23
pub(super) fn check(seen: &Seen, config: &Config) -> Vec<String> {
    let lost = seen.over.iter().filter(|over| !over.released && !over.contested);
    let wrong = lost.filter(|over| {
        !has_ended(seen, over) && !was_silent(seen, config, over) && !was_replaced(seen, over)
    });
    wrong.map(|over| format!("client {:?} lost session {}, which lives", over.client, over.session)).collect()
}

fn has_ended(seen: &Seen, over: &Over) -> bool {
    seen.journal.iter().any(|entry| {
        let of_session = entry.write.session == over.session && entry.order < over.order;
        of_session && entry.answer.is_ok() && matches!(entry.write.change, Change::End(_))
    })
}

/// Whether the client may have heard it from a server that another had replaced. That one does not know of tickets that
/// were given since, and finds out with its next write that the store is not its any more; see `docs/proof.md`.
fn was_replaced(seen: &Seen, over: &Over) -> bool {
    seen.two_servers.iter().any(|(from, until)| (*from..*until + HEARD_LATE).contains(&over.at))
}

/// Whether the server may have waited in vain for longer than the session lives. It says so before the store has it: if
/// it crashes then, the session begins to linger once more, and its owner does not come back.
fn was_silent(seen: &Seen, config: &Config, over: &Over) -> bool {
    let of_session = |run: &&crate::witness::Run| {
        run.began < over.order && run.session.is_some_and(|(session, _)| session == over.session)
    };
    let heard = seen.runs.iter().filter(of_session).map(|run| run.began_at).max().unwrap_or_default();
    over.at.saturating_sub(heard) >= config.lease.min(config.linger)
}
