//! The run of an admitted call. It belongs to the session, not to the request that began it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use http::Request;
use rpc_core::id::CallId;
use rpc_core::policy::MethodPolicy;
use rpc_core::record::Reply;
use rpc_proto::deadline;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use super::super::{BoxFuture, Handler};
use super::recorded;
use super::running::Permit;
use crate::methods::may_stop;
use crate::sessions::Live;

/// A handler at work, until its reply is recorded. `None`: it was stopped.
///
/// It is polled in place, so that the undisturbed call pays for no task. When the request goes away first, it moves to
/// a task of its own: the loss of a connection stops no handler of a protected call.
//= C-18
//= C-35
pub(super) struct Run {
    future: Option<BoxFuture<Option<Reply>>>,
    orphans: TaskTracker,
}

/// One admitted call.
pub(super) struct Admitted {
    pub(super) live: Arc<Live>,
    pub(super) call: CallId,
    pub(super) policy: &'static MethodPolicy,
    pub(super) deadline: Option<Instant>,
    /// Held while the handler runs.
    pub(super) permit: Permit,
}

impl Run {
    pub(super) fn start<S: Handler>(
        admitted: Admitted,
        inner: S,
        request: Request<Body>,
        orphans: TaskTracker,
    ) -> Self {
        // From here on the call is in progress: if the future is dropped at any point, its slot says so.
        let record = Recording { live: admitted.live, call: admitted.call, done: false };
        let stop = may_stop(admitted.policy).then(|| record.live.stoppable(admitted.call));
        let (policy, deadline, permit) = (admitted.policy, admitted.deadline, admitted.permit);
        let handler = deadline::scope(deadline, handle(inner, request));
        let future = async move {
            let _permit = permit;
            let reply = match stop {
                Some(stop) => until_stopped(handler, &stop, deadline).await,
                None => Some(handler.await),
            };
            record.finish(reply, policy)
        };
        Self { future: Some(Box::pin(future)), orphans }
    }
}

/// Runs the handler to the end of its response. A panic ends this call and no other.
async fn handle<S: Handler>(mut inner: S, request: Request<Body>) -> Reply {
    let answer = AssertUnwindSafe(async move {
        match inner.call(request).await {
            Ok(response) => recorded::record(response).await,
            Err(never) => match never {},
        }
    });
    answer.catch_unwind().await.unwrap_or_else(|_| recorded::panicked())
}

//= C-36
//= C-37
//= C-45
async fn until_stopped(
    handler: impl Future<Output = Reply>,
    stop: &CancellationToken,
    deadline: Option<Instant>,
) -> Option<Reply> {
    let late = async {
        match deadline {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        reply = handler => Some(reply),
        () = stop.cancelled() => None,
        () = late => None,
    }
}

impl Future for Run {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut().expect("a future is not polled after it was ready");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Without a runtime there is nobody to go on; `Recording` then tells the slot that the outcome is unknown.
        if let Some(future) = self.future.take()
            && let Ok(runtime) = Handle::try_current()
        {
            self.orphans.spawn_on(future, &runtime);
        }
    }
}

/// Sees to it that a slot hears of the end of its call, in whatever way that comes.
struct Recording {
    live: Arc<Live>,
    call: CallId,
    done: bool,
}

impl Recording {
    fn finish(mut self, reply: Option<Reply>, policy: &MethodPolicy) -> Option<Reply> {
        let kept = reply.clone()?;
        self.done = true;
        let (call, bound) = (self.call, policy.reply_bytes_max);
        self.live.finished(call, reply.as_ref(), |session| session.complete(call, kept, bound));
        reply
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.done {
            let call = self.call;
            self.live.finished(call, None, |session| session.abandon(call));
        }
    }
}
