//! Streams that outlive their connection: the handler belongs to the session, and each attempt is joined to it.

mod answering;
mod beginning;
mod ending;
mod handler;
mod joining;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{Attempt, CallAttempt, CallId, Fingerprint};
use rpc_core::negotiate::{Agreement, Unit};
use rpc_core::policy::{MethodKind, MethodPolicy};
use rpc_core::session::{Admission, refused_before_admission};
use rpc_core::stream::error::AttemptError;
use rpc_core::stream::position::Position;
use rpc_core::stream::resume::Resume;
use rpc_flow::{Checkpoints, Frames, Stream, View};
use rpc_proto::headers::{Answered, SESSION_ACTIVITY, SESSION_OUTCOME};
use rpc_proto::status::Refusal;
use tonic::body::Body;

use super::request::fingerprint;
use super::running::Permit;
use super::{AdmissionLayer, Protected, answer, recorded, unknown};
use crate::context::{Deadline, SessionContext};
use crate::layers::Handler;
use crate::sessions::Live;
use crate::sessions::streams::Found;
use beginning::Begun;
use handler::Handling;
use joining::{Joining, invalid};

/// Whether a call without a promise of its own is to be resumed: its method has checkpoints, its session has agreed on
/// that, and it says which call it is. Any other call of the method is plain gRPC.
pub(super) fn resumes(policy: &MethodPolicy, request: &Request<Body>) -> bool {
    policy.checkpoint.is_some()
        && request.extensions().get::<SessionContext>().is_some_and(|context| {
            context.attempt().is_some() && context.agreement().units.contains(Unit::Resume)
        })
}

/// Whether a call that cannot work on an activity says that it does: it would begin where it must not.
pub(super) fn is_misplaced(request: &Request<Body>, policy: Option<&MethodPolicy>) -> Option<Refusal> {
    if !request.headers().contains_key(&SESSION_ACTIVITY)
        || policy
            .is_some_and(|policy| policy.kind.streams() && policy.is_protected() || resumes(policy, request))
    {
        return None;
    }
    Some(invalid("header `session-activity-bin` is for streams with checkpoints"))
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
        let joining = match self.parse(&request, &agreement, number) {
            Ok(joining) => joining,
            Err(refusal) => {
                let refused = answer(refusal.outcome(refused_before_admission(number)));
                return self.instead(request, &agreement, refused);
            }
        };
        let permit = self.running.enter();
        let mut begun = None;
        let admitted = call.live.admit_stream(call.attempt.call, |session| {
            if !session.is_new(call.attempt.call) {
                return self.judge(session, &call, permit.is_some()).map(|admission| (admission, None));
            }
            let needs = self.look(session, &call, &joining)?;
            let admission = self.judge(session, &call, permit.is_some())?;
            if admission != Admission::Run {
                return Ok((admission, None));
            }
            let (new, working) = needs.begin(call.policy, self.message_bytes_max);
            begun = Some(Begun { stream: new.stream.clone(), working });
            Ok((admission, Some(new)))
        });
        if let Some(begun) = begun {
            return self.begin(inner, call, permit, begun, &joining, request);
        }
        drop(permit);
        match admitted {
            Ok((admission, Some(Found::Stream(stream, told)))) => {
                self.join_again(&call, admission, &stream, told, &joining, request).await
            }
            //= C-26
            Ok((_, Some(Found::GivenUp(status)))) => self.instead(request, &agreement, told(*status)),
            Ok((Admission::Replay(reply), None)) => {
                self.instead(request, &agreement, recorded::respond(reply, Answered::Replayed))
            }
            Ok((Admission::ReplyDropped(reply), None)) => {
                self.instead(request, &agreement, recorded::dropped(&reply))
            }
            Ok((_, None)) => self.instead(request, &agreement, unknown()),
            Err(refusal) => self.instead(request, &agreement, answer(refusal)),
        }
    }

    fn parse(
        &self,
        request: &Request<Body>,
        agreement: &Agreement,
        number: Attempt,
    ) -> Result<Joining, Refusal> {
        //= O-21
        if !agreement.units.contains(Unit::Resume) {
            return Err(Refusal::new(
                Reason::UnitUnsupported,
                "the session was opened without the unit resume",
            ));
        }
        let joining = Joining::parse(request.headers(), number)?;
        if joining.activity.is_some() && !agreement.units.contains(Unit::Activity) {
            return Err(Refusal::new(
                Reason::UnitUnsupported,
                "the session was opened without the unit activity",
            ));
        }
        Ok(joining)
    }

    fn begin<S: Handler>(
        &self,
        inner: S,
        call: Protected,
        permit: Option<Permit>,
        begun: Begun,
        joining: &Joining,
        request: Request<Body>,
    ) -> Response<Body> {
        let Begun { stream, working } = begun;
        let (mut head, body) = request.into_parts();
        let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
        head.extensions.insert(Checkpoints::of_stream(&stream));
        let handled = Request::from_parts(head, Body::new(stream.app_body()));
        let joined = Joined::new(&call);
        let handling = Handling { call, deadline, permit, stream: stream.clone(), working };
        // It has an owner that waits for it, and ends with the session, its deadline, or itself.
        self.sessions.orphans().spawn(handling.run(inner, handled));
        let from = match joining.frames {
            Frames::On => From::Frames(joining.resume),
            Frames::Off => From::Place(joining.resume.map_or(Position::ORIGIN, |resume| resume.send_from)),
        };
        self.join(joined, &stream, from, Request::new(body), Answered::New)
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
        //= S-29
        let from = match frames {
            Frames::On => From::Frames(joining.resume),
            Frames::Off => From::Place(joining.resume.map_or(told, |resume| resume.send_from)),
        };
        self.join(Joined::new(call), stream, from, request, answered)
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

/// Where an attempt goes on.
enum From {
    /// Where its frames say, and the header of a later one.
    Frames(Option<Resume>),
    /// Here: it has no frames.
    Place(Position),
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
