//! The run of an admitted call. It belongs to the session, not to the request that began it.

use std::future::{Future, pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use http::Request;
use rpc_core::error::{Code, Reason};
use rpc_core::id::CallId;
use rpc_core::policy::{Delivery, MethodPolicy};
use rpc_core::record::Reply;
use rpc_core::session::Session;
use rpc_core::transaction::Transaction as Effects;
use rpc_proto::deadline;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use super::super::Handler;
use super::in_place::InPlace;
use super::recorded;
use super::request::Whole;
use super::running::Permit;
use crate::methods::may_stop;
use crate::sessions::ends::SessionEnd;
use crate::sessions::exclusive::Turn;
use crate::sessions::{Live, Recorded, Recording, Values};
use crate::transaction::Transaction;

/// How often a handler runs whose transactions are refused, before its call ends with TRANSACTION_CONFLICT. One of those
/// that meet is committed each time, so this many have to be faster.
const TRANSACTION_TRIES_MAX: u32 = 1_024;

/// A handler at work, until its reply may be answered. When the request goes away first, it goes on: the loss of a
/// connection stops no handler of a protected call.
//= C-18
//= C-35
pub(super) struct Run(InPlace<Ran>);

/// How a run ended.
pub(super) enum Ran {
    /// With a reply that is recorded.
    Replied(Reply),
    /// It was stopped.
    Stopped,
    /// The store did not keep what its answer rests on.
    NotRecorded(Reason),
}

/// One admitted call.
pub(super) struct Admitted {
    pub(super) live: Arc<Live>,
    pub(super) call: CallId,
    pub(super) policy: &'static MethodPolicy,
    pub(super) deadline: Option<Instant>,
    /// Held while the handler runs.
    pub(super) permit: Permit,
    /// Its exclusive class, held until the call is over.
    pub(super) turn: Option<Turn>,
    /// The handler waits for this record.
    pub(super) intent: Option<Recording>,
    /// Where its transaction is kept.
    pub(super) values: Values,
}

impl Run {
    pub(super) fn start<S: Handler>(
        admitted: Admitted,
        inner: S,
        request: Box<Whole>,
        orphans: TaskTracker,
    ) -> Self {
        let Admitted { live, call, policy, deadline, permit, turn, intent, values } = admitted;
        // From here on the call is in progress: if the future is dropped at any point, its slot says so.
        let settling = Settling { live, call, policy, done: false };
        let stop = may_stop(policy).then(|| settling.live.stoppable(call));
        let ended = turn.is_some().then(|| settling.live.ended());
        let future = async move {
            let (_permit, _turn) = (permit, turn);
            if let Some(intent) = intent
                && let Recorded::No(reason) = intent.wait().await
            {
                return settling.not_begun(reason);
            }
            let until = Until { stop, deadline, ended };
            match policy.delivery {
                Delivery::ExactlyOnce => transact(settling, &until, inner, &request, &values).await,
                Delivery::Plain | Delivery::AtLeastOnce | Delivery::AtMostOnce => {
                    let Some(reply) = until.run(handle(inner, request.into_request())).await else {
                        return settling.stopped();
                    };
                    settling.reply(reply).await
                }
            }
        };
        Self(InPlace::new(future, orphans))
    }
}

/// Runs the handler until its transaction is committed with its reply.
//= C-54
async fn transact<S: Handler>(
    mut settling: Settling,
    until: &Until,
    mut inner: S,
    request: &Whole,
    values: &Values,
) -> Ran {
    for _ in 0..TRANSACTION_TRIES_MAX {
        let transaction = Transaction::new(values.clone());
        let mut request = request.clone().into_request();
        request.extensions_mut().insert(transaction.clone());
        match poll_fn(|cx| inner.poll_ready(cx)).await {
            Ok(()) => {}
            Err(never) => match never {},
        }
        let Some(reply) = until.run(handle(inner.clone(), request)).await else { return settling.stopped() };
        let mut effects = transaction.end();
        if reply.code != Code::Ok as u8 {
            effects.forget_writes();
        }
        match settling.commit(&reply, effects).await {
            Recorded::Yes => return Ran::Replied(reply),
            Recorded::Again => {}
            Recorded::No(reason) => return Ran::NotRecorded(reason),
        }
    }
    settling.reply(recorded::conflicted()).await
}

/// When a handler is dropped before its end.
struct Until {
    stop: Option<CancellationToken>,
    deadline: Option<Instant>,
    /// The end of the session, of a call that has an exclusive class.
    ended: Option<watch::Receiver<Option<SessionEnd>>>,
}

impl Until {
    /// `None`: it was stopped.
    //= C-36
    //= C-37
    //= C-45
    //= D-43
    async fn run(&self, handler: impl Future<Output = Reply>) -> Option<Reply> {
        let handler = deadline::scope(self.deadline, handler);
        if self.stop.is_none() && self.ended.is_none() {
            return Some(handler.await);
        }
        let stopped = async {
            let Some(stop) = &self.stop else { return pending().await };
            let late = async {
                match self.deadline {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = late => {}
            }
        };
        let ended = async {
            let Some(mut ended) = self.ended.clone() else { return pending().await };
            // The session outlives its handlers, so there is an end to be told.
            let _ = ended.wait_for(Option::is_some).await;
        };
        tokio::select! {
            reply = handler => Some(reply),
            () = stopped => None,
            () = ended => None,
        }
    }
}

/// Runs the handler to the end of its response. A panic ends this call and no other.
///
/// In a box: each of the futures around it would have room for it twice, some kilobytes for each call.
fn handle<S: Handler>(mut inner: S, request: Request<Body>) -> impl Future<Output = Reply> + Send {
    let answer = Box::pin(async move {
        match inner.call(request).await {
            Ok(response) => recorded::record(response).await,
            Err(never) => match never {},
        }
    });
    AssertUnwindSafe(answer).catch_unwind().map(|answer| answer.unwrap_or_else(|_| recorded::panicked()))
}

impl Future for Run {
    type Output = Ran;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Sees to it that a slot hears of the end of its call, in whatever way that comes.
struct Settling {
    live: Arc<Live>,
    call: CallId,
    policy: &'static MethodPolicy,
    done: bool,
}

impl Settling {
    /// The store did not hear of the call: its slot knows.
    fn not_begun(mut self, reason: Reason) -> Ran {
        self.done = true;
        self.live.finished(self.call, None, |_| {});
        Ran::NotRecorded(reason)
    }

    /// The handler was stopped, and will not be called again.
    fn stopped(mut self) -> Ran {
        self.done = true;
        let call = self.call;
        self.live.finished(call, None, |session| session.stopped(call));
        Ran::Stopped
    }

    async fn reply(mut self, reply: Reply) -> Ran {
        self.done = true;
        let (call, bound, kept) = (self.call, self.policy.reply_bytes_max, reply.clone());
        match self.live.replied(call, &reply, |session| session.complete(call, kept, bound)).await {
            Recorded::Yes | Recorded::Again => Ran::Replied(reply),
            Recorded::No(reason) => Ran::NotRecorded(reason),
        }
    }

    async fn commit(&mut self, reply: &Reply, effects: Effects) -> Recorded {
        self.done = true;
        let (call, bound, kept) = (self.call, self.policy.reply_bytes_max, reply.clone());
        let complete = |session: &mut Session| session.complete_with(call, kept, bound, effects);
        let recorded = self.live.replied(call, reply, complete).await;
        self.done = recorded != Recorded::Again;
        recorded
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if !self.done {
            let call = self.call;
            self.live.finished(call, None, |session| session.abandon(call));
        }
    }
}
