//! What calls that are kept commit, given to the store by nobody but a task for each: one thread takes whatever waits into
//! one batch, as that of the server does.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rpc_core::config::Terms;
use rpc_core::id::{Epoch, Fingerprint, Nonce, Sequence, SessionId, SlotId, TicketHash};
use rpc_core::negotiate::{self, Offer};
use rpc_core::principal::Principal;
use rpc_core::record::{CallRecord, Change, Reply, SessionRecord, SlotRecord, TicketHashes, Write};
use rpc_core::store::{Store as _, StoreError, WriteError};
use rpc_core::transaction::Transaction;
use rpc_store::EmbeddedStore;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Load, equal};
use crate::error::BenchError;
use crate::payload;
use crate::protocol::{Counts, Latency, Measured};

/// Writes that share one commit at most, as in the server.
const BATCH_MAX: usize = 1_024;

/// One case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Commits {
    /// Effect and reply in one commit; otherwise intent and reply, each in its own.
    pub(crate) transactions: bool,
    /// Encoded size of a reply, and of the effect.
    pub(crate) size: usize,
    /// Calls at the same time.
    pub(crate) in_flight: usize,
}

impl Commits {
    /// Opens a store of its own below this directory, with one session in it.
    pub(super) fn prepare(self, directory: &Path) -> Result<Box<dyn Load>, BenchError> {
        let path = tempfile::Builder::new().prefix("alone-").tempdir_in(directory)?;
        let store = Arc::new(EmbeddedStore::open(path.path().join("store"))?);
        let numbers = store.reserve_numbers(std::num::NonZeroU32::MIN)?;
        let session = SessionId::new(numbers.start).ok_or_else(|| BenchError::new("no number"))?;
        let created = Write { session, epoch: EPOCH, change: Change::Create(Arc::new(record()?)) };
        store.commit(&[created])?.pop().ok_or_else(|| BenchError::new("no answer"))??;
        let (jobs, queue) = mpsc::unbounded_channel();
        let committed = Arc::clone(&store);
        let thread =
            thread::Builder::new().name("commits".into()).spawn(move || commit(&committed, queue))?;
        let message = Bytes::from(payload::data(self.size));
        let calls = (0..self.in_flight as u32).map(|slot| Call { session, slot, sequence: 0 }).collect();
        Ok(Box::new(Committing { case: self, store, jobs, calls, message, thread, _path: path }))
    }

    /// The server had nothing to do with it.
    pub(super) fn check(self, _: &Measured, done: Counts) -> Result<(), BenchError> {
        equal("calls of the server", 0, done.runs)
    }
}

const EPOCH: Epoch = Epoch(1);

/// A session as any.
fn record() -> Result<SessionRecord, BenchError> {
    let agreement = negotiate::answer(&Offer::default(), &Terms::default(), &[]);
    Ok(SessionRecord {
        principal: Principal::new("https://issuer.example", "bench"),
        nonce: Nonce([1; Nonce::BYTES]),
        agreement: Arc::new(agreement.map_err(|error| BenchError::new(format!("{error:?}")))?),
        tickets: TicketHashes { current: TicketHash([1; 32]), pending: None },
        authority_unix_s: None,
        scopes: Arc::from([]),
    })
}

/// A write, and who waits for it.
type Job = (Write, oneshot::Sender<Result<(), WriteError>>);

/// Ends when nobody has anything to commit any more.
fn commit(store: &EmbeddedStore, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut jobs, BATCH_MAX) > 0 {
        let (writes, waiting): (Vec<_>, Vec<_>) = jobs.drain(..).unzip();
        let answers = store.commit(&writes).unwrap_or_else(|error| vec![Err(error.into()); writes.len()]);
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            // Whoever does not wait any more has failed, and says so.
            let _ = waiting.send(answer);
        }
    }
}

struct Committing {
    case: Commits,
    store: Arc<EmbeddedStore>,
    jobs: mpsc::UnboundedSender<Job>,
    calls: Vec<Call>,
    message: Bytes,
    thread: thread::JoinHandle<()>,
    // Last, so that the store has left it.
    _path: tempfile::TempDir,
}

impl Load for Committing {
    fn run(&mut self, time: Duration) -> BoxFuture<'_, Result<Measured, BenchError>> {
        Box::pin(self.commit_for(time))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), BenchError>> {
        let Self { jobs, thread, .. } = *self;
        drop(jobs);
        let ended = thread.join().map_err(|_| BenchError::new("the thread of the store panicked"));
        Box::pin(async move { ended })
    }
}

impl Committing {
    async fn commit_for(&mut self, time: Duration) -> Result<Measured, BenchError> {
        let before = self.store.statistics()?.since_open;
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for call in self.calls.drain(..) {
            tasks.spawn(call.run(self.case, self.message.clone(), self.jobs.clone(), begin + time));
        }
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (call, mut took) = done??;
            self.calls.push(call);
            times.append(&mut took);
        }
        let wall_ns = begin.elapsed().as_nanos() as u64;
        let after = self.store.statistics()?.since_open;
        let writes = if self.case.transactions { 1 } else { 2 };
        equal("writes", times.len() as u64 * writes, after.writes - before.writes)?;
        let mut measured = Measured { operations: times.len() as u64, wall_ns, ..Measured::default() };
        measured.latency = Latency::of(times);
        measured.extra.insert("syncs".into(), (after.syncs - before.syncs) as f64);
        Ok(measured)
    }
}

/// One slot.
struct Call {
    session: SessionId,
    slot: u32,
    sequence: u64,
}

impl Call {
    /// One call after the other.
    async fn run(
        mut self,
        case: Commits,
        message: Bytes,
        jobs: mpsc::UnboundedSender<Job>,
        until: Instant,
    ) -> Result<(Self, Vec<u32>), BenchError> {
        let (mut times, mut begin) = (Vec::new(), Instant::now());
        while begin < until {
            self.sequence += 1;
            let fingerprint = Fingerprint(u128::from(self.sequence));
            let reply =
                Reply { code: 0, head: Bytes::new(), message: message.clone(), trailer: Bytes::new() };
            let done = self.record(CallRecord::Done(fingerprint, reply));
            if case.transactions {
                let key = Bytes::copy_from_slice(&(self.sequence % 65_536).to_be_bytes());
                let mut transaction = Transaction::new();
                transaction.write(key, Some(message.clone())).map_err(|error| BenchError::of(&error))?;
                self.write(&jobs, Change::Commit(done, Box::new(transaction))).await?;
            } else {
                self.write(&jobs, Change::Slot(self.record(CallRecord::Begun(fingerprint)))).await?;
                self.write(&jobs, Change::Slot(done)).await?;
            }
            let end = Instant::now();
            times.push(u32::try_from((end - begin).as_nanos()).unwrap_or(u32::MAX));
            begin = end;
        }
        Ok((self, times))
    }

    fn record(&self, call: CallRecord) -> Box<SlotRecord> {
        Box::new(SlotRecord { slot: SlotId(self.slot), sequence: Sequence(self.sequence), call })
    }

    async fn write(&self, jobs: &mpsc::UnboundedSender<Job>, change: Change) -> Result<(), BenchError> {
        let (answer, answered) = oneshot::channel();
        let ended = || StoreError::Closed("its thread has ended".into());
        let write = Write { session: self.session, epoch: EPOCH, change };
        jobs.send((write, answer)).map_err(|_| ended())?;
        Ok(answered.await.map_err(|_| ended())??)
    }
}
