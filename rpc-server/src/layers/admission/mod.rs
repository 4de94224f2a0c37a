//! Whether a call runs: slots and their records for protected calls, a bound on how many run for all.

mod exclusive;
mod in_place;
pub(crate) mod recorded;
mod replay;
mod request;
mod run;
mod running;
mod stream;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{CallAttempt, Fingerprint};
use rpc_core::policy::MethodPolicy;
use rpc_core::record::ActivityRecord;
use rpc_core::session::{Admission, Admit, Keeping, Session, refused_before_admission};
use rpc_proto::deadline;
use rpc_proto::headers::Answered;
use rpc_proto::status::Refusal;
use tokio::time::Instant;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::deadline::exceeded;
use super::{GateFuture, Handler, refuse};
use crate::context::{DeadMan, Deadline, Seen, SessionContext};
use crate::sessions::exclusive::Turn;
use crate::sessions::{Live, Recording, Sessions};
use exclusive::{Halted, Standing};
use request::Whole;
use run::{Admitted, Ran, Run};
use running::{Permit, Running};

/// Admits protected calls by the rules of slots, and lets the others pass.
#[derive(Clone)]
pub struct AdmissionLayer {
    sessions: Arc<Sessions>,
    running: Running,
    message_bytes_max: usize,
}

impl AdmissionLayer {
    /// A layer that lets `calls_max` calls run at the same time and reads protected requests of up to
    /// `message_bytes_max`.
    pub(crate) fn new(sessions: Arc<Sessions>, calls_max: usize, message_bytes_max: usize) -> Self {
        Self { sessions, running: Running::new(calls_max), message_bytes_max }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = WithAdmission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithAdmission { inner, layer: Arc::new(self.clone()) }
    }
}

/// The service of [`AdmissionLayer`].
#[derive(Clone)]
pub struct WithAdmission<S> {
    inner: S,
    /// Shared, since each request has a clone of this service.
    layer: Arc<AdmissionLayer>,
}

impl<S: Handler> Service<Request<Body>> for WithAdmission<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = GateFuture<Counted<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let policy = request.extensions().get::<Seen>().and_then(|seen| seen.policy);
        if let Some(refusal) = stream::is_misplaced(&request, policy) {
            return GateFuture::refused(refuse(refusal, policy, &request));
        }
        let Some(policy) = policy else { return self.plain(request) };
        let exclusive = policy.exclusive.as_ref();
        let is_plain = !policy.is_protected() && !stream::resumes(policy, &request);
        if is_plain && exclusive.is_none() {
            return self.plain(request);
        }
        // The service that is ready is the one to use; the clone takes its place.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let layer = Arc::clone(&self.layer);
        // Each in a future of its own: one for all would be as large as the largest, for each call.
        if let Some(exclusive) = exclusive.filter(|_| is_plain) {
            return GateFuture::deciding(async move {
                Ok(layer.plain_in_turn(inner, policy, exclusive, request).await)
            });
        }
        let (context, attempt) = match named(&request) {
            Ok(named) => named,
            Err(refusal) => return GateFuture::refused(refusal.outcome(Outcome::NotExecuted)),
        };
        if policy.kind.streams() {
            let live = Arc::clone(context.live());
            let fingerprint = stream::stream_fingerprint(&request);
            let keeping = stream::keeping(policy, live.agreement());
            let call = Protected { attempt, policy, fingerprint, keeping, live };
            return GateFuture::deciding(
                async move { Ok(layer.stream(inner, request, &context, call).await) },
            );
        }
        GateFuture::deciding(
            async move { Ok(layer.protected(inner, policy, request, context, attempt).await) },
        )
    }
}

/// The session and the name of a protected call.
//= C-2
fn named(request: &Request<Body>) -> Result<(SessionContext, CallAttempt), Refusal> {
    let context = request.extensions().get::<SessionContext>().cloned();
    let context =
        context.ok_or_else(|| Refusal::new(Reason::LayerMissing, "the layer SessionLayer is missing"))?;
    let attempt = context
        .attempt()
        .ok_or_else(|| Refusal::new(Reason::CallIdRequired, "this method needs the header `session-call`"))?;
    Ok((context, attempt))
}

