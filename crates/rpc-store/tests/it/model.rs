//! The suite that every store passes, and random operations on this one beside the store in memory.

use std::num::NonZeroU32;
use std::sync::Mutex;

use proptest::prelude::*;
use rpc_core::id::{Epoch, SessionId};
use rpc_core::record::{Change, End, Tombstone, Write};
use rpc_core::store::{MemoryStore, Store, suite};
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

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Write>),
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
            Change::End(Box::new(Tombstone { principal: record.principal, nonce: record.nonce, end }))
        }),
        2 => Just(Change::Forget),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    (1..6_u64, prop_oneof![9 => Just(1), 1 => Just(2)], change()).prop_map(|(number, epoch, change)| Write {
        session: SessionId::new(number).expect("from 1"),
        epoch: Epoch(epoch),
        change,
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
                Step::Commit(batch) => prop_assert_eq!(store.commit(&batch), model.commit(&batch)),
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
            for number in 1..6 {
                let session = SessionId::new(number).expect("from 1");
                prop_assert_eq!(store.load(session), model.load(session));
            }
        }
    }
}
