use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use rpc_core::config::{Limits, Terms};
use rpc_core::id::{Epoch, Fingerprint, Nonce, Sequence, SessionId, SlotId};
use rpc_core::negotiate::{self, Offer};
use rpc_core::principal::Principal;
use rpc_core::record::{CallRecord, Change, Reply, SlotRecord, Write};
use rpc_core::session::{Authority, RecordId, RequestId, SessionUnknown};
use rpc_core::store::{Durability, MemoryStore, Store, StoreError, Stored, WriteError};
use rpc_core::time::Timestamp;

use crate::sessions::committer::HomeOf;
use crate::sessions::ends::{Ends, Hook};
use crate::sessions::{Committing, OpenError, OpenSession, Sessions, SimulatedStore, Surroundings};

/// A store that says it is durable, waits at a gate before each commit, and fails when told to.
#[derive(Default)]
struct Gated {
    inner: MemoryStore,
    open: Mutex<bool>,
    opened: Condvar,
    commits: AtomicUsize,
    writes: AtomicUsize,
    failing: Mutex<bool>,
    panics: AtomicBool,
}

impl Gated {
    fn set_open(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }
}

struct Handle(Arc<Gated>);

impl Store for Handle {
    fn durability(&self) -> Durability {
        Durability::Durable
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        self.0.inner.reserve_numbers(count)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        self.0.inner.load(session)
    }

