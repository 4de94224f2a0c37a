mod calls;

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::id::{Epoch, Fingerprint, Sequence, SlotId};
use rpc_core::record::{CallRecord, Change, End, Reply, SlotRecord, Tombstone};
use rpc_core::store::suite;
use rpc_core::transaction::{Transaction, Version};

use super::*;
use crate::check;
use crate::encode::{HEADER_KEY, encode_slot, encode_value, session_key, slot_key};
use crate::engine::EngineError;
use crate::support::{Scratch, files, flip_bits};

/// What a medium does once, at the write with this number, counted from 0.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nothing reaches the medium.
    Before,
    /// All of it does, and the sync is said to have failed.
    After,
}

struct Failing {
    engine: Engine,
    writes_until: Cell<u32>,
    fault: Fault,
}

impl Medium for Failing {
    fn write(&mut self, changes: Changes) -> Result<(), EngineError> {
        let left = self.writes_until.replace(self.writes_until.get().wrapping_sub(1));
        match (left, self.fault) {
            (0, Fault::Before) => Err(EngineError::Failed("no space left".into())),
            (0, Fault::After) => {
                self.engine.write(changes)?;
                Err(EngineError::Failed("the sync failed".into()))
            }
            _ => self.engine.write(changes),
        }
    }
}

fn open_failing(path: &Path, writes_until: u32, fault: Fault) -> EmbeddedStore {
    let store = EmbeddedStore::open(path).unwrap();
    let engine = store.engine.clone();
    store.replace_medium(Box::new(Failing { engine, writes_until: Cell::new(writes_until), fault }));
    store
}

