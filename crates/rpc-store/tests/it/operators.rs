//! What operators do with stores: who may open them, checks, backups.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rpc_core::id::{Epoch, SessionId};
use rpc_core::record::{Change, Write};
use rpc_core::store::{Store, suite};
use rpc_store::{BackupError, EmbeddedStore, OpenError, check};

use crate::support::Scratch;

fn create(number: u64) -> Write {
    let session = SessionId::new(number).expect("tests count from 1");
    Write { session, epoch: Epoch(1), change: Change::Create(suite::record(1)) }
}

#[test]
fn one_has_the_directory_at_a_time() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).expect("a new store");
    let error = EmbeddedStore::open(scratch.path()).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }));
    assert_eq!(error.to_string(), format!("the store {} is in use", scratch.path().display()));
    assert!(matches!(check(scratch.path()), Err(OpenError::InUse { .. })));
    drop(store);
    EmbeddedStore::open(scratch.path()).expect("it was given back");
}

#[test]
fn what_is_no_store_is_left_alone() {
    let scratch = Scratch::new();
    assert!(matches!(check(scratch.path()), Err(OpenError::NotAStore { .. })));
    assert!(!scratch.path().exists(), "a check makes nothing");
    fs::create_dir(scratch.path()).expect("created");
    fs::write(scratch.path().join("letter.txt"), "dear").expect("written");
    assert!(matches!(EmbeddedStore::open(scratch.path()), Err(OpenError::NotAStore { .. })));
    assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 1, "nothing was added");
}

#[test]
fn a_store_half_made_is_made_again() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path().join("store.new/records")).expect("created");
    fs::write(scratch.path().join("store.new/records/0.jnl"), "cut off").expect("written");
    let store = EmbeddedStore::open(scratch.path()).expect("nobody was told of what was there");
    assert_eq!(store.reserve_numbers(1.try_into().expect("not 0")), Ok(1..2));
    assert!(!scratch.path().join("store.new").exists());
}

#[test]
fn an_empty_directory_becomes_a_store() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path()).expect("created");
    let id = EmbeddedStore::open(scratch.path()).expect("a new store").id();
    assert_eq!(EmbeddedStore::open(scratch.path()).expect("the same").id(), id);
    assert_eq!(id.to_string().len(), 32);
}

#[test]
fn check_counts_what_is_there() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).expect("a new store");
    store.commit(&[create(1), create(2)]).expect("the store works");
    let id = store.id();
    drop(store);
    let report = check(scratch.path()).expect("a sound store");
    assert!(report.is_sound());
    assert_eq!(
        (report.id, report.contents.sessions_live, report.contents.sessions_ended, report.commits),
        (id, 2, 0, 2)
    );
    assert!(report.bytes_on_disk > 0);
}

/// A thread creates sessions in pairs while the backups are made: each has both of a pair or none, and no gap before.
#[test]
fn a_backup_is_of_one_instant_while_the_store_goes_on() {
    let scratch = Scratch::new();
    let store = Arc::new(EmbeddedStore::open(scratch.path()).expect("a new store"));
    let numbers = store.reserve_numbers(5.try_into().expect("not 0")).expect("the store works");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        move || {
            let mut pairs = 0;
            while !stop.load(Ordering::Relaxed) {
                pairs += 1;
                store.commit(&[create(2 * pairs - 1), create(2 * pairs)]).expect("the store works");
            }
            pairs
        }
    });
    let mut last = 0;
    while last < 400 {
        let target = Scratch::new();
        let report = store.backup(target.path()).expect("a backup");
        assert_ne!(report.id, store.id());
        let copy = EmbeddedStore::open(target.path()).expect("a backup is a store");
        let sessions = copy.scan(None, usize::MAX).expect("works");
        assert_eq!(sessions.len() as u64, report.contents.sessions_live);
        assert_eq!(sessions.len() % 2, 0, "half a batch");
        assert!(sessions.iter().zip(1..).all(|((session, _), number)| session.value() == number), "a gap");
        let next = copy.reserve_numbers(1.try_into().expect("not 0")).expect("works");
        assert!(next.start > numbers.end + 1_000_000_000, "numbers the original may have given meanwhile");
        last = sessions.len();
    }
    stop.store(true, Ordering::Relaxed);
    let pairs = writer.join().expect("no panic");
    assert_eq!(store.statistics().expect("works").contents.sessions_live, 2 * pairs);
}

#[test]
fn a_backup_overwrites_nothing() {
    let (scratch, target) = (Scratch::new(), Scratch::new());
    let store = EmbeddedStore::open(scratch.path()).expect("a new store");
    store.backup(target.path()).expect("a backup of an empty store");
    assert!(matches!(store.backup(target.path()), Err(BackupError::NotEmpty(_))));
    assert!(matches!(store.backup(scratch.path()), Err(BackupError::NotEmpty(_))));
}
