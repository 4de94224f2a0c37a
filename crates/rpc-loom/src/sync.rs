//! By what the included files wait: loom's mutex, and tokio's own channels, each call of which is a step that loom knows.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};
use loom::thread::JoinHandle;
use tokio::time::Instant;

use crate::explore::block_on;

/// One thing of tokio's. Steps of different threads on the same thing are tried in either order.
#[derive(Clone, Debug)]
struct Thing(Arc<AtomicUsize>);

impl Thing {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    /// What follows, until the thread takes its next step, is one with this.
    fn step(&self) {
        // A model that failed is torn down where loom is no longer there.
        if !std::thread::panicking() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A future of tokio's: each poll is a step, and so is its drop.
#[derive(Debug)]
pub(crate) struct Stepped<F> {
    future: Pin<Box<F>>,
    thing: Thing,
}

impl<F> Stepped<F> {
    fn new(thing: &Thing, future: F) -> Self {
        Self { future: Box::pin(future), thing: thing.clone() }
    }
}

impl<F: Future> Future for Stepped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.thing.step();
        self.future.as_mut().poll(cx)
    }
}

impl<F> Drop for Stepped<F> {
    fn drop(&mut self) {
        self.thing.step();
    }
}

#[derive(Debug)]
pub(crate) struct Notify {
    tokio: tokio::sync::Notify,
    thing: Thing,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self { tokio: tokio::sync::Notify::new(), thing: Thing::new() }
    }

    pub(crate) fn notified(&self) -> Stepped<tokio::sync::futures::Notified<'_>> {
        self.thing.step();
        Stepped::new(&self.thing, self.tokio.notified())
    }

    pub(crate) fn notify_one(&self) {
        self.thing.step();
        self.tokio.notify_one();
    }

    pub(crate) fn notify_waiters(&self) {
        self.thing.step();
        self.tokio.notify_waiters();
    }
}

#[derive(Debug)]
pub(crate) struct Semaphore {
    tokio: tokio::sync::Semaphore,
    thing: Thing,
}

impl Semaphore {
    pub(crate) fn new(permits: usize) -> Self {
        Self { tokio: tokio::sync::Semaphore::new(permits), thing: Thing::new() }
    }

    pub(crate) fn try_acquire(&self) -> Result<Permit<'_>, tokio::sync::TryAcquireError> {
        self.thing.step();
        Ok(self.permit(self.tokio.try_acquire()?))
    }

    pub(crate) async fn acquire(&self) -> Result<Permit<'_>, tokio::sync::AcquireError> {
        Ok(self.permit(Stepped::new(&self.thing, self.tokio.acquire()).await?))
    }

    pub(crate) fn add_permits(&self, count: usize) {
        self.thing.step();
        self.tokio.add_permits(count);
    }

    pub(crate) fn close(&self) {
        self.thing.step();
        self.tokio.close();
    }

    fn permit<'a>(&'a self, permit: tokio::sync::SemaphorePermit<'a>) -> Permit<'a> {
        Permit { permit, thing: &self.thing }
    }
}

pub(crate) struct Permit<'a> {
    permit: tokio::sync::SemaphorePermit<'a>,
    thing: &'a Thing,
}

impl Permit<'_> {
    pub(crate) fn forget(mut self) {
        self.thing.step();
        if let Some(mine) = self.permit.split(1) {
            mine.forget();
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.thing.step();
    }
}

/// Time does not pass in a model.
pub(crate) async fn timeout_at<F: Future>(_: Instant, future: F) -> Result<F::Output, Infallible> {
    Ok(future.await)
}

pub(crate) mod oneshot {
    use super::{Stepped, Thing};

    pub(crate) type Receiver<T> = Stepped<tokio::sync::oneshot::Receiver<T>>;

    #[derive(Debug)]
    pub(crate) struct Sender<T> {
        tokio: tokio::sync::oneshot::Sender<T>,
        thing: Thing,
    }

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let thing = Thing::new();
        let receiver = Stepped::new(&thing, receiver);
        (Sender { tokio: sender, thing }, receiver)
    }

    impl<T> Sender<T> {
        pub(crate) fn send(self, value: T) -> Result<(), T> {
            self.thing.step();
            self.tokio.send(value)
        }
    }
}

pub(crate) mod watch {
    use tokio::sync::watch;
    use tokio::sync::watch::error::RecvError;

    use super::{Stepped, Thing};

    pub(crate) struct Sender<T> {
        tokio: watch::Sender<T>,
        thing: Thing,
    }

    pub(crate) struct Receiver<T> {
        tokio: watch::Receiver<T>,
        thing: Thing,
    }

    pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let sender = Sender::new(value);
        let receiver = sender.subscribe();
        (sender, receiver)
    }

    impl<T> Sender<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { tokio: watch::Sender::new(value), thing: Thing::new() }
        }

        pub(crate) fn subscribe(&self) -> Receiver<T> {
            self.thing.step();
            Receiver { tokio: self.tokio.subscribe(), thing: self.thing.clone() }
        }

        pub(crate) fn receiver_count(&self) -> usize {
            self.thing.step();
            self.tokio.receiver_count()
        }

        pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
            self.thing.step();
            self.tokio.send_if_modified(modify)
        }

        pub(crate) fn send_replace(&self, value: T) -> T {
            self.thing.step();
            self.tokio.send_replace(value)
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.thing.step();
        }
    }

    impl<T: Clone> Receiver<T> {
        pub(crate) fn latest(&mut self) -> T {
            self.thing.step();
            self.tokio.borrow_and_update().clone()
        }

        pub(crate) async fn changed(&mut self) -> Result<(), RecvError> {
            Stepped::new(&self.thing, self.tokio.changed()).await
        }
    }
}

/// Stands for the runtime.
pub(crate) struct Handle;

impl Handle {
    pub(crate) fn try_current() -> Result<Self, Infallible> {
        Ok(Self)
    }
}

/// Runs each task on a thread of its own.
#[derive(Clone, Default)]
pub(crate) struct TaskTracker(Arc<std::sync::Mutex<Vec<JoinHandle<()>>>>);

impl TaskTracker {
    pub(crate) fn spawn_on<F: Future + 'static>(&self, future: F, _: &Handle) {
        let task = loom::thread::spawn(move || drop(block_on(future)));
        self.tasks().push(task);
    }

    /// Waits for the end of all tasks.
    pub(crate) fn join(&self) {
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            assert!(task.join().is_ok(), "a task panicked");
        }
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
