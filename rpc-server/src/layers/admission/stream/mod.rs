//! Streams that outlive their connection: the handler belongs to the session, and each attempt is joined to it.

mod again;
mod answering;
mod beginning;
mod ending;
mod handler;
mod joining;
mod storing;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{Attempt, CallAttempt, CallId, Fingerprint};
use rpc_core::negotiate::{Agreement, Unit};
use rpc_core::policy::{MethodKind, MethodPolicy};
use rpc_core::session::{Admission, Keeping, Session, refused_before_admission};
use rpc_core::stream::error::AttemptError;
use rpc_core::stream::position::Position;
use rpc_core::stream::resume::Resume;
use rpc_flow::{Checkpoints, Frames, Stream, View};
use rpc_proto::headers::{Answered, SESSION_ACTIVITY, SESSION_OUTCOME};
use rpc_proto::status::Refusal;
use tokio::time::Instant;
use tonic::body::Body;

use super::exclusive::{Halted, Standing};
use super::request::fingerprint;
use super::running::Permit;
use super::{AdmissionLayer, Protected, answer, recorded, unknown};
use crate::context::{DeadMan, Deadline, SessionContext};
use crate::layers::Handler;
use crate::methods::streams_durably;
use crate::sessions::exclusive::Turn;
use crate::sessions::streams::Found;
use crate::sessions::{AdmittedStream, Live, Recording};
use beginning::{Begun, Needs};
use handler::Handling;
use joining::{Joining, dialog_required, invalid, unit_unsupported};

/// Whether a call without a promise of its own is to be resumed: its method has checkpoints, its session has agreed on
/// that, and it says which call it is. Any other call of the method is plain gRPC.
pub(super) fn resumes(policy: &MethodPolicy, request: &Request<Body>) -> bool {
    policy.checkpoint.is_some()
        && request.extensions().get::<SessionContext>().is_some_and(|context| {
            context.attempt().is_some() && context.agreement().units.contains(Unit::Resume)
        })
}

/// What a call asks for, or its method does, that only a stream with checkpoints has: it would begin where it must not, or
/// speak out of turn.
pub(super) fn is_misplaced(request: &Request<Body>, policy: Option<&MethodPolicy>) -> Option<Refusal> {
    let joins =
        |policy: &&MethodPolicy| policy.kind.streams() && policy.is_protected() || resumes(policy, request);
    if policy.as_ref().is_some_and(joins) {
        return None;
    }
    if let Some(policy) = policy.filter(|policy| policy.half_duplex) {
        let context = request.extensions().get::<SessionContext>();
        let unit_off = context.and_then(|context| context.agreement().units.takes_turns(policy).err());
        return Some(unit_off.map_or_else(dialog_required, unit_unsupported));
    }
    let text = "header `session-activity-bin` is for streams with checkpoints";
    request.headers().contains_key(&SESSION_ACTIVITY).then(|| invalid(text))
}

/// Where the record of a call that streams is kept.
pub(super) fn keeping(policy: &MethodPolicy, agreement: &Agreement) -> Keeping {
    let units = agreement.units;
    if streams_durably(policy) && units.contains(Unit::Durable) && units.contains(Unit::Resume) {
        return Keeping::Stream;
    }
    match Keeping::of(policy) {
        // What its caller has sent is not there to be read again.
        Keeping::Store { .. } => Keeping::Store { idempotent: false },
        keeping @ (Keeping::Memory | Keeping::Stream | Keeping::Transaction) => keeping,
    }
}

