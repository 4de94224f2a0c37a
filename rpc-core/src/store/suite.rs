//! What every store must pass. A store's own tests call [`run`] with a way to make an empty one.

mod activities;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::{Store, Stored, WriteError};
use crate::activity::{Key, Name, Worker};
use crate::config::Terms;
use crate::id::{CallId, Epoch, Fingerprint, Nonce, Sequence, SessionId, SlotId, TicketHash};
use crate::negotiate::{self, Offer};
use crate::principal::Principal;
use crate::record::{
    ActivityRecord, CallRecord, Change, End, Reply, SessionRecord, SlotRecord, TicketHashes, Tombstone, Write,
};
use crate::session::Kept;
use crate::stream::digest::Digest;
use crate::stream::position::{Position, Serial};
use crate::stream::secured::{Resumption, Secured};
use crate::transaction::{Transaction, Version, Versioned};

/// Runs all checks, each on a new store.
///
/// # Panics
///
/// A store that breaks the contract fails the check that says so.
pub fn run<S: Store>(make: impl Fn() -> S) {
    numbers_are_never_given_twice(&make());
    numbers_are_unique_under_contention(make());
    what_was_committed_is_loaded(&make());
    a_number_is_created_once(&make());
    a_write_of_another_epoch_is_fenced(&make());
    an_ended_session_stays_ended(&make());
    a_forgotten_session_is_gone(&make());
    one_refused_write_leaves_the_others(&make());
    writes_of_a_batch_are_made_in_order(&make());
    scan_pages_through_all_sessions(&make());
    slots_are_kept_with_their_session(&make());
    an_ended_session_remembers_no_calls(&make());
    a_claim_fences_the_epoch_before_it(&make());
    a_transaction_commits_with_its_reply(&make());
    a_transaction_that_read_what_has_changed_is_refused(&make());
    transactions_of_one_batch_see_each_other(&make());
    a_fenced_transaction_has_no_effect(&make());
    activities::an_activity_is_kept_with_the_slot_of_its_call(&make());
    activities::an_activity_outlives_its_session_and_is_forgotten_once(&make());
    activities::scan_pages_through_all_activities(&make());
}

/// A record to store, different for each `n`.
pub fn record(n: u8) -> Arc<SessionRecord> {
    let agreement = negotiate::answer(&Offer::default(), &Terms::default(), &[]);
    Arc::new(SessionRecord {
        principal: Principal::new("https://issuer.example", format!("subject-{n}")),
        nonce: Nonce([n; Nonce::BYTES]),
        agreement: Arc::new(negotiate::Agreement {
            lease: Duration::from_secs(u64::from(n) + 1),
            ..agreement.expect("the default offer is accepted under the default terms")
        }),
        tickets: TicketHashes {
            current: TicketHash([n; 32]),
            pending: (n % 2 == 1).then(|| Box::new(TicketHash([!n; 32]))),
        },
        authority_unix_s: n.is_multiple_of(3).then_some(1_800_000_000 + u64::from(n)),
        scopes: Arc::from([Box::from("ledger.read")]),
    })
}

fn tombstone(n: u8) -> Box<Tombstone> {
    let record = record(n);
    Box::new(Tombstone {
        principal: record.principal.clone(),
        nonce: record.nonce,
        end: End::Released,
        receipt: None,
    })
}

fn id(number: u64) -> SessionId {
    SessionId::new(number).expect("the suite counts from 1")
}

fn write(number: u64, epoch: u64, change: Change) -> Write {
    Write { session: id(number), epoch: Epoch(epoch), change }
}

#[track_caller]
fn commit(store: &impl Store, batch: &[Write]) -> Vec<Result<(), WriteError>> {
    let answers = store.commit(batch).expect("the store works");
    assert_eq!(answers.len(), batch.len(), "each write has its answer");
    answers
}

#[track_caller]
fn commit_one(store: &impl Store, number: u64, epoch: u64, change: Change) -> Result<(), WriteError> {
    commit(store, &[write(number, epoch, change)]).remove(0)
}

