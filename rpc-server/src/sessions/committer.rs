//! The way from sessions to the store: one writer for all of them, so that whatever waits shares one sync.

mod telling;

use std::num::NonZeroU32;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rpc_core::record::Write;
use rpc_core::session::RecordId;
use rpc_core::store::{Durability, Store, StoreError, WriteError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(super) use telling::Home;
pub(super) use telling::HomeOf;
use telling::{Homes, Told, Waiter};

use super::SimulatedStore;
use super::live::Live;

/// Writes that wait for the store at the same time, at which nothing new is begun: `STORE_UNAVAILABLE`. What has happened
/// already is recorded still, and there is never more of that than what runs.
const WAITING_MAX: usize = 16_384;
/// Writes that share one commit at most.
const BATCH_MAX: usize = 1_024;
/// Bytes at which a batch takes no more writes: what waits behind it is not to wait for all of a thousand large replies.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Gives writes to the store.
#[derive(Clone)]
pub(super) enum Committer {
    /// A store that forgets does not block: it is asked on the spot, and there is no thread.
    Inline(Arc<dyn Store>),
    /// A store that waits for a medium has a thread of its own, and a simulation's a task.
    Queued(Queue),
}

/// The way to the thread or task.
#[derive(Clone)]
pub(super) struct Queue {
    jobs: mpsc::UnboundedSender<Job>,
    waiting: Arc<AtomicUsize>,
    /// Where sessions are told.
    homes: Homes,
}

enum Job {
    Write(Waiter, Write),
    Reserve { count: NonZeroU32, answer: oneshot::Sender<Result<Range<u64>, StoreError>> },
}

/// What became of a write that was handed over.
pub(super) enum Submitted {
    /// It is answered already.
    Done(Result<(), WriteError>),
    /// The session will hear of it.
    Waiting,
}

impl Committer {
    /// Starts the writer. Its thread ends when the last clone of the committer is gone.
    ///
    /// `failed` is cancelled when the store has failed: from then on nothing is kept.
    pub(super) fn start(store: Arc<dyn Store>, failed: CancellationToken) -> std::io::Result<Self> {
        match store.durability() {
            Durability::Volatile => Ok(Self::Inline(store)),
            Durability::Durable => {
                let (jobs, queue) = mpsc::unbounded_channel();
                let waiting = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&waiting);
                thread::Builder::new()
                    .name("session-store".into())
                    .spawn(move || run(&*store, queue, &counted, &failed))?;
                Ok(Self::Queued(Queue { jobs, waiting, homes: Homes::in_runtimes() }))
            }
        }
    }

    /// Starts the writer of a simulation, as a task of this runtime. It ends as the thread does.
    pub(super) fn start_task(
        store: Arc<dyn SimulatedStore>,
        failed: CancellationToken,
    ) -> std::io::Result<Self> {
        let runtime = Handle::try_current().map_err(std::io::Error::other)?;
        let (jobs, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let task = run_task(store, queue, Arc::clone(&waiting), failed);
        // Nobody awaits it: it ends when the last clone of the committer is gone, or with its runtime.
        drop(runtime.spawn(task));
        Ok(Self::Queued(Queue { jobs, waiting, homes: Homes::at_the_store() }))
    }

    /// Hands over a write.
    pub(super) fn submit(
        &self,
        live: &Arc<Live>,
        home: &mut HomeOf,
        record: RecordId,
        write: Write,
    ) -> Submitted {
        match self {
            Self::Inline(store) => Submitted::Done(commit_one(&**store, write)),
            Self::Queued(queue) => {
                let must = write.change.has_happened();
                let waiter = Waiter::Session(Told::of(live, &write), record, home.choose(&queue.homes));
                match queue.send(Job::Write(waiter, write), must) {
                    Ok(()) => Submitted::Waiting,
                    Err(error) => Submitted::Done(Err(error)),
                }
            }
        }
    }

    /// Lets the store forget an ended session. If that fails the record stays until the store is opened again, which
    /// costs space and nothing else.
    pub(super) fn forget(&self, write: Write) {
        match self {
            Self::Inline(store) => {
                if let Err(error) = commit_one(&**store, write) {
                    tracing::debug!(%error, "an ended session was not forgotten");
                }
            }
            Self::Queued(queue) => {
                let _ = queue.send(Job::Write(Waiter::Nobody, write), false);
            }
        }
    }

    /// The same, and waits until the store has done it.
    pub(super) async fn forget_now(&self, write: Write) -> Result<(), WriteError> {
        match self {
            Self::Inline(store) => commit_one(&**store, write),
            Self::Queued(queue) => {
                let (answer, answered) = oneshot::channel();
                queue.send(Job::Write(Waiter::Forgetting(answer), write), false)?;
                answered.await.unwrap_or_else(|_| Err(thread_has_ended().into()))
            }
        }
    }

    /// Reserves session numbers.
    pub(super) async fn reserve(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        match self {
            Self::Inline(store) => store.reserve_numbers(count),
            Self::Queued(queue) => {
                let (answer, answered) = oneshot::channel();
                let sent = queue.send(Job::Reserve { count, answer }, false);
                sent.map_err(|error| StoreError::Failed(error.to_string()))?;
                answered.await.map_err(|_| thread_has_ended())?
            }
        }
    }
}

impl Queue {
    /// Hands over a job; at the bound only one that `must` be done.
    fn send(&self, job: Job, must: bool) -> Result<(), WriteError> {
        if !must && self.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            return Err(WriteError::Overloaded);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.send(job).map_err(|_| thread_has_ended().into())
    }
}

fn thread_has_ended() -> StoreError {
    StoreError::Closed("its thread has ended".into())
}

fn commit_one(store: &dyn Store, write: Write) -> Result<(), WriteError> {
    store.commit(&[write])?.pop().unwrap_or_else(|| Err(answered_short().into()))
}

fn answered_short() -> StoreError {
    StoreError::Failed("the store did not answer every write".into())
}

fn run(
    store: &dyn Store,
    mut queue: mpsc::UnboundedReceiver<Job>,
    counted: &AtomicUsize,
    failed: &CancellationToken,
) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut jobs, BATCH_MAX) > 0 {
        counted.fetch_sub(jobs.len(), Ordering::Relaxed);
        let mut batch = Batch::default();
        for job in jobs.drain(..) {
            batch.take(job, store);
            if batch.bytes >= BATCH_BYTES_MAX {
                std::mem::take(&mut batch).commit(store, failed);
            }
        }
        batch.commit(store, failed);
    }
}

