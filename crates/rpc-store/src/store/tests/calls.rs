//! Slots and values: what they count, what damage to them does, and how large they may be.

use super::*;

#[test]
fn a_large_batch_becomes_several_commits_of_bounded_size() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let mut batch = vec![create(1)];
    for place in 0..20 {
        let transaction = booking(&[("a", Some(256 << 10)), ("b", Some(256 << 10)), ("c", Some(256 << 10))]);
        batch.push(write(1, Change::Commit(Box::new(slot(place, 1, reply(1 << 20))), transaction)));
    }
    // What was made in an earlier commit of the batch counts in a later one.
    batch.push(create(1));
    batch.push(slot_write(1, slot(0, 2, CallRecord::Settled)));
    let answers = store.commit(&batch).unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 22);
    assert_eq!(answers[21], Err(WriteError::Exists));
    let statistics = store.statistics().unwrap();
    assert_eq!(statistics.since_open.syncs, 5, "20 writes of 1.75 MiB, five at a time, and the rest");
    let Some(Stored::Live(_, _, slots)) = store.load(id(1)).unwrap() else { panic!("it was created") };
    assert_eq!(slots.len(), 20);
    assert_eq!((&slots[0].call, slots[0].sequence), (&CallRecord::Settled, Sequence(2)));
    assert_eq!(slots[19], slot(19, 1, reply(1 << 20)));
    assert_eq!(store.get(b"a").unwrap().unwrap().version, Version(statistics.commits - 1));
}

#[test]
fn a_reply_too_large_is_refused_alone_and_its_transaction_with_it() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let large = Box::new(slot(0, 1, reply(3 << 20)));
    let batch = [create(1), write(1, Change::Commit(large, booking(&[("k", Some(1))]))), create(2)];
    let answers = store.commit(&batch).unwrap();
    assert!(matches!(answers[..], [Ok(()), Err(WriteError::Store(StoreError::Failed(_))), Ok(())]));
    assert_eq!(store.get(b"k"), Ok(None));
}

/// Counted from change to change, and by reading everything: both must come to the same.
#[test]
fn contents_are_what_an_inventory_finds() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let commit = |place, size, writes| {
        write(1, Change::Commit(Box::new(slot(place, 1, reply(size))), booking(writes)))
    };
    let batches = [
        vec![
            create(1),
            create(2),
            create(3),
            slot_write(1, slot(1, 1, reply(10))),
            slot_write(2, slot(9, 1, reply(5))),
        ],
        vec![
            slot_write(1, slot(1, 2, reply(99))),
            commit(2, 0, &[("a", Some(1)), ("bc", Some(20)), ("none", None)]),
        ],
        vec![commit(2, 7, &[("a", None), ("bc", Some(3))]), commit(3, 7, &[("a", Some(4)), ("d", Some(8))])],
        vec![
            slot_write(2, slot(8, 1, reply(5))),
            write(2, Change::End(tombstone())),
            write(2, Change::Forget),
            create(2),
        ],
        vec![
            slot_write(2, slot(9, 1, reply(77))),
            write(3, Change::End(tombstone())),
            commit(3, 0, &[("d", None)]),
        ],
        vec![write(1, Change::Claim(Epoch(2)))],
    ];
    for batch in batches {
        let answers = store.commit(&batch).unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let copy = Scratch::copy_of(scratch.path());
        let found = check(copy.path()).unwrap();
        assert!(found.is_sound(), "{:?}", found.damage);
        assert_eq!(store.statistics().unwrap().contents, found.contents);
    }
    let contents = store.statistics().unwrap().contents;
    assert_eq!((contents.sessions_live, contents.sessions_ended), (2, 1));
    assert_eq!((contents.slots, contents.values), (4, 2));
    assert!(contents.slot_bytes > 77 && contents.value_bytes > 7 && contents.session_bytes > 300);
}

