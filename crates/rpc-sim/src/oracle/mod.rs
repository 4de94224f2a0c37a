//! What must be true of what was seen, one file for each invariant, and one for exclusive classes. *Unknown* excuses what
//! nobody can know, and nothing else. I9, I10, I11 and I22 are looked at while things happen, where handlers and callers are.

mod d10;
mod i1;
mod i18;
mod i2;
mod i23;
mod i24;
mod i3;
mod i4;
mod i5;
mod i6;
mod i7;
mod i8;

use rpc_core::id::SessionId;

use crate::witness::{Kind, Run, Seen, Violation};
use crate::world::World;

/// Everything that is wrong.
pub fn check(world: &World) -> Vec<Violation> {
    let mut seen = world.witness.look(Seen::clone);
    let mut wrong = std::mem::take(&mut seen.violations);
    let found = [
        ("I1", i1::check(&seen, &world.disk)),
        ("I2", i2::check(&seen, &world.disk)),
        ("I3", i3::check(&seen, &world.disk)),
        ("I4", i4::check(&seen)),
        ("I5", i5::check(&seen)),
        ("I6", i6::check(&seen)),
        ("I7", i7::check(&seen)),
        ("I8", i8::check(&seen)),
        ("I18", i18::check(&seen)),
        ("I23", i23::check(&seen, &world.config)),
        ("I24", i24::check(&seen)),
        ("D-10", d10::check(&seen)),
    ];
    for (invariant, found) in found {
        wrong.extend(found.into_iter().map(|what| Violation { invariant, what }));
    }
    wrong
}

/// Runs of handlers of the call with that id.
fn runs<'a>(seen: &'a Seen, id: &'a str) -> impl Iterator<Item = &'a Run> {
    seen.runs.iter().filter(move |run| run.id == id)
}

/// Two processes that share a session, against all advice, use the same places. Whether a place was used before, the next
/// server knows by the intents that the store has: not of calls of memory, and of transactions when they are committed. And
/// what a stream asks for, no fingerprint covers.
pub fn is_shared(seen: &Seen, session: SessionId, kind: Kind) -> bool {
    let is_told_apart = matches!(kind, Kind::Durable | Kind::Again | Kind::Stoppable | Kind::Sole);
    seen.contested.contains(&session) && !is_told_apart
}

/// Whether the server of the run was the one that had the store at that moment. One that was replaced knows nothing of
/// what others do.
fn is_owner(seen: &Seen, run: &Run, order: u64) -> bool {
    let owner = seen.mounts.iter().rev().find(|(since, _)| *since <= order);
    owner.is_some_and(|(_, server)| *server == run.server)
}