impl AdmissionLayer {
    /// Answers an attempt of a call that streams: begins it, or joins it to the run that there is.
    //= S-13
    //= S-27
    pub(super) async fn stream<S: Handler>(
        &self,
        inner: S,
        request: Request<Body>,
        context: &SessionContext,
        call: Protected,
    ) -> Response<Body> {
        let number = call.attempt.attempt;
        let agreement = Arc::clone(context.live().agreement());
        let joining = match self.parse(&request, &agreement, call.policy, number) {
            Ok(joining) => joining,
            Err(refusal) => {
                let refused = answer(refusal.outcome(refused_before_admission(number)));
                return self.instead(request, &agreement, refused);
            }
        };
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let asked = match self.ask_for_stream(&call, &joining, deadline).await {
            Ok(asked) => asked,
            Err(refusal) => return self.instead(request, &agreement, answer(refusal)),
        };
        let Asked { admitted: AdmittedStream { admission, found, recording }, begun, permit, turn } = asked;
        match (admission, begun, found) {
            (Admission::Replay(reply), Some(begun), _) => {
                // A stream with a dialog takes nothing before it has heard of its peer, in the attempt that joins it. The task
                // ends with that, or with the session.
                let stream = begun.stream.clone();
                self.sessions.orphans().spawn(async move { again::answer(&stream, &reply).await });
                let from = joining.from(Position::ORIGIN);
                self.join(Joined::new(&call), &begun.stream, from, request, Answered::Replayed)
            }
            (_, Some(begun), _) => {
                let run = Starting { call, permit, turn, intent: recording, begun };
                self.begin(inner, run, &joining, request)
            }
            (admission, None, Some(Found::Stream(stream, told))) => {
                drop(permit);
                self.join_again(&call, admission, &stream, told, &joining, request).await
            }
            //= C-26
            (_, None, Some(Found::GivenUp(status))) => self.instead(request, &agreement, told(*status)),
            (Admission::Replay(reply), None, _) => {
                self.instead(request, &agreement, recorded::respond(reply, Answered::Replayed))
            }
            (Admission::ReplyDropped(reply), None, _) => {
                self.instead(request, &agreement, recorded::dropped(&reply))
            }
            (_, None, _) => self.instead(request, &agreement, unknown()),
        }
    }

    /// Asks for the admission of an attempt, and waits for the turn of one that would run.
    async fn ask_for_stream(
        &self,
        call: &Protected,
        joining: &Joining,
        deadline: Option<Instant>,
    ) -> Result<Asked, Refusal> {
        let mut standing = Standing::new(deadline);
        loop {
            let permit = self.running.enter();
            let mut begun = None;
            let judged = call.live.admit_stream(call.attempt.call, |session, found| {
                let (admission, needs) =
                    self.judge_stream(session, call, joining, permit.is_some(), &mut standing, found)?;
                let Some(needs) = needs else { return Ok((admission, None)) };
                let (new, working) = needs.begin(call, self.message_bytes_max);
                begun = Some(Begun { stream: new.stream.clone(), working });
                Ok((admission, Some(new)))
            });
            match judged {
                Ok(admitted) => return Ok(Asked { admitted, begun, permit, turn: standing.turn }),
                Err(Halted::Refused(refusal)) => return Err(refusal),
                Err(Halted::Waits(waiter)) => {
                    // What waits takes no place among those that run.
                    drop(permit);
                    standing.wait(call, waiter).await?;
                }
            }
        }
    }

    fn judge_stream(
        &self,
        session: &mut Session,
        call: &Protected,
        joining: &Joining,
        has_place: bool,
        standing: &mut Standing,
        found: Option<&Found>,
    ) -> Result<(Admission, Option<Needs<'_>>), Halted> {
        let may_start = session.may_start(call.attempt.call);
        let needs = if may_start { Some(self.look(session, call, joining, found)?) } else { None };
        let activity = needs.as_ref().and_then(|needs| needs.activity(call));
        let admission = self.judge(session, call, has_place, standing, activity)?;
        let needs = match &admission {
            Admission::Run | Admission::RunWhenRecorded => needs,
            Admission::Replay(reply) if found.is_none() && joining.frames == Frames::On => {
                again::needs(self, session, call, reply)?
            }
            _ => None,
        };
        Ok((admission, needs))
    }