fn id(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn create(number: u64) -> Write {
    Write { session: id(number), epoch: Epoch(1), change: Change::Create(suite::record(1)) }
}

fn write(number: u64, change: Change) -> Write {
    Write { session: id(number), epoch: Epoch(1), change }
}

fn slot(slot: u32, sequence: u64, call: CallRecord) -> SlotRecord {
    SlotRecord { slot: SlotId(slot), sequence: Sequence(sequence), call }
}

fn slot_write(number: u64, record: SlotRecord) -> Write {
    write(number, Change::Slot(Box::new(record)))
}

/// A reply with a message of so many bytes.
fn reply(bytes: usize) -> CallRecord {
    let message = Bytes::from(vec![7; bytes]);
    CallRecord::Done(Fingerprint(1), Reply { code: 0, head: Bytes::new(), message, trailer: Bytes::new() })
}

fn booking(writes: &[(&'static str, Option<usize>)]) -> Box<Transaction> {
    let mut transaction = Transaction::new();
    for (key, bytes) in writes {
        let value = bytes.map(|bytes| Bytes::from(vec![9; bytes]));
        transaction.write(Bytes::from_static(key.as_bytes()), value).unwrap();
    }
    Box::new(transaction)
}

fn tombstone() -> Box<Tombstone> {
    let record = suite::record(1);
    Box::new(Tombstone {
        principal: record.principal.clone(),
        nonce: record.nonce,
        end: End::Expired,
        receipt: None,
    })
}

#[test]
fn after_a_failed_write_the_store_stays_closed_until_it_is_opened_again() {
    for fault in [Fault::Before, Fault::After] {
        let scratch = Scratch::new();
        let store = open_failing(scratch.path(), 1, fault);
        assert_eq!(store.commit(&[create(1)]), Ok(vec![Ok(())]));
        assert!(matches!(store.commit(&[create(2)]), Err(StoreError::Failed(_))));

        for _ in 0..2 {
            assert!(matches!(store.commit(&[create(3)]), Err(StoreError::Closed(_))));
            assert!(matches!(store.reserve_numbers(NonZeroU32::MIN), Err(StoreError::Closed(_))));
        }
        assert!(matches!(store.load(id(1)), Ok(Some(Stored::Live(..)))), "reads go on");
        assert_eq!(store.scan(None, 1).unwrap().len(), 1);
        assert!(store.statistics().unwrap().closed.is_some());
        drop(store);

        let store = EmbeddedStore::open(scratch.path()).unwrap();
        assert!(store.load(id(1)).unwrap().is_some());
        assert_eq!(store.load(id(2)).unwrap().is_some(), matches!(fault, Fault::After));
        assert_eq!(store.load(id(3)), Ok(None));
        assert_eq!(store.commit(&[create(3)]), Ok(vec![Ok(())]));
    }
}

#[test]
fn numbers_of_a_failed_reservation_are_not_handed_out() {
    let scratch = Scratch::new();
    let store = open_failing(scratch.path(), 0, Fault::Before);
    assert!(matches!(store.reserve_numbers(NonZeroU32::MIN), Err(StoreError::Failed(_))));
    assert_eq!(store.statistics().unwrap().numbers_given, 0);
}

#[test]
fn a_panic_in_a_commit_closes_the_store() {
    struct Panicking;
    impl Medium for Panicking {
        fn write(&mut self, _: Changes) -> Result<(), EngineError> {
            panic!("a medium of this test panics");
        }
    }
    let scratch = Scratch::new();
    let store = Arc::new(EmbeddedStore::open(scratch.path()).unwrap());
    store.replace_medium(Box::new(Panicking));
    let panicking = Arc::clone(&store);
    std::thread::spawn(move || panicking.commit(&[create(1)])).join().unwrap_err();
    assert!(matches!(store.commit(&[create(1)]), Err(StoreError::Closed(_))));
    assert_eq!(store.load(id(1)), Ok(None));
}

#[test]
fn a_damaged_record_closes_the_store_for_writing() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    assert_eq!(store.commit(&[create(1), create(2)]), Ok(vec![Ok(()), Ok(())]));
    let foreign = store.engine.get(&session_key(id(1))).unwrap().map(|value| value.to_vec());
    let mut engine = store.engine.clone();
    engine.write(vec![(session_key(id(2)).to_vec(), foreign)]).unwrap();

    assert!(matches!(store.load(id(2)), Err(StoreError::Damaged(_))));
    assert!(matches!(store.scan(None, 9), Err(StoreError::Damaged(_))));
    let copy = Scratch::new();
    assert!(matches!(store.backup(copy.path()), Err(crate::BackupError::Damaged(_))));
    let answer = store.commit(&[create(3), write(2, Change::Forget)]);
    assert!(matches!(answer, Err(StoreError::Damaged(text)) if text.contains("session 2")));
    assert!(matches!(store.commit(&[create(3)]), Err(StoreError::Closed(_))));
    assert_eq!(store.load(id(3)), Ok(None), "nothing of the batch was made");
}

#[test]
fn a_record_too_large_is_refused_alone() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let mut large = suite::record(1);
    Arc::make_mut(&mut large).scopes = std::iter::repeat_n(Box::from("x"), 70_000).collect();
    let answers = store.commit(&[create(1), write(2, Change::Create(large)), create(3)]).unwrap();
    assert!(matches!(answers[..], [Ok(()), Err(WriteError::Store(StoreError::Failed(_))), Ok(())]));
    assert_eq!(store.scan(None, 9).unwrap().len(), 2);
}

#[test]
fn statistics_count_what_was_done() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    store.reserve_numbers(NonZeroU32::new(10).unwrap()).unwrap();
    let batch = [create(1), create(2), create(3), write(2, Change::End(tombstone())), create(3)];
    store.commit(&batch).unwrap();
    store.commit(&[write(9, Change::Forget)]).unwrap();
    store.commit(&[write(4, Change::Create(suite::record(1))), write(4, Change::Forget)]).unwrap();

    let statistics = store.statistics().unwrap();
    assert_eq!((statistics.contents.sessions_live, statistics.contents.sessions_ended), (2, 1));
    assert_eq!(statistics.numbers_given, 10);
    assert_eq!(statistics.commits, 4, "the making of the store, the numbers, and two batches");
    assert_eq!(statistics.since_open.syncs, 3, "a batch that changes nothing needs no sync");
    assert_eq!(statistics.since_open.writes, 6);
    assert_eq!(statistics.since_open.writes_refused, 2);
    assert_eq!(statistics.since_open.batch_writes_max, 4);
    assert_eq!(statistics.since_open.batch_classes[..4], [0, 1, 1, 0]);
    assert!(statistics.bytes_on_disk > 0);
    drop(store);

    let statistics = EmbeddedStore::open(scratch.path()).unwrap().statistics().unwrap();
    assert_eq!((statistics.contents.sessions_live, statistics.contents.sessions_ended), (2, 1));
    assert_eq!(statistics.commits, 4);
}