/// What no commit can have written, with a fitting checksum all the same.
#[test]
fn records_that_do_not_fit_together_are_damage() {
    let orphan = slot(3, 1, CallRecord::Settled);
    let cases: [(&str, Vec<u8>, Vec<u8>); 4] = [
        (
            "slot 3 of session 7 is there, and no such live session",
            slot_key(id(7), SlotId(3)).to_vec(),
            encode_slot(id(7), &orphan).unwrap(),
        ),
        (
            "slot 3 of session 2 is there, and no such live session",
            slot_key(id(2), SlotId(3)).to_vec(),
            encode_slot(id(2), &orphan).unwrap(),
        ),
        (
            "the value whose key has 5 bytes and the CRC-32C ",
            value_key(b"alice"),
            encode_value(b"alice", Version(99), b"10").unwrap(),
        ),
        ("the key \"\\x03\" is not one of ours", vec![3], Vec::new()),
    ];
    for (damage, key, value) in cases {
        let scratch = Scratch::new();
        let store = EmbeddedStore::open(scratch.path()).unwrap();
        store.commit(&[create(1), create(2), write(2, Change::End(tombstone()))]).unwrap();
        store.lock().unwrap().commit(vec![(key, Some(value))], 0).unwrap();
        drop(store);
        let report = check(scratch.path()).unwrap();
        assert_eq!(report.damaged, 1);
        assert!(report.damage[0].starts_with(damage), "{:?}", report.damage);
        assert!(matches!(EmbeddedStore::open(scratch.path()), Err(OpenError::Damaged(_))));
    }
}

#[test]
fn a_damaged_slot_or_value_is_not_read() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    let book = Change::Commit(Box::new(slot(0, 1, reply(3))), booking(&[("k", Some(3))]));
    store.commit(&[create(1), create(2), write(1, book)]).unwrap();
    let mut engine = store.engine.clone();
    for key in [slot_key(id(1), SlotId(0)).to_vec(), value_key(b"k")] {
        let mut value = store.engine.get(&key).unwrap().unwrap().to_vec();
        let last = value.len() - 5;
        value[last] ^= 1;
        engine.write(vec![(key, Some(value))]).unwrap();
    }
    assert!(
        matches!(store.load(id(1)), Err(StoreError::Damaged(text)) if text.contains("slot 0 of session 1"))
    );
    assert!(matches!(store.scan(None, 9), Err(StoreError::Damaged(_))));
    assert!(matches!(store.get(b"k"), Err(StoreError::Damaged(text)) if !text.contains("\"k\"")));
    assert!(matches!(store.load(id(2)), Ok(Some(_))), "the others are");
    let mut reads = Transaction::new();
    reads.read(Bytes::from_static(b"k"), Version(2)).unwrap();
    let change = Change::Commit(Box::new(slot(0, 2, reply(0))), Box::new(reads));
    assert!(matches!(store.commit(&[create(3), write(1, change)]), Err(StoreError::Damaged(_))));
    assert_eq!(store.load(id(3)), Ok(None), "nothing of the batch was made");
}

#[test]
fn what_cannot_be_a_key_has_no_value() {
    let scratch = Scratch::new();
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    for length in [0, 1_025, 100_000] {
        assert_eq!(store.get(&vec![0; length]), Ok(None));
    }
}

/// A transaction that was begun on the original must not find its version again in a store restored from a backup.
#[test]
fn versions_of_a_backup_go_on_where_the_original_is() {
    let (scratch, target) = (Scratch::new(), Scratch::new());
    let store = EmbeddedStore::open(scratch.path()).unwrap();
    store.commit(&[create(1)]).unwrap();
    for sequence in 1..9 {
        let book = Change::Commit(Box::new(slot(0, sequence, reply(3))), booking(&[("k", Some(3))]));
        store.commit(&[write(1, book)]).unwrap();
    }
    let last = store.get(b"k").unwrap().unwrap();
    let report = store.backup(target.path()).unwrap();
    assert_eq!(report.contents, store.statistics().unwrap().contents);
    let copy = EmbeddedStore::open(target.path()).unwrap();
    assert_eq!(copy.get(b"k").unwrap().unwrap(), last);
    assert_eq!(copy.load(id(1)), store.load(id(1)));
    let book = Change::Commit(Box::new(slot(0, 9, reply(3))), booking(&[("k", Some(3))]));
    copy.commit(&[write(1, book)]).unwrap();
    assert!(copy.get(b"k").unwrap().unwrap().version > last.version);
}