impl<S: Handler> WithAdmission<S> {
    fn plain(&mut self, request: Request<Body>) -> GateFuture<Counted<S::Future>> {
        let extensions = request.extensions();
        let counts = extensions.get::<Seen>().is_some_and(|seen| !seen.is_upkeep);
        let permit = if counts { self.layer.running.enter() } else { None };
        if counts && permit.is_none() {
            return GateFuture::refused(self.layer.exhausted());
        }
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let future = deadline::scope(deadline, self.inner.call(request));
        GateFuture::passed(Counted { future, permit })
    }
}

impl AdmissionLayer {
    //= C-48
    fn exhausted(&self) -> Refusal {
        let text = format!("{} calls run, which is the bound", self.running.max());
        Refusal::new(Reason::CallsExhausted, text).retry_after(std::time::Duration::from_secs(1))
    }

    async fn protected<S: Handler>(
        &self,
        inner: S,
        policy: &'static MethodPolicy,
        request: Request<Body>,
        context: SessionContext,
        attempt: CallAttempt,
    ) -> Response<Body> {
        match request::read_whole(request, self.message_bytes_max).await {
            Ok((request, fingerprint)) => {
                let live = Arc::clone(context.live());
                let call = Protected { attempt, policy, fingerprint, keeping: Keeping::of(policy), live };
                self.admit(call, inner, request).await
            }
            Err(refusal) => answer(refusal.outcome(refused_before_admission(attempt.attempt))),
        }
    }

    async fn admit<S: Handler>(&self, call: Protected, inner: S, request: Box<Whole>) -> Response<Body> {
        let mut attached = None;
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let mut standing = Standing::new(deadline);
        let moved = call.live.moved();
        let mut waiting = std::pin::pin!(moved.notified());
        loop {
            // What is told from its making on reaches `waiting`, so an end after the question is not missed.
            let permit = self.running.enter();
            match (self.ask(&call, permit.is_some(), &mut standing), permit) {
                (Ok((Admission::Run | Admission::RunWhenRecorded, intent)), Some(permit)) => {
                    let admitting = Admitting { permit, intent, turn: standing.turn, deadline };
                    return self.run(&call, admitting, inner, request).await;
                }
                (Ok((Admission::Run | Admission::RunWhenRecorded, _)), None) => {
                    unreachable!("a call that is to run and has no place was refused")
                }
                //= C-9
                (Ok((Admission::Attach, _)), permit) => {
                    drop(permit);
                    if attached.is_none() {
                        // Lower attempts that wait find out that they are fenced.
                        //= C-13
                        moved.notify_waiters();
                        attached = Some(call.live.reply_of(call.attempt.call));
                    }
                    waiting.as_mut().await;
                    waiting.set(moved.notified());
                }
                (Ok((Admission::Replay(reply), _)), _) => {
                    let answered = if attached.is_some() { Answered::Attached } else { Answered::Replayed };
                    return recorded::respond(reply, answered);
                }
                (Ok((Admission::ReplyDropped(status), _)), _) => {
                    //= C-16
                    let whole = attached.flatten().and_then(|reply| reply.borrow().clone());
                    return match whole {
                        Some(reply) => recorded::respond(reply, Answered::Attached),
                        None => recorded::dropped(&status),
                    };
                }
                (Ok((Admission::Unknown, _)), _) => return unknown(),
                (Err(Halted::Refused(refusal)), _) => return answer(refusal),
                (Err(Halted::Waits(waiter)), permit) => {
                    // What waits takes no place among those that run.
                    drop(permit);
                    if let Err(refusal) = standing.wait(&call, waiter).await {
                        return answer(refusal);
                    }
                }
            }
        }
    }

    /// Without a place only what starts nothing is judged: attempts of calls that run or ran are answered at the bound
    /// too.
    //= C-6
    fn ask(
        &self,
        call: &Protected,
        has_place: bool,
        standing: &mut Standing,
    ) -> Result<(Admission, Option<Recording>), Halted> {
        call.live.admit(call.attempt.call, |session| self.judge(session, call, has_place, standing, None))
    }