    fn parse(
        &self,
        request: &Request<Body>,
        agreement: &Agreement,
        policy: &MethodPolicy,
        number: Attempt,
    ) -> Result<Joining, Refusal> {
        //= O-21
        if !agreement.units.contains(Unit::Resume) {
            return Err(unit_unsupported(Unit::Resume));
        }
        let joining = Joining::parse(request.headers(), number)?;
        if joining.activity.is_some() && !agreement.units.contains(Unit::Activity) {
            return Err(unit_unsupported(Unit::Activity));
        }
        //= O-27
        let takes_turns = agreement.units.takes_turns(policy).map_err(unit_unsupported)?;
        if takes_turns && joining.frames == Frames::Off {
            return Err(dialog_required());
        }
        Ok(joining)
    }

    fn begin<S: Handler>(
        &self,
        inner: S,
        starting: Starting,
        joining: &Joining,
        request: Request<Body>,
    ) -> Response<Body> {
        let Starting { call, permit, turn, intent, begun: Begun { stream, working } } = starting;
        let (mut head, body) = request.into_parts();
        let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
        head.extensions.insert(Checkpoints::of_stream(&stream));
        if let Some(switch) = DeadMan::of(call.policy, &call.live) {
            head.extensions.insert(switch);
        }
        let handled = Request::from_parts(head, Body::new(stream.app_body()));
        let (joined, told) = (Joined::new(&call), call.live.told(call.attempt.call));
        let handling = Handling { call, deadline, permit, turn, intent, stream: stream.clone(), working };
        // It has an owner that waits for it, and ends with the session, its deadline, or itself.
        self.sessions.orphans().spawn(handling.run(inner, handled));
        self.join(joined, &stream, joining.from(told), Request::new(body), Answered::New)
    }

    /// Answers a later attempt of a call whose stream is there.
    async fn join_again(
        &self,
        call: &Protected,
        admission: Admission,
        stream: &Stream,
        told: Position,
        joining: &Joining,
        request: Request<Body>,
    ) -> Response<Body> {
        let agreement = Arc::clone(call.live.agreement());
        let (frames, single) = (joining.frames, has_single_reply(call.policy));
        let is_done = matches!(admission, Admission::Replay(_) | Admission::ReplyDropped(_));
        let answered = if single && is_done { Answered::Replayed } else { Answered::Attached };
        let instead = match (frames, admission) {
            // What was written to such a caller counts as secured, and the stream has it no more.
            (Frames::Off, Admission::Replay(reply)) if single => Some(recorded::respond(reply, answered)),
            (Frames::Off, Admission::ReplyDropped(reply)) if single => Some(recorded::dropped(&reply)),
            (Frames::Off, _) if !single && stream.progress().sent != Position::ORIGIN => {
                let text = "responses may be lost, and only a caller that reads control frames can say which";
                Some(answer(Refusal::new(Reason::StreamIncomplete, text).outcome(Outcome::Unknown)))
            }
            (_, Admission::Attach) if single && stream.failure().is_some() => self.attach(call, stream).await,
            (Frames::On | Frames::Off, _) => None,
        };
        if let Some(instead) = instead {
            return self.instead(request, &agreement, instead);
        }
        self.join(Joined::new(call), stream, joining.from(told), request, answered)
    }

    /// Waits for the reply of a handler that runs on to its end although its stream is over.
    //= C-9
    async fn attach(&self, call: &Protected, stream: &Stream) -> Option<Response<Body>> {
        let mut awaited = call.live.reply_of(call.attempt.call)?;
        // It is told, or the handler is gone without.
        let _ = awaited.changed().await;
        let reply = awaited.borrow().clone();
        Some(match (reply, stream.failure()) {
            (Some(reply), _) => recorded::respond(reply, Answered::Attached),
            (None, Some(status)) => told(status),
            (None, None) => unknown(),
        })
    }

