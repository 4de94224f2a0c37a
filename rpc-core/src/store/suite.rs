//! What every store must pass. A store's own tests call [`run`] with a way to make an empty one.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Store, Stored, WriteError};
use crate::config::Terms;
use crate::id::{Epoch, Nonce, SessionId, TicketHash};
use crate::negotiate::{self, Offer};
use crate::principal::Principal;
use crate::record::{Change, End, SessionRecord, TicketHashes, Tombstone, Write};

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
}

/// A record to store, different for each `n`.
pub fn record(n: u8) -> Box<SessionRecord> {
    let agreement = negotiate::answer(&Offer::default(), &Terms::default(), &[]);
    Box::new(SessionRecord {
        principal: Principal::new("https://issuer.example", format!("subject-{n}")),
        nonce: Nonce([n; Nonce::BYTES]),
        agreement: negotiate::Agreement {
            lease: Duration::from_secs(u64::from(n) + 1),
            ..agreement.expect("the default offer is accepted under the default terms")
        },
        tickets: TicketHashes {
            current: TicketHash([n; 32]),
            pending: (n % 2 == 1).then_some(TicketHash([!n; 32])),
        },
        authority_unix_s: n.is_multiple_of(3).then_some(1_800_000_000 + u64::from(n)),
        scopes: Arc::from([Box::from("ledger.read")]),
    })
}

fn tombstone(n: u8) -> Box<Tombstone> {
    let record = record(n);
    Box::new(Tombstone { principal: record.principal, nonce: record.nonce, end: End::Released })
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
        assert_eq!(load(store, u64::from(n) + 1), Some(Stored::Live(Epoch(1), record(n))));
    }
    assert_eq!(commit_one(store, 1, 1, Change::Update(record(9))), Ok(()));
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(9))));
    assert_eq!(load(store, 2), Some(Stored::Live(Epoch(1), record(1))));
}

fn a_number_is_created_once(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(2))), Err(WriteError::Exists));
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(1))));
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
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(5), record(1))));
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
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(1))));
    assert_eq!(load(store, 2), None);
    assert_eq!(load(store, 3), Some(Stored::Live(Epoch(1), record(3))));
}

fn writes_of_a_batch_are_made_in_order(store: &impl Store) {
    let batch = [
        write(1, 1, Change::Create(record(1))),
        write(1, 1, Change::Update(record(2))),
        write(1, 1, Change::Update(record(3))),
    ];
    assert_eq!(commit(store, &batch), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(load(store, 1), Some(Stored::Live(Epoch(1), record(3))));
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