    fn get(&self, key: &[u8]) -> Result<Option<rpc_core::transaction::Versioned>, StoreError> {
        self.0.inner.get(key)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        self.0.writes.fetch_add(batch.len(), Ordering::SeqCst);
        let mut open = self.0.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while !*open {
            open = self.0.opened.wait(open).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        assert!(!self.0.panics.load(Ordering::SeqCst), "the test wants the store to panic");
        if *self.0.failing.lock().unwrap() {
            return Err(StoreError::Failed("no space left".into()));
        }
        self.0.inner.commit(batch)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        self.0.inner.scan(after, limit)
    }

    fn scan_activities(
        &self,
        after: Option<&rpc_core::activity::Key>,
        limit: usize,
    ) -> Result<Vec<rpc_core::record::ActivityRecord>, StoreError> {
        self.0.inner.scan_activities(after, limit)
    }
}

fn sessions(store: &Arc<Gated>) -> Arc<Sessions> {
    sessions_with(store, Vec::new())
}

fn sessions_with(store: &Arc<Gated>, hooks: Vec<Hook>) -> Arc<Sessions> {
    let handle = Arc::new(Handle(Arc::clone(store)));
    let ends = Ends::start(hooks).unwrap();
    Sessions::start(handle, Terms::default(), Limits::default(), Surroundings::default(), ends).unwrap()
}

async fn open(sessions: &Arc<Sessions>, nonce: u8) -> Result<OpenSession, OpenError> {
    let agreement = negotiate::answer(&Offer::default(), &Terms::default(), &[]).unwrap();
    let authority = Authority { until: Timestamp::NEVER, unix_s: None, scopes: Arc::from([]) };
    sessions.open(Principal::new("issuer", "alice"), Nonce([nonce; 16]), agreement, authority).await
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

//= test O-4
#[tokio::test]
async fn an_opening_is_not_answered_before_the_store_has_it() {
    let store = Arc::new(Gated::default());
    let sessions = sessions(&store);
    let mut opening = Box::pin(open(&sessions, 1));
    tokio::select! {
        biased;
        _ = &mut opening => panic!("answered before the commit"),
        () = until(|| store.commits.load(Ordering::SeqCst) == 1) => {}
    }
    store.set_open(true);
    let opened = opening.await.unwrap();
    assert!(matches!(store.inner.load(opened.live.id()), Ok(Some(Stored::Live(..)))));
}

#[tokio::test]
async fn what_waits_shares_one_commit() {
    let store = Arc::new(Gated::default());
    let sessions = sessions(&store);
    let mut first = Box::pin(open(&sessions, 0));
    tokio::select! {
        biased;
        _ = &mut first => panic!("answered before the commit"),
        () = until(|| store.commits.load(Ordering::SeqCst) == 1) => {}
    }
    let mut others: Vec<_> = (1..=50).map(|nonce| Box::pin(open(&sessions, nonce))).collect();
    for other in &mut others {
        // Placed and handed over, but not answered.
        assert!(futures_util::poll!(other.as_mut()).is_pending());
    }
    store.set_open(true);
    first.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(store.writes.load(Ordering::SeqCst), 51);
    assert_eq!(store.commits.load(Ordering::SeqCst), 2);
}

/// A thousand replies of a mebibyte were one commit, and what came behind them waited for all.
#[tokio::test]
async fn a_batch_is_bounded_by_bytes_too() {
    const WRITES: u64 = 40;
    let store = Arc::new(Gated::default());
    store.set_open(true);
    let sessions = sessions(&store);
    let opened = open(&sessions, 0).await.unwrap();
    let session = opened.live.id();
    store.set_open(false);
    let before = store.commits.load(Ordering::SeqCst);
    let large = |sequence| {
        let reply =
            Reply { code: 0, head: Bytes::new(), message: vec![1; 1 << 20].into(), trailer: Bytes::new() };
        let call = CallRecord::Done(Fingerprint(1), reply);
        let slot = SlotRecord { slot: SlotId(0), sequence: Sequence(sequence), call };
        Write { session, epoch: Epoch::FIRST, change: Change::Slot(Box::new(slot)) }
    };
    for sequence in 1..=WRITES {
        sessions.committer.submit(&opened.live, &mut HomeOf::default(), RecordId::default(), large(sequence));
    }
    store.set_open(true);
    until(|| store.writes.load(Ordering::SeqCst) as u64 == 1 + WRITES).await;
    let commits = store.commits.load(Ordering::SeqCst) - before;
    assert!(commits >= 5, "{WRITES} MiB in {commits} commits");
}

#[tokio::test]
async fn a_store_that_fails_opens_nothing_and_leaves_the_nonce_free() {
    let store = Arc::new(Gated::default());
    store.set_open(true);
    *store.failing.lock().unwrap() = true;
    let sessions = sessions(&store);
    let failed = open(&sessions, 1).await;
    assert!(matches!(failed, Err(OpenError::Failed(rpc_core::error::Reason::StoreUnavailable))));
    *store.failing.lock().unwrap() = false;
    let opened = open(&sessions, 1).await.unwrap();
    assert!(!opened.existing);
    let refused =
        sessions.present::<SessionUnknown>(SessionId::new(1).unwrap(), &opened.ticket, None, |_, _| Ok(()));
    assert!(refused.is_err(), "the number of the failed opening names nothing");
}

#[tokio::test]
async fn a_store_that_panics_is_a_store_that_failed() {
    let store = Arc::new(Gated::default());
    store.set_open(true);
    store.panics.store(true, Ordering::SeqCst);
    let sessions = sessions(&store);
    for nonce in [1, 2] {
        let failed = open(&sessions, nonce).await;
        assert!(matches!(failed, Err(OpenError::Failed(rpc_core::error::Reason::StoreUnavailable))));
    }
}

/// Spins, so that the test's own runtime does nothing meanwhile.
fn spin_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_session_is_told_in_the_runtime_of_its_first_write() {
    let store = Arc::new(Gated::default());
    store.set_open(true);
    let sessions = sessions(&store);
    let opened = open(&sessions, 1).await.unwrap();
    let mut ending = Box::pin(opened.live.request(|session, _, request| session.abort(request)));
    assert!(futures_util::poll!(ending.as_mut()).is_pending());
    let home = opened.live.home().expect("it was opened in a runtime");
    spin_until(|| home.waiting() == 1);
    assert!(futures_util::poll!(ending.as_mut()).is_pending(), "told by the store's thread");
    ending.await.unwrap();
    assert_eq!(home.waiting(), 0);
}

/// The waker of a program's own executor: its panic is no reason for others to wait for ever.
#[tokio::test]
async fn a_waker_that_panics_keeps_nobody_else_from_their_answers() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("the test wants the waker to panic");
        }
    }
    let store = Arc::new(Gated::default());
    store.set_open(true);
    let sessions = sessions(&store);
    let (first, second) = (open(&sessions, 1).await.unwrap(), open(&sessions, 2).await.unwrap());
    let mut ending = Box::pin(first.live.request(|session, _, request| session.abort(request)));
    let waker = std::task::Waker::from(Arc::new(Panics));
    assert!(ending.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    spin_until(|| first.live.home().unwrap().waiting() == 1);
    for opened in [&first, &second] {
        // Also who is told after the batch in which it happened.
        let waited = opened.live.request(|session, _, request| session.abort(request));
        let waited = tokio::time::timeout(std::time::Duration::from_secs(30), waited).await;
        assert!(waited.is_ok(), "nobody is told any more");
    }
}

