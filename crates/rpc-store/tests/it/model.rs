//! The suite that every store passes, and random operations on this one beside the store in memory.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Mutex;

use bytes::Bytes;
use proptest::prelude::*;
use rpc_core::id::{Epoch, Sequence, SessionId, SlotId};
use rpc_core::record::{CallRecord, Change, End, SlotRecord, Tombstone, Write};
use rpc_core::store::{MemoryStore, Store, suite};
use rpc_core::transaction::{Transaction, Version};
use rpc_store::EmbeddedStore;

use crate::support::Scratch;

#[test]
fn passes_the_suite() {
    let scratches = Mutex::new(Vec::new());
    suite::run(|| {
        let scratch = Scratch::new();
        let store = EmbeddedStore::open(scratch.path()).expect("a new store");
        scratches.lock().expect("no panic").push(scratch);
        store
    });
}

/// A write, and what its transaction reads and writes if it has one. Versions are each store's own, so that what was read
/// is asked of each store when its batch is made.
#[derive(Debug, Clone)]
struct Planned {
    write: Write,
    reads: Vec<(u8, Freshness)>,
    writes: Vec<(u8, Option<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// As the store has it now.
    Now,
    /// As no store has it, now or later in this batch.
    Stale,
}

impl Planned {
    fn for_store(&self, store: &impl Store) -> Write {
        let Change::Commit(slot, _) = &self.write.change else { return self.write.clone() };
        let mut transaction = Transaction::new();
        for (key, freshness) in &self.reads {
            let version = match freshness {
                Freshness::Now => {
                    store.get(&[*key]).expect("works").map_or(Version::NONE, |value| value.version)
                }
                Freshness::Stale => Version(u64::MAX),
            };
            transaction.read(Bytes::from(vec![*key]), version).expect("within the bounds");
        }
        for (key, value) in &self.writes {
            let value = value.map(|n| Bytes::from(vec![n; usize::from(n)]));
            transaction.write(Bytes::from(vec![*key]), value).expect("within the bounds");
        }
        Write { change: Change::Commit(slot.clone(), Box::new(transaction)), ..self.write.clone() }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Planned>),
    Reserve(NonZeroU32),
    Reopen,
    Kill,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any::<u8>().prop_map(|n| Change::Create(suite::record(n % 200))),
        4 => any::<u8>().prop_map(|n| Change::Update(suite::record(n % 200))),
        2 => any::<u8>().prop_map(|n| {
            let record = suite::record(n % 200);
            let end = [End::Released, End::Aborted, End::Expired][usize::from(n % 3)];
            let principal = record.principal.clone();
            Change::End(Box::new(Tombstone { principal, nonce: record.nonce, end, receipt: None }))
        }),
        2 => Just(Change::Forget),
        1 => Just(Change::Claim(Epoch(2))),
        4 => (0..4_u8, 1..6_u64, any::<u8>(), prop::option::of(slot())).prop_map(|(which, number, n, slot)| {
            let activity = suite::activity(&suite::key(which, "work"), SessionId::new(number).expect("from 1"), n);
            Change::Activity(Box::new(activity), slot.map(Box::new))
        }),
        2 => (0..4_u8, 0..4_u8).prop_map(|(which, n)| {
            let key = suite::key(which, "work");
            let worker = suite::activity(&key, SessionId::new(1).expect("from 1"), n).worker;
            Change::ForgetActivity(Box::new(key), worker.call)
        }),
        6 => slot().prop_map(|slot| Change::Slot(Box::new(slot))),
        6 => slot().prop_map(|slot| Change::Commit(Box::new(slot), Box::default())),
    ]
}

fn slot() -> impl Strategy<Value = SlotRecord> {
    (0..4_u32, any::<u8>(), 0..11_usize).prop_map(|(slot, n, call)| SlotRecord {
        slot: SlotId(slot * 100),
        sequence: Sequence(u64::from(n)),
        call: match suite::call_records()[call].clone() {
            CallRecord::Done(fingerprint, _) => CallRecord::Done(fingerprint, suite::reply(n)),
            other => other,
        },
    })
}

fn write() -> impl Strategy<Value = Planned> {
    let freshness = prop_oneof![9 => Just(Freshness::Now), 1 => Just(Freshness::Stale)];
    (
        (1..6_u64, prop_oneof![6 => Just(1), 4 => Just(2)], change()),
        prop::collection::vec((0..5_u8, freshness), 0..3),
        prop::collection::vec((0..5_u8, prop::option::weighted(0.7, any::<u8>())), 0..4),
    )
        .prop_map(|((number, epoch, change), reads, writes)| {
            let session = SessionId::new(number).expect("from 1");
            Planned { write: Write { session, epoch: Epoch(epoch), change }, reads, writes }
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(write(), 0..6).prop_map(Step::Commit),
        1 => (1..50_u32).prop_map(|count| Step::Reserve(NonZeroU32::new(count).expect("from 1"))),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn does_what_the_store_in_memory_does(steps in prop::collection::vec(step(), 1..30)) {
        let model = MemoryStore::new();
        let mut scratch = Scratch::new();
        let mut store = EmbeddedStore::open(scratch.path()).expect("a new store");
        for step in steps {
            match step {
                Step::Commit(batch) => {
                    let ours: Vec<_> = batch.iter().map(|write| write.for_store(&store)).collect();
                    let models: Vec<_> = batch.iter().map(|write| write.for_store(&model)).collect();
                    prop_assert_eq!(store.commit(&ours), model.commit(&models));
                }
                Step::Reserve(count) => {
                    prop_assert_eq!(store.reserve_numbers(count), model.reserve_numbers(count));
                }
                Step::Reopen => {
                    drop(store);
                    store = EmbeddedStore::open(scratch.path()).expect("it was closed in order");
                }
                Step::Kill => {
                    let copy = Scratch::copy_of(scratch.path());
                    drop(store);
                    scratch = copy;
                    store = EmbeddedStore::open(scratch.path()).expect("what a killed process leaves is a store");
                }
            }
            prop_assert_eq!(store.scan(None, 99), model.scan(None, 99));
            let activities = |store: &dyn Store| -> BTreeMap<_, _> {
                let found = store.scan_activities(None, 99).expect("works").into_iter();
                found.map(|activity| (activity.key.clone(), activity)).collect()
            };
            prop_assert_eq!(activities(&store), activities(&model));
            for number in 1..6 {
                let session = SessionId::new(number).expect("from 1");
                prop_assert_eq!(store.load(session), model.load(session));
            }
            for key in 0..5_u8 {
                let value = |store: &dyn Store| store.get(&[key]).expect("works").map(|versioned| versioned.value);
                prop_assert_eq!(value(&store), value(&model));
            }
        }
    }
}
