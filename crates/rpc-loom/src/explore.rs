//! Runs a model, and its tasks.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use loom::model::Builder;
use loom::sync::Notify;
use loom::thread::JoinHandle;

/// How often a thread loses its processor where it need not. Most races need one or two.
const PREEMPTIONS_MAX: usize = 3;

/// Runs `model` once for each order of its threads' steps, and says how many there were.
///
/// `LOOM_MAX_PREEMPTIONS` takes the place of the default bound of three.
///
/// # Panics
///
/// Where the model does, and where threads wait for each other for ever.
pub fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) -> u64 {
    explore_within(PREEMPTIONS_MAX, name, model)
}

/// As [`explore`], for a model that takes too long with the default bound.
///
/// # Panics
///
/// As there.
pub fn explore_within(preemptions_max: usize, name: &str, model: impl Fn() + Send + Sync + 'static) -> u64 {
    let orders = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = Builder::new();
    builder.max_branches = 10_000;
    builder.preemption_bound.get_or_insert(preemptions_max);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let orders = orders.load(Ordering::Relaxed);
    report(name, orders);
    orders
}

#[expect(clippy::print_stdout, reason = "the figures of docs/proof.md")]
fn report(name: &str, orders: u64) {
    println!("{name}: {orders} orders");
}

/// Wakes a thread of the model.
///
/// loom's own `block_on` counts its wakers with steps of loom, and tokio clones wakers under its locks, where there must be
/// none.
struct Parked(Notify);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// A thread of the model that is a task.
pub(crate) struct Task(Arc<Parked>);

impl Task {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Parked(Notify::new())))
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Polls once.
    pub(crate) fn poll<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(&self.waker()))
    }

    /// Waits until it is woken.
    pub(crate) fn park(&self) {
        self.0.0.wait();
    }
}

/// Runs a future to its end on this thread. A wake-up that is lost is a deadlock, which loom finds.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let task = Task::new();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = task.poll(&mut future) {
            return output;
        }
        task.park();
    }
}

/// Waits for the end of threads.
pub(crate) fn joined<const N: usize>(threads: [JoinHandle<()>; N]) {
    for thread in threads {
        assert!(thread.join().is_ok(), "a thread panicked");
    }
}
