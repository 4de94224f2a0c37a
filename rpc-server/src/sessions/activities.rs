//! Who works on which activity, and how that is ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rpc_core::activity::{BeginError, Ending, Key, State, Worker};
use rpc_core::config::Limits;
use rpc_core::record::ActivityRecord;
use rpc_core::session::Kept;
use rpc_core::stream::resume::Resume;
use rpc_core::stream::secured::Resumption;
use rpc_core::time::Timestamp;
use rpc_flow::Stream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Clock;

/// How long an interruption is waited for.
const INTERRUPTION: Duration = Duration::from_secs(30);

/// The activities of this server. Its lock is the last that is taken, after any session's.
#[derive(Debug)]
pub(crate) struct Activities {
    clock: Clock,
    inner: Mutex<Inner>,
    /// Told whenever a call no longer works on its activity.
    ended: Notify,
    /// Something is to be forgotten earlier than anything before.
    nearer: Notify,
}

#[derive(Debug)]
struct Inner {
    table: rpc_core::activity::Activities,
    /// What ends the handlers that work on activities.
    interrupts: BTreeMap<Worker, CancellationToken>,
}

/// A call that wants to work on an activity. Nothing has changed yet, and nothing changes while this lives.
pub(crate) struct Beginning<'a> {
    activities: &'a Arc<Activities>,
    inner: MutexGuard<'a, Inner>,
    key: Key,
    method: &'static str,
    worker: Worker,
    from: From,
    resumption: Option<Resumption>,
}

/// From where a call works on an activity.
enum From {
    /// From where it says itself; `None`: from the beginning.
    Said(Option<Resume>),
    /// From where it was when its server was gone.
    Before,
}

/// The work of one call on an activity. Dropped before it was ended, it leaves the activity interrupted.
#[derive(Debug)]
pub(crate) struct Working {
    activities: Arc<Activities>,
    key: Key,
    method: &'static str,
    worker: Worker,
    stream: Stream,
    interrupt: CancellationToken,
    is_over: bool,
}

impl Activities {
    pub(super) fn new(clock: Clock, limits: &Limits) -> Arc<Self> {
        let table = rpc_core::activity::Activities::new(limits);
        let inner = Mutex::new(Inner { table, interrupts: BTreeMap::new() });
        Arc::new(Self { clock, inner, ended: Notify::new(), nearer: Notify::new() })
    }

