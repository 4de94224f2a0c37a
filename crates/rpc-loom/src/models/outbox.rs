//! Two calls and a store that use one session: what rests on a record waits for it, whichever thread brings the news.

use std::sync::{Arc, PoisonError};

use loom::sync::Mutex;
use loom::sync::mpsc::Receiver;
use loom::thread;
use rpc_core::record::{CallRecord, Change};
use rpc_core::session::{Keeping, RecordId};

use super::server::{Job, Server, attempt, reply};
use crate::explore::{block_on, joined};
use crate::waiting::Recorded;
use crate::{explore, explore_within};

const KEEPING: Keeping = Keeping::Store { idempotent: false };

/// What the store has: whether that is a reply, for each slot, in the order in which it came.
#[derive(Default)]
pub(super) struct Journal(Mutex<Vec<(RecordId, u32, bool)>>);

impl Journal {
    pub(super) fn write(&self, (record, change): Job) -> RecordId {
        let Change::Slot(slot) = change else { panic!("only calls are recorded here") };
        let is_reply = matches!(slot.call, CallRecord::Done(..));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(kept.last().is_none_or(|(last, ..)| *last < record), "records in another order");
        kept.push((record, slot.slot.0, is_reply));
        record
    }

    fn has(&self, slot: u32, is_reply: bool) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|(_, of, reply)| (*of, *reply) == (slot, is_reply)).count() == 1
    }
}

/// The store: writes each record, and then says so.
pub(super) fn store(server: &Server, journal: &Journal, queue: &Receiver<Job>, count: usize) {
    for _ in 0..count {
        let Ok(job) = queue.recv() else { return };
        server.stored(journal.write(job));
    }
}

/// A call from its admission to its handler.
fn begin(server: &Server, journal: &Journal, slot: u32) {
    let (_, intent) = server.admit(attempt(slot, 0));
    let intent = intent.unwrap_or_else(|| panic!("a durable call waits for its record"));
    assert_eq!(block_on(intent.wait()), Recorded::Yes);
    assert!(journal.has(slot, false), "a handler ran before its intent was durable");
}

/// From there to its answer.
fn end(server: &Server, journal: &Journal, slot: u32) {
    assert_eq!(block_on(server.replied(attempt(slot, 0).call, &reply(b"done"))), Recorded::Yes);
    assert!(journal.has(slot, true), "a reply was answered before it was durable");
}

fn spawn(
    server: &Arc<Server>,
    journal: &Arc<Journal>,
    run: impl FnOnce(&Server, &Journal) + 'static,
) -> thread::JoinHandle<()> {
    let (server, journal) = (Arc::clone(server), Arc::clone(journal));
    thread::spawn(move || run(&server, &journal))
}

/// Records leave in their order and once, and no handler runs before its intent is durable.
pub fn no_handler_runs_before_its_record() -> u64 {
    explore("no handler runs before its record", || {
        let (server, queue) = Server::new(KEEPING);
        let journal = Arc::new(Journal::default());
        let calls =
            [0, 1].map(|slot| spawn(&server, &journal, move |server, journal| begin(server, journal, slot)));
        store(&server, &journal, &queue, 2);
        joined(calls);
    })
}

/// No reply is answered before it is durable.
pub fn no_reply_leaves_before_its_record() -> u64 {
    explore("no reply leaves before its record", || {
        let (server, queue) = Server::new(KEEPING);
        let journal = Arc::new(Journal::default());
        for slot in [0, 1] {
            drop(server.admit(attempt(slot, 0)));
        }
        store(&server, &journal, &queue, 2);
        let calls =
            [0, 1].map(|slot| spawn(&server, &journal, move |server, journal| end(server, journal, slot)));
        store(&server, &journal, &queue, 2);
        joined(calls);
    })
}

/// The queue is full when a second call comes: that is refused on the spot, by another thread than the store's, while the
/// intent or the reply of the first is on its way.
pub fn a_refused_record_brings_no_news_of_others() -> u64 {
    explore_within(2, "a refused record brings no news of others", || {
        let (server, queue) = Server::new(KEEPING);
        let journal = Arc::new(Journal::default());
        let first = spawn(&server, &journal, |server, journal| {
            begin(server, journal, 0);
            end(server, journal, 0);
        });
        let second = spawn(&server, &journal, |server, _| {
            let admitted = server.with(|core| {
                core.is_full = core.session().is_running(attempt(0, 0).call);
                core.is_full.then(|| core.admit(attempt(1, 0), KEEPING))
            });
            if let Some((_, Some(intent))) = admitted {
                assert!(matches!(block_on(intent.wait()), Recorded::No(_)));
            }
        });
        store(&server, &journal, &queue, 2);
        joined([first, second]);
    })
}
