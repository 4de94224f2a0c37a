//! Activities, which outlive sessions.

use super::*;

fn activities(store: &impl Store) -> Vec<ActivityRecord> {
    store.scan_activities(None, 100).expect("the store works")
}

fn work(number: u64, key: &Key, n: u8, slot: Option<SlotRecord>) -> Change {
    Change::Activity(Box::new(activity(key, id(number), n)), slot.map(Box::new))
}

//= test I7
pub(super) fn an_activity_is_kept_with_the_slot_of_its_call(store: &impl Store) {
    let dump = key(1, "dump");
    let working = slot(2, 3, CallRecord::Working(Fingerprint(1), dump.name.clone()));
    assert_eq!(commit_one(store, 1, 1, work(1, &dump, 2, Some(working.clone()))), Err(WriteError::Missing));
    assert_eq!(commit_one(store, 1, 5, Change::Create(record(1))), Ok(()));
    let fenced = commit_one(store, 1, 4, work(1, &dump, 2, Some(working.clone())));
    assert_eq!(fenced, Err(WriteError::Fenced { stored: Epoch(5) }));
    assert_eq!((activities(store), slots(store, 1)), (vec![], vec![]), "refused as a whole");
    assert_eq!(commit_one(store, 1, 5, work(1, &dump, 2, Some(working.clone()))), Ok(()));
    assert_eq!(
        (activities(store), slots(store, 1)),
        (vec![activity(&dump, id(1), 2)], vec![working.clone()])
    );
    // It comes further, is done, and is begun again by a call of another session, all in one batch.
    assert_eq!(commit_one(store, 2, 1, Change::Create(record(1))), Ok(()));
    let done = slot(2, 3, CallRecord::Streamed(Fingerprint(1), Kept::Whole(reply(1)), Box::default()));
    let batch = [
        write(1, 5, work(1, &dump, 3, None)),
        write(1, 5, work(1, &dump, 4, Some(done.clone()))),
        write(2, 1, work(2, &dump, 5, None)),
    ];
    assert_eq!(commit(store, &batch), [Ok(()), Ok(()), Ok(())]);
    assert_eq!((activities(store), slots(store, 1)), (vec![activity(&dump, id(2), 5)], vec![done]));
}

pub(super) fn an_activity_outlives_its_session_and_is_forgotten_once(store: &impl Store) {
    let dump = key(1, "dump");
    let forget =
        |worker: &ActivityRecord| Change::ForgetActivity(Box::new(worker.key.clone()), worker.worker.call);
    let (first, second) = (activity(&dump, id(1), 2), activity(&dump, id(2), 6));
    assert_eq!(commit_one(store, 1, 1, forget(&first)), Err(WriteError::Missing));
    for number in [1, 2] {
        assert_eq!(commit_one(store, number, 1, Change::Create(record(1))), Ok(()));
    }
    assert_eq!(commit_one(store, 1, 1, work(1, &dump, 2, None)), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::End(tombstone(1))), Ok(()));
    assert_eq!(commit_one(store, 1, 1, Change::Forget), Ok(()));
    assert_eq!(activities(store), std::slice::from_ref(&first));
    // Another call has worked on it since, with the same slot and sequence of another session.
    assert_eq!(commit_one(store, 2, 1, work(2, &dump, 6, None)), Ok(()));
    assert_eq!(commit_one(store, 1, 1, forget(&first)), Err(WriteError::Missing));
    assert_eq!(commit_one(store, 2, 1, forget(&first)), Err(WriteError::Missing));
    assert_eq!(activities(store), std::slice::from_ref(&second));
    assert_eq!(commit_one(store, 2, 99, forget(&second)), Ok(()), "no epoch is asked for");
    assert_eq!(commit_one(store, 2, 1, forget(&second)), Err(WriteError::Missing));
    assert_eq!(activities(store), []);
}

pub(super) fn scan_pages_through_all_activities(store: &impl Store) {
    assert_eq!(commit_one(store, 1, 1, Change::Create(record(1))), Ok(()));
    let keys: Vec<_> =
        (1..=3).flat_map(|n| ["a", "b", "ba", "\0", "\u{ff}"].map(|name| key(n, name))).collect();
    for (n, key) in (0..).zip(&keys) {
        assert_eq!(commit_one(store, 1, 1, work(1, key, n, None)), Ok(()));
    }
    let (mut after, mut found) = (None, BTreeSet::new());
    loop {
        let page = store.scan_activities(after.as_ref(), 2).expect("the store works");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.key.clone());
        for activity in page {
            assert!(found.insert(activity.key.clone()), "{:?} came twice", activity.key);
        }
    }
    assert_eq!(found, keys.into_iter().collect());
    assert_eq!(store.scan(None, 10).expect("the store works").len(), 1, "activities are no sessions");
}