    //= S-14
    //= S-15
    fn join(
        &self,
        joined: Joined,
        stream: &Stream,
        from: From,
        request: Request<Body>,
        answered: Answered,
    ) -> Response<Body> {
        let attempt = match from {
            From::Frames(resume) => stream.attempt(joined.number, resume.as_ref(), Frames::On),
            From::Place(place) => stream.attempt_without_frames(joined.number, place),
        };
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(error) => {
                let refused = answer(refused(&error).outcome(Outcome::Unknown));
                let agreement = Arc::clone(joined.live.agreement());
                return self.instead(request, &agreement, refused);
            }
        };
        let over = move |complete| {
            let needless = |stream: &Stream| is_over(&stream.watch().borrow(), complete);
            joined.live.forget_stream(joined.call, needless);
        };
        let body = answering::begin(attempt, stream, request.into_body(), self.sessions.orphans(), over);
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert(SESSION_OUTCOME, answered.value());
        response
    }

    /// Answers an attempt that is not joined to a stream; what it goes on to send is read, or that would cost the
    /// connection.
    fn instead(
        &self,
        request: Request<Body>,
        agreement: &Agreement,
        answer: Response<Body>,
    ) -> Response<Body> {
        answering::drain(request.into_body(), agreement.window_bytes, self.sessions.orphans());
        answer
    }
}

/// Which attempt is joined.
struct Joined {
    live: Arc<Live>,
    call: CallId,
    number: Attempt,
}

impl Joined {
    fn new(call: &Protected) -> Self {
        let CallAttempt { call: id, attempt } = call.attempt;
        Self { live: Arc::clone(&call.live), call: id, number: attempt }
    }
}

/// What an attempt gets that asks for admission.
struct Asked {
    admitted: AdmittedStream,
    begun: Option<Begun>,
    permit: Option<Permit>,
    turn: Option<Turn>,
}

/// A call whose handler is to be run.
struct Starting {
    call: Protected,
    permit: Option<Permit>,
    /// Its exclusive class.
    turn: Option<Turn>,
    /// The handler waits for this record.
    intent: Option<Recording>,
    begun: Begun,
}

/// Where an attempt goes on.
enum From {
    /// Where its frames say, and the header of a later one.
    Frames(Option<Resume>),
    /// Here: it has no frames.
    Place(Position),
}

impl Joining {
    /// Where the attempt goes on, if `told` is what its caller was told last.
    //= S-29
    fn from(&self, told: Position) -> From {
        match self.frames {
            Frames::On => From::Frames(self.resume),
            Frames::Off => From::Place(self.resume.map_or(told, |resume| resume.send_from)),
        }
    }
}

/// Whether nobody needs a stream any more whose handler has ended: it failed, and the slot knows how it ended; or its
/// caller `has_all`, which it shows by ending its request: it does that when it has the trailers (W-21), or is one
/// without frames, for whom nothing is kept that was written.
fn is_over(view: &View, has_all: bool) -> bool {
    view.failed.is_some() || has_all && view.is_concluded && view.is_answered
}

/// Whether the answer is one message, which is recorded as a whole.
fn has_single_reply(policy: &MethodPolicy) -> bool {
    matches!(policy.kind, MethodKind::Unary | MethodKind::ClientStreaming)
}

/// Whether the request is many messages.
fn requests_stream(policy: &MethodPolicy) -> bool {
    matches!(policy.kind, MethodKind::ClientStreaming | MethodKind::Bidirectional)
}

/// The fingerprint of a stream. Its requests are not known when it is admitted; its digests tell another's messages from
/// them.
pub(super) fn stream_fingerprint(request: &Request<Body>) -> Fingerprint {
    fingerprint(request.uri().path(), &[])
}

/// What a caller is told of a handler that was dropped.
//= W-10
fn told(status: tonic::Status) -> Response<Body> {
    let mut response = status.into_http();
    response.headers_mut().insert(SESSION_OUTCOME, Answered::Replayed.value());
    response
}

fn refused(error: &AttemptError) -> Refusal {
    let reason = match error {
        AttemptError::Fenced(_) => Reason::AttemptFenced,
        _ => Reason::ProtocolViolated,
    };
    Refusal::new(reason, error.to_string())
}
