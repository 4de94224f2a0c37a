//! Where a crash can come, and what it can leave.

use std::path::{Path, PathBuf};

use super::recording::{Recording, State, Step, What};
use super::snapshot::{Edit, SECTOR, Snapshot};
use super::workload::Random;

/// What opening must find.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// This, and nothing else.
    State(&'a State),
    /// This, or it refuses: the medium was damaged.
    StateOrDamage(&'a State),
    /// It refuses: something that was acknowledged is missing.
    Damage,
    /// A new store: nobody was told that there is one.
    New,
}

/// The files of a store after a crash.
pub(super) struct Point<'a> {
    pub(super) base: &'a Snapshot,
    pub(super) edits: Vec<Edit>,
    /// What was acknowledged before it.
    pub(super) acknowledged: &'a State,
    pub(super) expected: Expected<'a>,
}

/// Torn writes of a commit, dropped sectors of one, cuts and flipped bits after each step.
const TEARS: usize = 150;
const DROPS: usize = 40;
const CUTS: usize = 40;
const FLIPS: usize = 70;

/// Every point of a recording, in the same order each time.
pub(super) fn visit<'a>(recording: &'a Recording, visit: &mut impl FnMut(Point<'a>)) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    making(recording, visit);
    let mut witnesses = Vec::new();
    for step in &recording.steps {
        witnesses.push(step.before.clone());
        match &step.what {
            What::Commit(synced) => commit(step, synced, &witnesses, &mut random, visit),
            What::Flush | What::Recovery => steps(step, visit),
        }
        damage(step, &mut random, visit);
    }
}

/// A store is made beside its place and then moved there.
fn making<'a>(recording: &'a Recording, visit: &mut impl FnMut(Point<'a>)) {
    let (made, state) = (&recording.made, &recording.steps[0].state_before);
    let moved = Edit::Moved("store", "store.new");
    let mut point = |edits, expected| visit(Point { base: made, edits, acknowledged: state, expected });
    point(Vec::new(), Expected::State(state));
    point(vec![moved.clone()], Expected::New);
    for (path, bytes) in &made.files {
        if !path.starts_with("store") {
            continue;
        }
        point(vec![Edit::Gone(path.clone()), moved.clone()], Expected::New);
        for length in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
            point(vec![Edit::Cut(path.clone(), length), moved.clone()], Expected::New);
        }
    }
}

/// One batch goes to the end of the journal, in one write or several; then the sync, the witness, and the answer.
fn commit<'a>(
    step: &'a Step,
    synced: &'a Snapshot,
    witnesses: &[Snapshot],
    random: &mut Random,
    visit: &mut impl FnMut(Point<'a>),
) {
    let Step { before, after, state_before, state_after, .. } = step;
    let journal = last_journal(synced);
    let (begin, end) = (before.files[journal].len(), synced.files[journal].len());

    let mut unsynced = |edit, state| {
        let (edits, expected) = (vec![edit], Expected::State(state));
        visit(Point { base: synced, edits, acknowledged: state_before, expected });
    };
    // Stopped within or after any write, with and without preallocated zeros.
    for length in lengths(begin, end, TEARS) {
        let state = if length == end { state_after } else { state_before };
        unsynced(Edit::CutAndPadded(journal.clone(), length), state);
        unsynced(Edit::Cut(journal.clone(), length), state);
    }
    // All was written, and the sectors of it reached the medium in any order.
    let sectors = (end - 1) / SECTOR - begin / SECTOR + 1;
    for _ in 0..DROPS.min(1 << sectors.min(16)) {
        random.below(1);
        let holes = Edit::Holes(journal.clone(), begin, random.0 & ((1 << sectors.min(63)) - 1));
        let lost = synced.with(std::slice::from_ref(&holes)).files[journal] != synced.files[journal];
        unsynced(holes, if lost { state_before } else { state_after });
    }

    let acknowledged = witness(after);
    let mut durable = |base, edits, said| {
        visit(Point { base, edits, acknowledged: said, expected: Expected::State(state_after) });
    };
    durable(synced, Vec::new(), state_before);
    // Synced: from here on it is there. The witness is torn, or is of any earlier time, as after a power loss.
    let (old, new) = (&before.files[acknowledged], &after.files[acknowledged]);
    let changed = (0..new.len()).rfind(|at| old.get(*at) != new.get(*at)).map_or(0, |last| last + 1);
    for torn in changed.saturating_sub(12)..=changed {
        let mut bytes = new.to_vec();
        bytes[torn..changed].copy_from_slice(&old[torn..changed]);
        durable(after, vec![Edit::Is(acknowledged.clone(), bytes.into())], state_before);
    }
    for earlier in witnesses.iter().rev().step_by(witnesses.len() / 8 + 1) {
        let bytes = earlier.files[acknowledged].clone();
        durable(after, vec![Edit::Is(acknowledged.clone(), bytes)], state_after);
    }
    durable(after, Vec::new(), state_after);
}