fn slot(slot: u32, sequence: u64, call: CallRecord) -> SlotRecord {
    SlotRecord { slot: SlotId(slot), sequence: Sequence(sequence), call }
}

/// A reply to store, different for each `n`.
pub fn reply(n: u8) -> Reply {
    let part = |times: usize| Bytes::from(vec![n; times]);
    Reply {
        code: n % 17,
        head: part(usize::from(n) % 3),
        message: part(9),
        trailer: part(usize::from(n) % 2),
    }
}

/// Where a stream goes on: one direction with everything that a point can have, one with nothing of it.
pub fn resumption() -> Resumption {
    let secured = |digest, state: &'static [u8]| Secured {
        serial: Serial(7),
        position: Position { messages: 40, bytes: 1 << 40 },
        digest,
        sender_state: Bytes::from_static(state),
        receiver_state: Bytes::from(state.repeat(3)),
    };
    Resumption {
        requests: Some(secured(Digest { crc: 5, blake3: Some([9; 32]) }, b"state")),
        responses: Some(secured(Digest { crc: u32::MAX, blake3: None }, b"")),
    }
}

/// Every kind of record that a slot can have.
pub fn call_records() -> [CallRecord; 11] {
    [
        CallRecord::Working(Fingerprint(4), key(1, "dump").name),
        CallRecord::Streamed(Fingerprint(3), Kept::Whole(reply(5)), Box::new(resumption())),
        CallRecord::Streamed(Fingerprint(3), Kept::StatusOnly(reply(0)), Box::default()),
        CallRecord::Streaming(Fingerprint(9), Box::default()),
        CallRecord::Streaming(Fingerprint(9), Box::new(resumption())),
        CallRecord::Begun(Fingerprint(7)),
        CallRecord::Done(Fingerprint(u128::MAX), reply(4)),
        CallRecord::ReplyDropped(Fingerprint(8), reply(1)),
        CallRecord::Unknown(Some(Fingerprint(0))),
        CallRecord::Unknown(None),
        CallRecord::Settled,
    ]
}

/// The activity of that name of the principal of [`record`]`(n)`.
///
/// # Panics
///
/// The name is empty, or too long.
pub fn key(n: u8, name: &str) -> Key {
    let name = Name::new(Bytes::copy_from_slice(name.as_bytes())).expect("1 to 128 bytes");
    Key { principal: record(n).principal.clone(), name }
}

/// An activity to store, different for each `n` and session.
pub fn activity(key: &Key, session: SessionId, n: u8) -> ActivityRecord {
    let call = CallId { slot: SlotId(u32::from(n) % 3), sequence: Sequence(u64::from(n) + 1) };
    ActivityRecord {
        key: key.clone(),
        method: "/archive.v1.Archive/Upload".into(),
        worker: Worker { session, call },
        at: if n.is_multiple_of(3) { Resumption::default() } else { resumption() },
        done: match n % 4 {
            0 => Some(Kept::Whole(reply(n))),
            1 => Some(Kept::StatusOnly(reply(n))),
            _ => None,
        },
    }
}