/// As [`run`], on simulated time.
async fn run_task(
    store: Arc<dyn SimulatedStore>,
    mut queue: mpsc::UnboundedReceiver<Job>,
    counted: Arc<AtomicUsize>,
    failed: CancellationToken,
) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut jobs, BATCH_MAX).await > 0 {
        counted.fetch_sub(jobs.len(), Ordering::Relaxed);
        let mut batch = Batch::default();
        for job in jobs.drain(..) {
            batch.take(job, &*store);
        }
        batch.commit_in_time(&*store, &failed).await;
    }
}

/// Writes that share one commit, and who waits for them.
#[derive(Default)]
struct Batch {
    waiting: Vec<Waiter>,
    writes: Vec<Write>,
    bytes: usize,
}

impl Batch {
    /// Adds the write of a job; numbers are reserved on the spot.
    fn take(&mut self, job: Job, store: &dyn Store) {
        match job {
            Job::Write(waiter, write) => {
                self.bytes += write.change.bytes();
                self.waiting.push(waiter);
                self.writes.push(write);
            }
            Job::Reserve { count, answer } => {
                // Nobody waits any more for an opening that was given up; the numbers are skipped.
                let _ = answer.send(guarded(|| store.reserve_numbers(count)));
            }
        }
    }

    fn commit(self, store: &dyn Store, failed: &CancellationToken) {
        if self.writes.is_empty() {
            return;
        }
        let answers = commit(store, &self.writes);
        self.answer(answers, failed);
    }

    async fn commit_in_time(mut self, store: &dyn SimulatedStore, failed: &CancellationToken) {
        if self.writes.is_empty() {
            return;
        }
        let writes = std::mem::take(&mut self.writes);
        let count = writes.len();
        let answers = store.commit_in_time(writes).await;
        self.answer(answers.and_then(|answers| all_of(answers, count)), failed);
    }

    fn answer(self, answers: Result<Vec<Result<(), WriteError>>, StoreError>, failed: &CancellationToken) {
        if let Err(error) = &answers
            && !failed.is_cancelled()
        {
            tracing::error!(%error, "the store failed, and nothing is kept until it is opened again");
            failed.cancel();
        }
        telling::tell(self.waiting, answers);
    }
}

/// A store that panics is a store that failed: whoever waits is told, and the thread goes on telling it.
fn commit(store: &dyn Store, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
    all_of(guarded(|| store.commit(batch))?, batch.len())
}

fn all_of(
    answers: Vec<Result<(), WriteError>>,
    count: usize,
) -> Result<Vec<Result<(), WriteError>>, StoreError> {
    if answers.len() == count { Ok(answers) } else { Err(answered_short()) }
}

fn guarded<T>(ask: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| Err(StoreError::Closed("it panicked".into())))
}

#[cfg(test)]
mod tests;