/// Files come and go, each whole and durable before the next: `docs/storage.md` has the order.
fn steps<'a>(step: &'a Step, visit: &mut impl FnMut(Point<'a>)) {
    let Step { before, after, state_before, state_after, .. } = step;
    assert!(state_before == state_after, "no step but a commit changes anything");
    let mut edits = Vec::new();
    let mut point = |edits: &[Edit]| {
        let (edits, expected) = (edits.to_vec(), Expected::State(state_after));
        visit(Point { base: before, edits, acknowledged: state_before, expected });
    };
    for (path, bytes) in in_order(before, after) {
        if let Some(bytes) = bytes.filter(|_| !before.files.contains_key(path)) {
            for length in lengths(0, bytes.len(), TEARS) {
                let torn = bytes[..length].to_vec();
                edits.push(Edit::Is(path.clone(), torn.into()));
                point(&edits);
                edits.pop();
            }
        }
        edits.push(match bytes {
            Some(bytes) => Edit::Is(path.clone(), bytes.clone()),
            None => Edit::Gone(path.clone()),
        });
        point(&edits);
    }
}

type Content = std::sync::Arc<Vec<u8>>;

/// The files that a step has changed, in the order in which it did, with what they hold then; `None`: removed.
fn in_order<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Vec<(&'a PathBuf, Option<&'a Content>)> {
    let changed = after.files.iter().filter(|(path, bytes)| before.files.get(*path) != Some(bytes));
    let gone = before.files.keys().filter(|path| !after.files.contains_key(*path));
    let mut all: Vec<_> = changed.map(|(path, bytes)| (path, Some(bytes))).collect();
    all.extend(gone.map(|path| (path, None)));
    all.sort_by_key(|(path, bytes)| match (bytes, name(path)) {
        (None, name) => {
            if name.ends_with(".jnl") {
                6
            } else {
                5
            }
        }
        (Some(_), name) if name.ends_with(".jnl") => 0,
        (Some(_), "current") => 3,
        (Some(_), "acknowledged") => 4,
        (Some(_), _) if path.components().any(|part| part.as_os_str() == "tables") => 1,
        (Some(_), _) => 2,
    });
    all
}

/// What media do that have kept something and then do not have it as it was.
fn damage<'a>(step: &'a Step, random: &mut Random, visit: &mut impl FnMut(Point<'a>)) {
    let (after, state) = (&step.after, &step.state_after);
    let mut point = |edit, expected| {
        visit(Point { base: after, edits: vec![edit], acknowledged: state, expected });
    };
    let journal = last_journal(after);
    for _ in 0..CUTS {
        // The witness knows of every byte.
        let length = random.below(after.files[journal].len().max(1));
        let cut = match random.below(2) {
            0 => Edit::Cut(journal.clone(), length),
            _ => Edit::CutAndPadded(journal.clone(), length),
        };
        let is_empty = after.files[journal].is_empty();
        point(cut, if is_empty { Expected::State(state) } else { Expected::Damage });
    }
    let files: Vec<_> = after.files.iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    for (path, bytes) in &files {
        let cut = Edit::Cut((*path).clone(), random.below(bytes.len()));
        point(cut, Expected::StateOrDamage(state));
    }
    for _ in 0..FLIPS {
        let (path, bytes) = files[random.below(files.len())];
        point(Edit::Flip(path.clone(), random.below(bytes.len() * 8)), Expected::StateOrDamage(state));
    }
}

/// So many lengths from `begin` to `end`, both among them.
fn lengths(begin: usize, end: usize, count: usize) -> impl Iterator<Item = usize> {
    let step = (end - begin) / count + 1;
    (begin..end).step_by(step).chain([end])
}

fn last_journal(snapshot: &Snapshot) -> &PathBuf {
    snapshot.ending(".jnl").pop().unwrap()
}

fn witness(snapshot: &Snapshot) -> &PathBuf {
    snapshot.ending("acknowledged").pop().unwrap()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}