fn transaction(
    reads: &[(&'static str, Version)],
    writes: &[(&'static str, Option<&'static str>)],
) -> Transaction {
    let mut transaction = Transaction::new();
    for (key, version) in reads {
        transaction.read(Bytes::from_static(key.as_bytes()), *version).expect("within the bounds");
    }
    for (key, value) in writes {
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        transaction.write(Bytes::from_static(key.as_bytes()), value).expect("within the bounds");
    }
    transaction
}

fn done(sequence: u64, transaction: Transaction) -> Change {
    let slot = slot(0, sequence, CallRecord::Done(Fingerprint(1), reply(2)));
    Change::Commit(Box::new(slot), Box::new(transaction))
}

#[track_caller]
fn get(store: &impl Store, key: &str) -> Option<Versioned> {
    store.get(key.as_bytes()).expect("the store works")
}

#[track_caller]
fn slots(store: &impl Store, number: u64) -> Vec<SlotRecord> {
    match load(store, number) {
        Some(Stored::Live(_, _, slots)) => slots,
        other => panic!("a live session was expected, not {other:?}"),
    }
}

#[track_caller]
fn load(store: &impl Store, number: u64) -> Option<Stored> {
    store.load(id(number)).expect("the store works")
}

//= test I8
//= test O-5
fn numbers_are_never_given_twice(store: &impl Store) {
    let mut seen = BTreeSet::new();
    for count in [1, 7, 1_000, 1] {
        let range = store.reserve_numbers(NonZeroU32::new(count).expect("not 0")).expect("the store works");
        assert_eq!(range.end - range.start, u64::from(count));
        assert!(range.start > 0, "0 is no number");
        assert!(range.clone().all(|number| seen.insert(number)), "{range:?} was given before");
    }
}

#[expect(clippy::disallowed_methods, reason = "the suite runs in tests, where threads are what it is about")]
fn numbers_are_unique_under_contention(store: impl Store) {
    let store = Arc::new(store);
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            thread::spawn(move || -> Vec<u64> {
                (0..100)
                    .flat_map(|_| store.reserve_numbers(NonZeroU32::new(3).expect("not 0")).expect("works"))
                    .collect()
            })
        })
        .collect();
    let all: Vec<u64> = takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1_200);
}

fn what_was_committed_is_loaded(store: &impl Store) {
    assert_eq!(load(store, 1), None);
    for n in 0..6 {
        assert_eq!(commit_one(store, u64::from(n) + 1, 1, Change::Create(record(n))), Ok(()));
        assert_eq!(load(store, u64::from(n) + 1), Some(Stored::Live(Epoch(1), record(n), Vec::new())));
    }
    assert_eq!(commit_one(store, 1, 1, Change::Update(record(9))), Ok(()));
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(9), Vec::new())));
    assert_eq!(load(store, 2), Some(Stored::Live(Epoch(1), record(1), Vec::new())));
}

fn a_number_is_created_once(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(2))), Err(WriteError::Exists));
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(1), Vec::new())));
}

//= test C-53
fn a_write_of_another_epoch_is_fenced(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 5, Change::Create(record(1))), Ok(()));
    for epoch in [4, 6] {
        for change in [Change::Update(record(2)), Change::End(tombstone(1)), Change::Forget] {
            let answer = commit_one(store, 1, epoch, change);
            assert_eq!(answer, Err(WriteError::Fenced { stored: Epoch(5) }));
        }
    }
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(5), record(1), Vec::new())));
}

fn an_ended_session_stays_ended(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::End(tombstone(1))), Err(WriteError::Missing));
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::End(tombstone(1))), Ok(()));
    assert_eq!(load(store, 1), Some(Stored::Ended(Epoch(1), tombstone(1))));
    assert_eq!(commit_one(store, 1, 1, Change::Update(record(1))), Err(WriteError::Missing));
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Err(WriteError::Exists));
    assert_eq!(load(store, 1), Some(Stored::Ended(Epoch(1), tombstone(1))));
}

fn a_forgotten_session_is_gone(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::Forget), Err(WriteError::Missing));
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::End(tombstone(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::Forget), Ok(()));
    assert_eq!(load(store, 1), None);
}

fn one_refused_write_leaves_the_others(store: &impl Store) {
    let answers = commit(
        store,
        &[
            write(1, 1, Change::Create(record(1))),
            write(2, 1, Change::Update(record(2))),
            write(3, 1, Change::Create(record(3))),
        ],
    );
    assert_eq!(answers, [Ok(()), Err(WriteError::Missing), Ok(())]);
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(1), Vec::new())));
    assert_eq!(load(store, 2), None);
    assert_eq!(load(store, 3), Some(Stored::Live(Epoch(1), record(3), Vec::new())));
}