    /// `activity` is what the store is to know of the one that the call works on.
    fn judge(
        &self,
        session: &mut Session,
        call: &Protected,
        has_place: bool,
        standing: &mut Standing,
        activity: Option<Box<ActivityRecord>>,
    ) -> Result<Admission, Halted> {
        let Protected { attempt, policy, fingerprint, keeping, .. } = *call;
        let (streams, cancellation) = (policy.kind.streams(), policy.cancellation);
        let admit = Admit { attempt, fingerprint, streams, cancellation, keeping };
        let may_start = session.may_start(attempt.call);
        let outcome = refused_before_admission(attempt.attempt);
        //= C-49
        if may_start && self.sessions.is_draining() {
            let refusal = Refusal::new(Reason::Draining, "the server is draining; call another");
            return Err(refusal.outcome(outcome).into());
        }
        if may_start && !has_place {
            return Err(self.exhausted().outcome(outcome).into());
        }
        self.take_turn(session, call, &admit, standing)?;
        session.admit_working(admit, activity).map_err(|error| {
            let outcome = error.outcome(attempt.attempt);
            Refusal::new(error.reason(), error.to_string()).outcome(outcome).into()
        })
    }

    async fn run<S: Handler>(
        &self,
        call: &Protected,
        admitting: Admitting,
        inner: S,
        mut request: Box<Whole>,
    ) -> Response<Body> {
        let Admitting { permit, intent, turn, deadline } = admitting;
        if let Some(switch) = DeadMan::of(call.policy, &call.live) {
            request.extensions_mut().insert(switch);
        }
        let admitted = Admitted {
            live: Arc::clone(&call.live),
            call: call.attempt.call,
            policy: call.policy,
            deadline,
            permit,
            turn,
            intent,
            values: self.sessions.values().clone(),
        };
        let run = Run::start(admitted, inner, request, self.sessions.orphans().clone());
        match run.await {
            Ran::Replied(reply) => recorded::respond(reply, Answered::New),
            Ran::Stopped => stopped(deadline),
            Ran::NotRecorded(reason) => answer(not_recorded(reason)),
        }
    }
}

pin_project! {
    /// The future of a plain call, with its place among the running ones. Health, reflection and the session service
    /// take none.
    pub struct Counted<F> {
        #[pin]
        future: deadline::Scoped<F>,
        permit: Option<Permit>,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// What comes with the admission of a call of one message.
struct Admitting {
    permit: Permit,
    intent: Option<Recording>,
    turn: Option<Turn>,
    deadline: Option<Instant>,
}

/// A protected call that asks to run.
struct Protected {
    live: Arc<Live>,
    attempt: CallAttempt,
    policy: &'static MethodPolicy,
    fingerprint: Fingerprint,
    keeping: Keeping,
}

fn answer(refusal: Refusal) -> Response<Body> {
    refusal.into_status().into_http()
}

/// The handler was stopped, by its deadline or by a cancel.
fn stopped(deadline: Option<Instant>) -> Response<Body> {
    // The timer of the layer around this one fires at the same moment, and either may be seen first.
    //= C-43
    if deadline.is_some_and(|at| at <= Instant::now()) { exceeded(true).into_http() } else { unknown() }
}

/// The store did not keep what the answer rests on: nobody knows whether it will find it there when it is opened again.
fn not_recorded(reason: Reason) -> Refusal {
    let text = "the store could not keep the record of the call";
    let refusal = Refusal::new(reason, text).outcome(Outcome::Unknown);
    if reason == Reason::StoreUnavailable {
        refusal.retry_after(std::time::Duration::from_secs(1))
    } else {
        refusal
    }
}

fn unknown() -> Response<Body> {
    let text = "the call was begun, and nobody knows how far it came";
    answer(Refusal::new(Reason::OutcomeUnknown, text).outcome(Outcome::Unknown))
}