    /// Whether a call may work on an activity, and from where.
    ///
    /// # Errors
    ///
    /// It may not.
    pub(crate) fn check(
        self: &Arc<Self>,
        key: Key,
        method: &'static str,
        worker: Worker,
        from: Option<Resume>,
    ) -> Result<Beginning<'_>, BeginError> {
        let inner = self.lock();
        let resumption = inner.table.check(&key, method, from.as_ref())?;
        let from = From::Said(from);
        Ok(Beginning { activities: self, inner, key, method, worker, from, resumption })
    }

    /// Whether a call may go on with the activity on which it worked at a server that is gone.
    ///
    /// # Errors
    ///
    /// It may not: another call works on it, or has.
    pub(crate) fn check_again(
        self: &Arc<Self>,
        key: Key,
        method: &'static str,
        worker: Worker,
    ) -> Result<Beginning<'_>, BeginError> {
        let inner = self.lock();
        let resumption = Some(inner.table.check_again(&key, worker)?);
        Ok(Beginning { activities: self, inner, key, method, worker, from: From::Before, resumption })
    }

    /// From where a call can go on with the activity on which it worked at a server that is gone; `None`: it cannot.
    pub(super) fn left_by(&self, key: &Key, worker: Worker) -> Option<Resumption> {
        self.lock().table.check_again(key, worker).ok()
    }

    /// Takes in what an earlier server left in the store.
    pub(super) fn adopt(&self, record: ActivityRecord) {
        self.lock().table.adopt(self.clock.now(), record);
    }

    /// Those that were forgotten since this was asked last, with the calls that worked on them last.
    pub(super) fn take_forgotten(&self) -> Vec<(Key, Worker)> {
        self.lock().table.take_forgotten()
    }

    /// How an activity stands.
    pub(crate) fn state(&self, key: &Key) -> State {
        self.lock().table.state(key)
    }

    /// Ends the work on an activity and tells how the activity stands then: still running only if the handler has not
    /// come to an await within 30 s, or another call was faster.
    ///
    /// # Cancel safety
    ///
    /// The work is ended although nobody waits for it.
    //= D-26
    pub(crate) async fn interrupt(&self, key: &Key) -> State {
        let mut told = None;
        let stopped = async {
            let mut ended = std::pin::pin!(self.ended.notified());
            loop {
                // Waiting begins before the question, so that an end between the two is not missed.
                ended.as_mut().enable();
                let state = self.state(key);
                let State::Running(worker) = state else { return state };
                // Whoever takes the activity up after the end of this one is not to be interrupted by it.
                if *told.get_or_insert(worker) != worker {
                    return state;
                }
                if let Some(interrupt) = self.lock().interrupts.get(&worker) {
                    interrupt.cancel();
                }
                ended.as_mut().await;
                ended.set(self.ended.notified());
            }
        };
        match timeout(INTERRUPTION, stopped).await {
            Ok(state) => state,
            Err(_) => self.state(key),
        }
    }

    /// Forgets an activity that no call works on; the call that worked on it last, of which the store is told.
    pub(super) fn give_up(&self, key: &Key) -> Option<Worker> {
        self.lock().table.give_up(key)
    }

    /// Forgets those whose time is over, and says when there is the next one.
    pub(super) fn forget(&self, now: Timestamp) -> Timestamp {
        let mut inner = self.lock();
        inner.table.forget(now);
        inner.table.next_wake()
    }

    /// Waits until something is to be forgotten earlier than anything before.
    pub(super) async fn nearer(&self) {
        self.nearer.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The table does not panic half-way through a change on purpose.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beginning<'_> {
    /// From where the call goes on; `None`: from the beginning.
    pub(crate) fn resumption(&self) -> Option<&Resumption> {
        self.resumption.as_ref()
    }

    /// What the store is to know of it when the call begins.
    pub(crate) fn record(&self) -> Box<ActivityRecord> {
        let at = self.resumption.clone().unwrap_or_default();
        record(&self.key, self.method, self.worker, at, None)
    }

    /// The call works on the activity from here on.
    pub(crate) fn begin(mut self, stream: Stream) -> Working {
        let (method, worker, interrupt) = (self.method, self.worker, CancellationToken::new());
        let table = &mut self.inner.table;
        match &self.from {
            From::Said(from) => {
                let begun = table.begin(&self.key, method, worker, from.as_ref());
                debug_assert!(begun.is_ok(), "nothing has changed since it was checked");
            }
            From::Before => table.begin_again(&self.key, worker),
        }
        if table.has_forgotten() {
            self.activities.nearer.notify_one();
        }
        self.inner.interrupts.insert(worker, interrupt.clone());
        let activities = Arc::clone(self.activities);
        Working { activities, key: self.key, method, worker, stream, interrupt, is_over: false }
    }
}

impl Working {
    /// Waits until another call wants to take the activity over.
    pub(crate) async fn interrupted(&self) {
        self.interrupt.cancelled().await;
    }

    /// What the store is to know of it: it is secured up to there, and done with this answer if there is one.
    pub(crate) fn record(&self, at: Resumption, done: Option<Kept>) -> Box<ActivityRecord> {
        record(&self.key, self.method, self.worker, at, done)
    }

    /// The store knows of the call, or need not: its handler runs.
    pub(crate) fn begun(&self) {
        self.activities.lock().table.begun(&self.key, self.worker);
    }

    /// The store did not hear of the call: the activity is what it was.
    pub(crate) fn not_begun(mut self) {
        self.end(Ending::NotBegun);
    }

    /// The work came to its end, with this answer.
    pub(crate) fn done(mut self, kept: Kept) {
        self.end(Ending::Done(self.stream.resumption(), kept));
    }

    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let activities = &self.activities;
        {
            let mut inner = activities.lock();
            let before = inner.table.next_wake();
            inner.table.ended(activities.clock.now(), &self.key, self.worker, ending);
            inner.interrupts.remove(&self.worker);
            if inner.table.next_wake() < before {
                activities.nearer.notify_one();
            }
        }
        activities.ended.notify_waiters();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Ending::Interrupted(self.stream.resumption()));
        }
    }
}

fn record(
    key: &Key,
    method: &str,
    worker: Worker,
    at: Resumption,
    done: Option<Kept>,
) -> Box<ActivityRecord> {
    Box::new(ActivityRecord { key: key.clone(), method: method.into(), worker, at, done })
}