fn writes_of_a_batch_are_made_in_order(store: &impl Store) {
    let batch = [
        write(1, 1, Change::Create(record(1))),
        write(1, 1, Change::Update(record(2))),
        write(1, 1, Change::Update(record(3))),
    ];
    assert_eq!(commit(store, &batch), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(3), Vec::new())));
}

fn scan_pages_through_all_sessions(store: &impl Store) {
    assert_eq!(store.scan(None, 10), Ok(Vec::new()));
    for number in [5, 1, 9, 3, 7] {
        assert_eq!(commit_one(store, number, 1, Change::Create(record(1))), Ok(()));
    }
    assert_eq!(commit_one(store, 5, 1, Change::End(tombstone(1))), Ok(()));
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = store.scan(after, 2).expect("the store works");
        let Some((last, _)) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(*last);
        found.extend(page.into_iter().map(|(id, _)| id.value()));
    }
    assert_eq!(found, [1, 3, 5, 7, 9]);
}

fn slots_are_kept_with_their_session(store: &impl Store) {
    for number in [1, 2] {
        assert_eq!(commit_one(store, number, 1, Change::Create(record(1))), Ok(()));
    }
    let missing = commit_one(store, 3, 1, Change::Slot(Box::new(slot(0, 1, CallRecord::Settled))));
    assert_eq!(missing, Err(WriteError::Missing));
    let kept: Vec<_> = call_records()
        .into_iter()
        .zip([0, 1, 3, 4, 5, 6, 7, 8, 200, 254, 255])
        .map(|(call, at)| slot(at, 5, call))
        .collect();
    for slot in kept.iter().rev() {
        assert_eq!(commit_one(store, 1, 1, Change::Slot(Box::new(slot.clone()))), Ok(()));
    }
    assert_eq!(slots(store, 1), kept);
    assert_eq!(slots(store, 2), []);
    let later = slot(3, 6, CallRecord::Begun(Fingerprint(9)));
    assert_eq!(commit_one(store, 1, 1, Change::Slot(Box::new(later.clone()))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::Update(record(2))), Ok(()), "an update leaves the slots");
    assert_eq!(slots(store, 1)[2], later);
    let found = store.scan(None, 10).expect("the store works");
    assert_eq!(found.len(), 2, "slots are no sessions: {found:?}");
    assert_eq!(Some(&found[0].1), load(store, 1).as_ref());
}

fn an_ended_session_remembers_no_calls(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    let slot = Change::Slot(Box::new(slot(4, 1, CallRecord::Settled)));
    assert_eq!(commit_one(store, 1, 1, slot.clone()), Ok(()));
    let batch = [write(1, 1, Change::End(tombstone(1))), write(1, 1, slot)];
    assert_eq!(commit(store, &batch), [Ok(()), Err(WriteError::Missing)]);
    assert_eq!(load(store, 1), Some(Stored::Ended(Epoch(1), tombstone(1))));
    assert_eq!(commit_one(store, 1, 1, Change::Forget), Ok(()));
    assert_eq!(load(store, 1), None);
    assert!(store.scan(None, 10).expect("the store works").is_empty(), "nothing is left of it");
}

//= test C-53
fn a_claim_fences_the_epoch_before_it(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::Claim(Epoch(2))), Err(WriteError::Missing));
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    let begun = Change::Slot(Box::new(slot(0, 1, CallRecord::Begun(Fingerprint(1)))));
    assert_eq!(commit_one(store, 1, 1, begun.clone()), Ok(()));
    let batch =
        [write(1, 1, Change::Claim(Epoch(2))), write(1, 1, begun), write(1, 2, Change::Update(record(2)))];
    let fenced = Err(WriteError::Fenced { stored: Epoch(2) });
    assert_eq!(commit(store, &batch), [Ok(()), fenced.clone(), Ok(())]);
    assert_eq!(commit_one(store, 1, 1, Change::Claim(Epoch(3))), fenced);
    // Otherwise the server that was fenced could have the session back.
    for epoch in [1, 2] {
        assert_eq!(commit_one(store, 1, 2, Change::Claim(Epoch(epoch))), fenced, "a claim of epoch {epoch}");
    }
    let kept = vec![slot(0, 1, CallRecord::Begun(Fingerprint(1)))];
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(2), record(2), kept)), "a claim keeps what there is");
    assert_eq!(commit_one(store, 1, 2, Change::Claim(Epoch(9))), Ok(()), "there may be gaps");
}