#[test]
fn numbers_run_out_with_an_error() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    store.lock().unwrap().numbers_given = u64::MAX - 2;
    assert_eq!(store.reserve_numbers(NonZeroU32::new(2).unwrap()), Err(StoreError::NumbersExhausted));
    assert_eq!(store.reserve_numbers(NonZeroU32::MIN), Ok(u64::MAX - 1..u64::MAX));
    assert_eq!(store.reserve_numbers(NonZeroU32::MIN), Err(StoreError::NumbersExhausted));
}

/// 300 sessions in tables, some of them changed in the journal.
fn tables(path: &Path) -> Vec<(SessionId, Stored)> {
    let store = EmbeddedStore::open(path).unwrap();
    for number in 1..=300 {
        store.commit(&[create(number)]).unwrap();
        if number % 100 == 0 {
            store.engine.flush();
        }
    }
    let book = Change::Commit(Box::new(slot(0, 1, reply(500))), booking(&[("k", Some(300))]));
    store
        .commit(&[write(1, Change::Forget), write(2, Change::Update(suite::record(7))), write(3, book)])
        .unwrap();
    store.scan(None, usize::MAX).unwrap()
}

/// With the engine alone each of these ended the process: it believes a count and asks for that much memory.
#[test]
fn a_flipped_bit_in_the_contents_of_a_list_or_table_is_damage() {
    let scratch = Scratch::new();
    drop(tables(scratch.path()));
    let mut refused = 0;
    for file in files(&scratch.path().join("store/records/keyspaces")) {
        let bytes = std::fs::read(&file).unwrap();
        let Some(contents) = bytes.windows(4).rposition(|window| window == b"TOC!") else { continue };
        // The highest byte of the count of its sections.
        let mut damaged = bytes.clone();
        damaged[contents + 7] ^= 0x40;
        std::fs::write(&file, &damaged).unwrap();
        match EmbeddedStore::open(scratch.path()) {
            Err(OpenError::Damaged(text)) if text.contains("is not what was written") => refused += 1,
            // Lists that were followed by others are there for a while, and nobody reads them.
            Ok(_) => {}
            Err(error) => panic!("{}: {error}", file.display()),
        }
        std::fs::write(&file, &bytes).unwrap();
    }
    assert!(refused >= 4, "two lists and their tables");
}

#[test]
fn flipped_bits_in_tables_are_refused_or_harmless() {
    let scratch = Scratch::new();
    let expected = tables(scratch.path());
    assert!(files(scratch.path()).iter().any(|file| file.to_string_lossy().contains("/tables/")));
    let refused = flip_bits(scratch.path(), 200, |path, place| match check(path) {
        Ok(report) if report.is_sound() => {
            let store = EmbeddedStore::open(path).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(store.scan(None, usize::MAX).unwrap() == expected, "{place}: a wrong record was scanned");
            for (session, stored) in &expected {
                assert!(store.load(*session).unwrap().as_ref() == Some(stored), "{place}: {session}");
            }
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
fn a_later_format_is_refused_by_name() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let key = HEADER_KEY;
    let mut header = store.engine.get(key).unwrap().unwrap().to_vec();
    header[0] = 9;
    store.lock().unwrap().commit(vec![(key.to_vec(), Some(header))], 0).unwrap();
    drop(store);
    let error = EmbeddedStore::open(scratch.path()).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 9, supported: 2 }), "{error}");
}

/// Makes a directory that a program with another format might have left: everything of it is in a journal.
fn store_of_version(path: &Path, version: u8) {
    let directory = Directory::lock_or_create(path).unwrap();
    let files = directory.begin().unwrap();
    let mut engine = Engine::create(&files.records()).unwrap();
    let value = |key| Some([&[version], &encode_counter(key, 1).unwrap()[1..]].concat());
    engine
        .write([HEADER_KEY, NUMBERS_KEY, COMMITS_KEY].map(|key| (key.to_vec(), value(key))).into())
        .unwrap();
    Witness::create(&files.acknowledged(), 1).unwrap();
    directory.finish(&files).unwrap();
}

/// The program that takes another format's journal for one that a crash has torn would cut it off.
#[test]
fn the_format_before_is_refused_by_name_and_left_alone() {
    let scratch = Scratch::new();
    store_of_version(scratch.path(), 1);
    let contents =
        || files(scratch.path()).iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>();
    let before = contents();
    for _ in 0..2 {
        let error = EmbeddedStore::open(scratch.path()).unwrap_err();
        assert!(matches!(error, OpenError::Version { found: 1, supported: 2 }), "{error}");
    }
    assert!(contents() == before, "it was touched");
}
