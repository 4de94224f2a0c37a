//! What runs a connection: hyper's two halves, polled by one task.
//!
//! hyper splits a client connection into a part that takes requests and a part that reads and writes frames, and
//! starts the second as a task. On two threads the two race: a request may be put on a connection in the very
//! instant in which the other half learns of a GOAWAY, and nobody can say afterwards whether it was sent. One task
//! for both settles that (and saves a task switch for each batch of requests).

use std::{
    future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::TaskTracker;

use super::{
    gate::{Gate, Outgoing},
    wire::Wire,
};

/// A future without a type of its own.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The half of a connection that takes requests.
type Requests = http2::Connection<TokioIo<Wire>, Outgoing, Tasks>;

/// Runs a connection until it takes no more requests.
///
/// Dropping it is a graceful end: requests not yet taken are handed back, those under way come to their end in a task
/// of the set, and then the stream is closed.
pub(super) struct Driver {
    requests: Requests,
    frames: Option<Task>,
    goodbye: oneshot::Receiver<()>,
    gate: Arc<Gate>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Driver {
    /// Takes both halves; `frames` is what [`Tasks::take_first`] gave.
    pub(super) fn new(
        requests: Requests,
        frames: Option<Task>,
        goodbye: oneshot::Receiver<()>,
        gate: Arc<Gate>,
        tasks: TaskTracker,
    ) -> Self {
        gate.follow(requests.current_max_send_streams());
        Self { requests, frames, goodbye, gate, tasks, runtime: Handle::current() }
    }

    /// Runs until the peer said goodbye or the stream broke.
    pub(super) async fn run(mut self) {
        future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Requests first, so that what was taken is written in the same turn.
        let mut ended = match Pin::new(&mut self.requests).poll(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "connection broke");
                true
            }
            Poll::Pending => false,
        };
        if self.frames.as_mut().is_some_and(|frames| frames.as_mut().poll(cx).is_ready()) {
            self.frames = None;
            ended = true;
        }
        if ended || Pin::new(&mut self.goodbye).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.gate.follow(self.requests.current_max_send_streams());
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Before the first half is dropped and hands requests back: their callers must not find this gate open.
        self.gate.close();
        if let Some(frames) = self.frames.take() {
            self.tasks.spawn_on(frames, &self.runtime);
        }
    }
}

/// Starts hyper's tasks for one connection, except the first, which is kept for the [`Driver`].
///
/// That the first is the half that reads and writes frames is how hyper is made today. Were it another, or none, the
/// connection would work all the same: what is kept is polled, whatever it is.
#[derive(Clone)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    first: Arc<First>,
}

struct First {
    awaited: AtomicBool,
    task: Mutex<Option<Task>>,
}

impl Tasks {
    /// Begins with no task started; those that will be belong to `tracker`.
    pub(super) fn new(tracker: TaskTracker) -> Self {
        let first = First { awaited: AtomicBool::new(true), task: Mutex::new(None) };
        Self { tracker, first: Arc::new(first) }
    }

    /// Takes the first task, if there was one; from now on all tasks are started.
    pub(super) fn take_first(&self) -> Option<Task> {
        self.first.awaited.store(false, Ordering::Release);
        self.first.task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        // Each call comes by here, so the common case is one load.
        if self.first.awaited.load(Ordering::Acquire) && self.first.awaited.swap(false, Ordering::AcqRel) {
            *self.first.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(task));
        } else {
            // In a box, because a task is moved a dozen times on its way into the runtime and out of it.
            self.tracker.spawn(Box::pin(task));
        }
    }
}