/// One of several runtimes ends before the others, and its sessions live on in them.
#[test]
fn a_runtime_that_ends_takes_no_answer_with_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let store = Arc::new(Gated::default());
    store.set_open(true);
    let sessions = second.block_on(async { sessions(&store) });
    let (here, there) =
        first.block_on(async { (open(&sessions, 1).await.unwrap(), open(&sessions, 2).await.unwrap()) });
    let abort = |of: &OpenSession| {
        let live = Arc::clone(&of.live);
        Box::pin(async move { live.request(|session, _, request| session.abort(request)).await })
    };
    // One answer waits for the runtime when it ends, the other comes when it has.
    let (mut early, late) = (abort(&here), abort(&there));
    let _ = second.block_on(async { futures_util::poll!(early.as_mut()) });
    spin_until(|| here.live.home().unwrap().waiting() == 1);
    drop(first);
    second.block_on(async {
        early.await.unwrap();
        late.await.unwrap();
    });
}

/// Nothing held a session any more that had ended, and when the store had its end there was nobody to tell of it.
//= test L-34
#[tokio::test]
async fn an_end_is_told_when_the_store_has_it() {
    let store = Arc::new(Gated::default());
    store.set_open(true);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sessions = sessions_with(&store, vec![Box::new(move |ended| tell.send(ended.number).unwrap())]);
    let opened = open(&sessions, 1).await.unwrap();
    let id = opened.live.id();
    store.set_open(false);
    let before = store.commits.load(Ordering::SeqCst);
    opened.live.with(|session, _| session.abort(RequestId(7))).unwrap();
    drop(opened);
    until(|| store.commits.load(Ordering::SeqCst) > before).await;
    assert!(told.try_recv().is_err(), "the store does not have it yet");
    store.set_open(true);
    assert_eq!(told.recv().await, Some(id));
    // A session whose end is not kept goes on when the store is opened again, and ends then.
    let opened = open(&sessions, 2).await.unwrap();
    *store.failing.lock().unwrap() = true;
    opened.live.request(|session, _, request| session.abort(request)).await.unwrap();
    drop((opened, sessions));
    assert_eq!(told.recv().await, None);
}

impl SimulatedStore for Handle {
    fn commit_in_time(&self, batch: Vec<Write>) -> Committing<'_> {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            self.commit(&batch)
        })
    }
}

/// With a thread the answer would come at a time that nobody knows.
#[tokio::test(start_paused = true)]
async fn a_simulated_store_takes_the_time_of_the_runtime() {
    let store = Arc::new(Gated::default());
    store.set_open(true);
    let handle = Arc::new(Handle(Arc::clone(&store)));
    let surroundings = Surroundings { simulated: Some(handle.clone()), ..Surroundings::default() };
    let (terms, limits) = (Terms::default(), Limits::default());
    let sessions =
        Sessions::start(handle, terms, limits, surroundings, Ends::start(Vec::new()).unwrap()).unwrap();
    let start = tokio::time::Instant::now();
    open(&sessions, 1).await.unwrap();
    assert_eq!(start.elapsed(), std::time::Duration::from_secs(3));
    *store.failing.lock().unwrap() = true;
    let failed = open(&sessions, 2).await;
    assert!(matches!(failed, Err(OpenError::Failed(rpc_core::error::Reason::StoreUnavailable))));
    assert!(sessions.store_failed().is_cancelled());
}