fn a_transaction_commits_with_its_reply(store: &impl Store) {
    assert_eq!(get(store, "alice"), None);
    let book = transaction(&[("alice", Version::NONE)], &[("alice", Some("10")), ("bob", Some("0"))]);
    assert_eq!(commit_one(store, 1, 1, done(1, book.clone())), Err(WriteError::Missing));
    assert_eq!(get(store, "alice"), None, "without its session it has no effect");
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, done(1, book)), Ok(()));
    let alice = get(store, "alice").expect("it was written");
    assert_eq!(alice.value, "10");
    assert!(alice.version > Version::NONE);
    assert_eq!(slots(store, 1), [slot(0, 1, CallRecord::Done(Fingerprint(1), reply(2)))]);
    let remove = transaction(&[("alice", alice.version)], &[("alice", None), ("never", None)]);
    assert_eq!(commit_one(store, 1, 1, done(2, remove)), Ok(()));
    assert_eq!(get(store, "alice"), None);
    assert_eq!(get(store, "bob").expect("it was left").value, "0");
    assert_eq!(commit_one(store, 1, 1, Change::End(tombstone(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::Forget), Ok(()));
    assert_eq!(get(store, "bob").expect("values outlive sessions").value, "0");
}

fn a_transaction_that_read_what_has_changed_is_refused(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, done(1, transaction(&[], &[("k", Some("1"))]))), Ok(()));
    let first = get(store, "k").expect("it was written").version;
    assert_eq!(commit_one(store, 1, 1, done(2, transaction(&[("k", first)], &[("k", Some("2"))]))), Ok(()));
    let second = get(store, "k").expect("it was written").version;
    assert!(second > first);
    for stale in [Version::NONE, first] {
        let late = transaction(&[("k", stale)], &[("k", Some("3")), ("other", Some("x"))]);
        assert_eq!(commit_one(store, 1, 1, done(3, late)), Err(WriteError::Conflict));
    }
    assert_eq!(get(store, "k").expect("it is left").value, "2");
    assert_eq!(get(store, "other"), None);
    assert_eq!(slots(store, 1)[0].sequence, Sequence(2), "a refused reply is not recorded");
    // Removed and written again is not what it was.
    assert_eq!(commit_one(store, 1, 1, done(3, transaction(&[], &[("k", None)]))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, done(4, transaction(&[], &[("k", Some("2"))]))), Ok(()));
    let again = transaction(&[("k", second)], &[]);
    assert_eq!(commit_one(store, 1, 1, done(5, again)), Err(WriteError::Conflict));
}

fn transactions_of_one_batch_see_each_other(store: &impl Store) {
    for number in [1, 2] {
        assert_eq!(commit_one(store, number, 1, Change::Create(record(1))), Ok(()));
    }
    let absent = transaction(&[("k", Version::NONE)], &[("k", Some("first"))]);
    let batch = [write(1, 1, done(1, absent.clone())), write(2, 1, done(1, absent))];
    assert_eq!(commit(store, &batch), [Ok(()), Err(WriteError::Conflict)]);
    assert_eq!(get(store, "k").expect("it was written").value, "first");
    assert_eq!(slots(store, 2), []);
}

//= test I7
fn a_fenced_transaction_has_no_effect(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 5, Change::Create(record(1))), Ok(()));
    let answer = commit_one(store, 1, 4, done(1, transaction(&[], &[("k", Some("1"))])));
    assert_eq!(answer, Err(WriteError::Fenced { stored: Epoch(5) }));
    assert_eq!(get(store, "k"), None);
    assert_eq!(slots(store, 1), []);
}
