//! The crash suite. A workload is recorded on a real store; then the files are put as a crash could have left them at
//! every write and sync of the recording, or as a failing medium could, and a real store is opened on them.
//!
//! What must hold after each: what was acknowledged is there; a batch is there whole or not at all, and with it effect and
//! reply of every transaction (I1, I2); epochs and sequences have not gone down (I5, I7); no number is given again (I8);
//! damage is refused, or did no harm. Then the store works.

mod points;
mod recording;
mod snapshot;
mod workload;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::thread;

use rpc_core::activity::Worker;
use rpc_core::id::{CallId, SessionId};
use rpc_core::record::{CallRecord, SlotRecord};
use rpc_core::store::{Store, Stored};

use self::points::{Expected, Point, visit};
use self::recording::{Recording, State};
use self::workload::{BOOKINGS, TOTAL, WORK, account, number};
use crate::{EmbeddedStore, OpenError};

const SEED: u64 = 0x5e55_1045;
const COMMITS: u32 = 80;
/// A sample takes one point of so many.
const SAMPLE: usize = 20;

/// How the points came out.
#[derive(Debug, Default)]
struct Tally {
    points: usize,
    refused: usize,
}

#[test]
fn a_sample_of_all_crash_points() {
    let tally = run(SAMPLE);
    assert!(tally.points >= 1_000, "{tally:?}");
}

#[test]
#[ignore = "takes minutes: cargo test --release -p rpc-store --lib crash::every -- --ignored --nocapture"]
fn every_crash_point() {
    let tally = run(1);
    assert!(tally.points >= 20_000, "{tally:?}");
}

/// Goes to every `stride`th point.
fn run(stride: usize) -> Tally {
    let recording = Recording::new(SEED, COMMITS);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                let recording = &recording;
                scope.spawn(move || work(recording, worker * stride, workers * stride))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let points = tallies.iter().map(|tally| tally.points).sum();
    let refused = tallies.iter().map(|tally| tally.refused).sum();
    // Not `println!`, which the test harness keeps to itself: the count is what the suite is there to show.
    let line = format!("{points} crash points, {refused} of them damage that was refused; seed {SEED:#x}");
    writeln!(io::stderr(), "{line}").unwrap();
    Tally { points, refused }
}

/// Goes to the points with these indices, in a directory of its own.
fn work(recording: &Recording, first: usize, step: usize) -> Tally {
    let (mut tally, mut index) = (Tally::default(), 0);
    visit(recording, &mut |point| {
        if index % step == first {
            let place = Place::new();
            point.base.with(&point.edits).write(&place.0);
            tally.points += 1;
            tally.refused += usize::from(!survives(&place.0, &point, recording, index));
        }
        index += 1;
    });
    tally
}

/// Opens what the crash has left. Says whether it is a store still.
fn survives(path: &Path, point: &Point<'_>, recording: &Recording, index: usize) -> bool {
    let context = || format!("point {index}, {:?}", point.edits.iter().map(brief).collect::<Vec<_>>());
    let store = match (EmbeddedStore::open(path), point.expected) {
        (Ok(store), Expected::State(_) | Expected::StateOrDamage(_) | Expected::New) => store,
        (Ok(_), Expected::Damage) => {
            panic!("{}: something acknowledged is missing, and it opened", context())
        }
        (Err(OpenError::Damaged(_)), Expected::Damage | Expected::StateOrDamage(_)) => return false,
        // A byte of the header or of a batch's first record says which version it is.
        (Err(OpenError::Version { .. }), Expected::StateOrDamage(_)) => return false,
        (Err(error), _) => panic!("{}: {error}", context()),
    };
    let found = State::of(&store, &recording.keys);
    match point.expected {
        Expected::State(state) | Expected::StateOrDamage(state) => {
            check_invariants(&found, point.acknowledged, &context);
            assert!(found == *state, "{}: other content than expected", context());
        }
        Expected::New => assert!(found.sessions.is_empty() && found.numbers_given == 0, "{}", context()),
        Expected::Damage => {}
    }
    let next =
        store.reserve_numbers(NonZeroU32::MIN).unwrap_or_else(|error| panic!("{}: {error}", context()));
    assert!(next.start > point.acknowledged.numbers_given, "{}: a number is given again", context());
    true
}

/// Said of what was found, without a look at what was expected.
fn check_invariants(found: &State, acknowledged: &State, context: &dyn Fn() -> String) {
    assert!(found.numbers_given >= acknowledged.numbers_given, "{}", context());
    let sessions: BTreeMap<SessionId, &Stored> =
        found.sessions.iter().map(|(id, stored)| (*id, stored)).collect();
    for (id, before) in &acknowledged.sessions {
        // It may have been forgotten by the commit that was not acknowledged.
        let Some(now) = sessions.get(id) else { continue };
        assert!(now.epoch() >= before.epoch(), "{}: the epoch of session {id} fell", context());
        for slot in slots(before) {
            let later = slots(now).iter().find(|other| other.slot == slot.slot);
            if let Stored::Live(..) = now {
                let later = later.unwrap_or_else(|| panic!("{}: a slot of {id} is forgotten", context()));
                assert!(later.sequence >= slot.sequence, "{}: a sequence of {id} fell", context());
            }
        }
    }
    let balance = |key| found.values.get(&key).map_or(0, |value| number(&value.value));
    let accounts: u64 =
        found.values.keys().filter(|key| **key != TOTAL).map(|key| balance(key.clone())).sum();
    assert_eq!(accounts, balance(TOTAL), "{}: half a transaction", context());
    for (id, stored) in &found.sessions {
        check_work(found, *id, stored, context);
        let booked = slots(stored).iter().find(|slot| slot.slot == BOOKINGS);
        if let Some(SlotRecord { sequence, call: CallRecord::Done(_, reply), .. }) = booked {
            let told = number(&reply.message);
            assert_eq!(
                (told, told),
                (balance(account(*id)), sequence.0),
                "{}: reply and effect of {id}",
                context()
            );
        }
    }
}

/// The slot of a call that works on an activity, and the record of that, are of the same time.
fn check_work(found: &State, id: SessionId, stored: &Stored, context: &dyn Fn() -> String) {
    let Some(slot) = slots(stored).iter().find(|slot| slot.slot == WORK) else { return };
    let call = CallId { slot: WORK, sequence: slot.sequence };
    let activity = found.activities.iter().find(|activity| activity.worker == Worker { session: id, call });
    match (&slot.call, activity) {
        (CallRecord::Working(..), Some(activity)) if activity.done.is_none() => {}
        (CallRecord::Streamed(_, kept, _), Some(activity)) if activity.done.as_ref() == Some(kept) => {}
        // It was forgotten.
        (CallRecord::Streamed(..), None) => {}
        (_, activity) => panic!("{}: {slot:?} of {id}, and {activity:?}", context()),
    }
}

fn slots(stored: &Stored) -> &[SlotRecord] {
    match stored {
        Stored::Live(_, _, slots) => slots,
        Stored::Ended(..) => &[],
    }
}

/// An edit without the bytes.
fn brief(edit: &snapshot::Edit) -> String {
    match edit {
        snapshot::Edit::Is(path, bytes) => format!("{} is {} bytes", path.display(), bytes.len()),
        other => format!("{other:?}"),
    }
}

/// A directory in memory where there is such a place: the crash is in the files, and not in what keeps them.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let name = format!("rpc-store-crash-{}-{:?}", std::process::id(), thread::current().id());
        Self(parent.join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
