//! Work that is done where it was asked for, and goes on elsewhere when nobody asks any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::{Handle, TaskTracker};

/// A future that is polled in place, so that the undisturbed call pays for no task. Dropped before its end, it moves to a
/// task of its own.
pub(super) struct InPlace<T: Send + 'static> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    orphans: TaskTracker,
}

impl<T: Send + 'static> InPlace<T> {
    /// `orphans` has the task.
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static, orphans: TaskTracker) -> Self {
        Self { future: Some(Box::pin(future)), orphans }
    }
}

impl<T: Send + 'static> Future for InPlace<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let future = self.future.as_mut().expect("a future is not polled after it was ready");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for InPlace<T> {
    fn drop(&mut self) {
        // Without a runtime there is nobody to go on, and the future hears of its end by being dropped.
        if let Some(future) = self.future.take()
            && let Ok(runtime) = Handle::try_current()
        {
            self.orphans.spawn_on(future, &runtime);
        }
    }
}
