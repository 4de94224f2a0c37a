//! What is on the medium after a crash, or after damage: what was acknowledged is there, or opening says what is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rpc_core::id::{Epoch, SessionId};
use rpc_core::record::{Change, End, Tombstone, Write};
use rpc_core::store::{Store, Stored, suite};
use rpc_store::{EmbeddedStore, OpenError, check};

use crate::support::{Scratch, files, flip_bits, write_sparse};

type Content = BTreeMap<u64, Stored>;

fn id(number: u64) -> SessionId {
    SessionId::new(number).expect("tests count from 1")
}

fn write(number: u64, change: Change) -> Write {
    Write { session: id(number), epoch: Epoch(1), change }
}

fn create(number: u64, n: u8) -> Write {
    write(number, Change::Create(suite::record(n)))
}

fn tombstone() -> Box<Tombstone> {
    let record = suite::record(1);
    Box::new(Tombstone {
        principal: record.principal.clone(),
        nonce: record.nonce,
        end: End::Aborted,
        receipt: None,
    })
}

#[track_caller]
fn commit(store: &EmbeddedStore, batch: &[Write]) {
    let answers = store.commit(batch).expect("the store works");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

fn content(store: &EmbeddedStore) -> Content {
    let all = store.scan(None, usize::MAX).expect("the store works");
    all.into_iter().map(|(session, stored)| (session.value(), stored)).collect()
}

/// A store with three batches in its journal, and what it held after each.
fn three_batches(path: &Path) -> (EmbeddedStore, [Content; 3]) {
    let store = EmbeddedStore::open(path).expect("a new store");
    let batches = [
        vec![create(1, 1), create(2, 2)],
        vec![write(1, Change::Update(suite::record(7))), write(2, Change::End(tombstone())), create(3, 3)],
        vec![write(1, Change::Update(suite::record(8))), write(2, Change::Forget)],
    ];
    let contents = batches.map(|batch| {
        commit(&store, &batch);
        content(&store)
    });
    (store, contents)
}

/// The last journal of a store.
fn journal(path: &Path) -> PathBuf {
    let found = files(path).into_iter().rfind(|file| file.extension().is_some_and(|name| name == "jnl"));
    found.expect("a store has a journal")
}

/// How much of the journal is written.
fn written(path: &Path) -> usize {
    let bytes = fs::read(journal(path)).expect("readable");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn acknowledged(path: &Path) -> PathBuf {
    path.join("store/acknowledged")
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).expect("a new store");
    for round in 1..=12_u64 {
        let numbers = store.reserve_numbers(3.try_into().expect("not 0")).expect("the store works");
        commit(&store, &[create(round, round as u8), create(100 + round, 2)]);
        commit(&store, &[write(round, Change::Update(suite::record(round as u8 + 1)))]);

        let copy = Scratch::copy_of(scratch.path());
        let reopened = EmbeddedStore::open(copy.path()).expect("what a killed process leaves is a store");
        assert_eq!(content(&reopened), content(&store), "after round {round}");
        let next = reopened.reserve_numbers(1.try_into().expect("not 0")).expect("the store works");
        assert_eq!(next.start, numbers.end, "reserved numbers stay reserved");
    }
}

#[test]
fn a_commit_cut_off_anywhere_is_dropped_as_long_as_nobody_was_told() {
    let scratch = Scratch::new();
    let (store, [_, second, third]) = three_batches(scratch.path());
    let whole = Scratch::copy_of(scratch.path());
    let bytes = fs::read(journal(whole.path())).expect("readable");
    let end = written(whole.path());
    drop(store);
    let begin = end - last_batch_bytes(&bytes[..end]);

    for length in begin..=end {
        for keep_size in [true, false] {
            let copy = Scratch::copy_of(whole.path());
            let mut cut = bytes[..length].to_vec();
            if keep_size {
                cut.resize(bytes.len(), 0);
            }
            write_sparse(&journal(copy.path()), &cut);

            // Acknowledged: the witness says three. Opening must not take the cut for a crash, unless nothing is missing.
            match EmbeddedStore::open(copy.path()) {
                Ok(store) => {
                    assert_eq!(length, end, "a cut at {length} of {end} was taken");
                    assert_eq!(content(&store), third);
                }
                Err(OpenError::Damaged(_)) => assert!(length < end, "nothing is missing at {length}"),
                Err(error) => panic!("at {length}: {error}"),
            }

            // Not acknowledged: the process was killed between sync and answer.
            unacknowledge(copy.path());
            let store = EmbeddedStore::open(copy.path()).expect("a cut commit that nobody was told of");
            assert_eq!(content(&store), if length == end { third.clone() } else { second.clone() });
            commit(&store, &[create(9, 9)]);
        }
    }
}

/// The size of the last batch: from its start marker, which is 1, a count of 3 and the rest of the head, to the end.
fn last_batch_bytes(written: &[u8]) -> usize {
    let start = [1, 3, 0, 0, 0];
    let begin =
        written.windows(start.len()).rposition(|window| window == start).expect("a batch of three items");
    written.len() - begin
}

/// Takes the last acknowledgement back: the witness keeps the one before in its other slot.
fn unacknowledge(path: &Path) {
    let mut bytes = fs::read(acknowledged(path)).expect("readable");
    let count = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let later = if count(0) > count(4096) { 0 } else { 4096 };
    bytes[later] ^= 0xff;
    fs::write(acknowledged(path), bytes).expect("writable");
}

#[test]
fn damage_before_the_end_is_no_crash() {
    let scratch = Scratch::new();
    let (store, _) = three_batches(scratch.path());
    let whole = Scratch::copy_of(scratch.path());
    drop(store);
    let end = written(whole.path());
    let begin = end - last_batch_bytes(&fs::read(journal(whole.path())).expect("readable")[..end]);

    // Also when a power loss has taken the witness back to the beginning.
    let early = Scratch::new();
    drop(EmbeddedStore::open(early.path()).expect("a new store"));
    fs::copy(acknowledged(early.path()), acknowledged(whole.path())).expect("copied");

    for at in [begin / 3, begin / 2, begin - 20] {
        let copy = Scratch::copy_of(whole.path());
        let mut bytes = fs::read(journal(copy.path())).expect("readable");
        bytes[at] ^= 0x10;
        write_sparse(&journal(copy.path()), &bytes);
        let before = fs::read(journal(copy.path())).expect("readable");
        for _ in 0..2 {
            let error = EmbeddedStore::open(copy.path()).expect_err("damage");
            assert!(matches!(error, OpenError::Damaged(_)), "at {at}: {error}");
        }
        assert!(fs::read(journal(copy.path())).expect("readable") == before, "the evidence is left alone");
    }
}

/// The pages of a large batch reach the medium in any order: one in its middle is missing, its end is there. With a
/// record of some pages the engine finds every item and a checksum that does not fit; with small ones it finds no item.
#[test]
fn a_commit_with_a_hole_is_dropped_like_one_cut_off() {
    let mut large = suite::record(1);
    Arc::make_mut(&mut large).scopes =
        (0..1_000).map(|n| Box::from(format!("scope-of-some-length-{n}"))).collect();
    let small = (2..100).map(|number| create(number, 2)).collect();
    for batch in [vec![write(2, Change::Create(large))], small] {
        let scratch = Scratch::new();
        let store = EmbeddedStore::open(scratch.path()).expect("a new store");
        commit(&store, &[create(1, 1)]);
        let before = content(&store);
        let begin = written(scratch.path());
        commit(&store, &batch);
        let whole = Scratch::copy_of(scratch.path());
        drop(store);
        let bytes = fs::read(journal(whole.path())).expect("readable");
        let end = written(whole.path());
        unacknowledge(whole.path());

        for page in begin / 4096..=end / 4096 {
            let copy = Scratch::copy_of(whole.path());
            let mut holed = bytes.clone();
            holed[(page * 4096).max(begin)..((page + 1) * 4096).min(end)].fill(0);
            write_sparse(&journal(copy.path()), &holed);
            let store =
                EmbeddedStore::open(copy.path()).expect("a commit with a hole that nobody was told of");
            assert_eq!(content(&store), before, "page {page}");
            commit(&store, &[create(9, 9)]);
        }
    }
}

/// A store whose journal is rewritten by tests: its bytes, and where each of its batches ends.
struct Batches {
    whole: Scratch,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    expected: Content,
}

impl Batches {
    /// Five batches; the sessions 1 to 3 are changed for the last time in the last, the one before, and the one before that.
    /// The witness knows of the first batch only, as after a power loss.
    fn new() -> Self {
        let scratch = Scratch::new();
        let store = EmbeddedStore::open(scratch.path()).expect("a new store");
        let mut ends = vec![written(scratch.path())];
        let early = fs::read(acknowledged(scratch.path())).expect("readable");
        for n in 1..5 {
            let change = |number| match n {
                1 => create(number, n),
                _ => write(number, Change::Update(suite::record(n))),
            };
            commit(&store, &(1..=u64::from(5 - n).min(3)).map(change).collect::<Vec<_>>());
            ends.push(written(scratch.path()));
        }
        let expected = content(&store);
        let whole = Scratch::copy_of(scratch.path());
        fs::write(acknowledged(whole.path()), early).expect("writable");
        let bytes = fs::read(journal(whole.path())).expect("readable");
        Self { whole, bytes, ends, expected }
    }

    /// Opens the store with other journals, in their order.
    fn open(&self, journals: &[&[u8]]) -> Result<Content, OpenError> {
        let copy = Scratch::copy_of(self.whole.path());
        for (index, bytes) in journals.iter().enumerate() {
            write_sparse(&copy.path().join(format!("store/records/{index}.jnl")), bytes);
        }
        EmbeddedStore::open(copy.path()).map(|store| content(&store))
    }
}

/// The engine has no checksum over the head of a batch. With another sequence number an old record would be newer than
/// the one that followed it. The last batch is left out: with this witness its damage is that of a crash.
#[test]
fn every_flipped_bit_in_the_head_of_a_batch_is_refused_or_harmless() {
    let batches = Batches::new();
    for begin in batches.ends[..3].iter().copied().chain([0]) {
        for bit in 0..13 * 8 {
            let mut bytes = batches.bytes.clone();
            bytes[begin + bit / 8] ^= 1 << (bit % 8);
            match batches.open(&[&bytes]) {
                Ok(found) => {
                    assert!(found == batches.expected, "bit {bit} of the batch at {begin}: {found:?}");
                }
                Err(OpenError::Damaged(_)) => {}
                Err(error) => panic!("bit {bit} of the batch at {begin}: {error}"),
            }
        }
    }
}

#[test]
fn journals_have_no_gap_and_no_damaged_end_before_another() {
    let batches = Batches::new();
    let (bytes, ends) = (&batches.bytes, &batches.ends);
    let (first, rest) = bytes.split_at(ends[2]);
    let padded = [first, &[0; 999]].concat();
    for whole in [first, &padded] {
        assert_eq!(batches.open(&[whole, rest]).expect("two journals"), batches.expected);
    }

    let gap = [&bytes[..ends[1]], &bytes[ends[2]..]].concat();
    let swapped = [&bytes[..ends[1]], &bytes[ends[2]..ends[3]], &bytes[ends[1]..ends[2]]].concat();
    let torn = [first, &rest[..30]].concat();
    let cases: [(&str, &[&[u8]]); 5] = [
        ("a batch is missing", &[&gap]),
        ("a batch is missing between journals", &[&bytes[..ends[1]], rest]),
        ("two batches are swapped", &[&swapped]),
        ("a sealed journal is torn", &[&torn, rest]),
        ("a sealed journal is cut", &[&bytes[..ends[2] - 1], rest]),
    ];
    for (case, journals) in cases {
        assert!(matches!(batches.open(journals), Err(OpenError::Damaged(_))), "{case}");
    }
}

#[test]
fn flipped_bits_are_refused_or_harmless() {
    let scratch = Scratch::new();
    let (store, [.., expected]) = three_batches(scratch.path());
    let copy = Scratch::copy_of(scratch.path());
    drop(store);
    let refused = flip_bits(copy.path(), 200, |path, place| match check(path) {
        Ok(report) if report.is_sound() => {
            let store = EmbeddedStore::open(path).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(content(&store) == expected, "{place}: a wrong record was read");
            commit(&store, &[create(999, 9)]);
            false
        }
        Ok(_) | Err(_) => {
            assert!(EmbeddedStore::open(path).is_err(), "{place}: checked as damaged, and opened");
            true
        }
    });
    assert!(refused > 40, "{refused} of 200: the flips do not hit");
}

#[test]
fn a_missing_file_is_damage_and_no_new_store() {
    let scratch = Scratch::new();
    let (store, _) = three_batches(scratch.path());
    drop(store);
    for file in files(&scratch.path().join("store")) {
        let name = file.strip_prefix(scratch.path()).expect("below").to_owned();
        if name.ends_with("lock") {
            continue;
        }
        let copy = Scratch::copy_of(scratch.path());
        fs::remove_file(copy.path().join(&name)).expect("removed");
        let error = EmbeddedStore::open(copy.path()).expect_err(&format!("{} is missing", name.display()));
        assert!(EmbeddedStore::open(copy.path()).is_err(), "{} was missing: {error}", name.display());
    }
}
