//! What a session does by itself: it keeps its lease and authority, ties its connections to itself, settles calls that
//! were given up, and finds out how far the slots are of a process before this one.

pub(crate) mod attach;
mod release;
pub(crate) mod renew;
mod resolve;
pub(crate) mod settle;
mod watch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::Core;
use crate::state::State;

/// The tasks of one session. Dropped, it tells them to stop.
pub(crate) struct Keeper {
    stop: CancellationToken,
    tasks: TaskTracker,
    state: tokio::sync::watch::Receiver<State>,
}

impl Keeper {
    /// Starts the tasks.
    pub(crate) fn start(core: &Arc<Core>) -> Self {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (state, observed) = watch::channel(core);
        let renewing = renew::run(core.clone());
        let settling = settle::run(core.clone());
        let resolving = resolve::run(core.clone());
        let attaching = attach::run(core.clone());
        let watching = watch::run(core.clone(), state);
        let releasing = release::run(core.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(renewing));
        tasks.spawn(stop.clone().run_until_cancelled_owned(settling));
        tasks.spawn(stop.clone().run_until_cancelled_owned(resolving));
        tasks.spawn(stop.clone().run_until_cancelled_owned(attaching));
        tasks.spawn(stop.clone().run_until_cancelled_owned(watching));
        tasks.spawn(stop.clone().run_until_cancelled_owned(releasing));
        Self { stop, tasks, state: observed }
    }

    /// The state of the session and its connections.
    pub(crate) fn state(&self) -> tokio::sync::watch::Receiver<State> {
        self.state.clone()
    }

    /// Runs a task of a call, which ends by itself and soon after [`stopping`](Self::stopping).
    pub(crate) fn own(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Cancelled when the tasks are to end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Stops the tasks and waits for their end.
    ///
    /// # Cancel safety
    ///
    /// They stop either way.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
