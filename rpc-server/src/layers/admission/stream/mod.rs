//! Streams that outlive their connection: the handler belongs to the session, and each attempt is joined to it.

mod answering;
mod handler;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{Attempt, CallAttempt};
use rpc_core::negotiate::{Agreement, Unit};
use rpc_core::policy::{MethodPolicy, Secure};
use rpc_core::session::{Admission, refused_before_admission};
use rpc_core::stream::Config;
use rpc_core::stream::error::AttemptError;
use rpc_core::stream::flow::Side;
use rpc_core::stream::resume::Resume;
use rpc_flow::{Frames, Stream};
use rpc_proto::frames::parse_resume;
use rpc_proto::headers::{Answered, SESSION_FRAMES, SESSION_OUTCOME, SESSION_RESUME};
use rpc_proto::status::Refusal;
use tonic::body::Body;

use super::request::fingerprint;
use super::running::Permit;
use super::{AdmissionLayer, Protected, answer, recorded, unknown};
use crate::context::{Deadline, SessionContext};
use crate::layers::Handler;
use handler::Handling;

/// Whether a call without a promise of its own is to be resumed: its method has checkpoints, its session has agreed on
/// that, and it says which call it is. Any other call of the method is plain gRPC.
pub(super) fn resumes(policy: &MethodPolicy, request: &Request<Body>) -> bool {
    policy.checkpoint.is_some()
        && request.extensions().get::<SessionContext>().is_some_and(|context| {
            context.attempt().is_some() && context.agreement().units.contains(Unit::Resume)
        })
}

/// What an attempt says of itself.
struct Joining {
    frames: Frames,
    resume: Option<Resume>,
}

impl Joining {
    //= W-14
    fn parse(request: &Request<Body>, attempt: Attempt) -> Result<Self, Refusal> {
        let headers = request.headers();
        let frames = match headers.get(SESSION_FRAMES).map(HeaderValue::as_bytes) {
            Some(b"1") => Frames::On,
            Some(_) => return Err(invalid("header `session-frames` is not `1`")),
            None => Frames::Off,
        };
        let mut values = headers.get_all(SESSION_RESUME).iter();
        let (first, second) = (values.next(), values.next());
        if second.is_some() {
            return Err(Refusal::new(
                Reason::HeaderRepeated,
                "header `session-resume-bin` came more than once",
            ));
        }
        // Attempt 0 has nothing to go on from, whatever it says.
        let resume = match first.filter(|_| attempt > Attempt(0)).map(parse_resume) {
            Some(Ok(resume)) => Some(resume),
            Some(Err(_)) => return Err(invalid("header `session-resume-bin` does not parse")),
            None if attempt > Attempt(0) => {
                return Err(invalid("a later attempt needs the header `session-resume-bin`"));
            }
            None => None,
        };
        Ok(Self { frames, resume })
    }
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(Reason::HeaderInvalid, text)
}

impl AdmissionLayer {
    /// Answers an attempt of a call that streams: begins it, or joins it to the run that there is.
    //= S-13
    //= S-27
    pub(super) fn stream<S: Handler>(
        &self,
        inner: S,
        policy: &'static MethodPolicy,
        request: Request<Body>,
        context: &SessionContext,
        attempt: CallAttempt,
    ) -> Response<Body> {
        let before = refused_before_admission(attempt.attempt);
        if !context.agreement().units.contains(Unit::Resume) {
            let refusal =
                Refusal::new(Reason::UnitUnsupported, "the session was opened without the unit resume");
            return answer(refusal.outcome(Outcome::NotExecuted));
        }
        let joining = match Joining::parse(&request, attempt.attempt) {
            Ok(joining) => joining,
            Err(refusal) => return answer(refusal.outcome(before)),
        };
        // The requests of a stream are not known when it is admitted; its digests tell another's messages from them.
        let fingerprint = fingerprint(request.uri().path(), &[]);
        let call = Protected { live: Arc::clone(context.live()), attempt, policy, fingerprint };
        let permit = self.running.enter();
        let config = config(policy, context.agreement(), self.message_bytes_max);
        let admitted = call.live.admit_stream(
            attempt.call,
            || Stream::new(Side::Server, &config),
            |session| self.judge(session, &call, permit.is_some()),
        );
        match admitted {
            Ok((Admission::Run, Some(stream))) => self.begin(inner, call, permit, stream, joining, request),
            Ok((_, Some(stream))) => {
                self.join(&stream, attempt.attempt, joining, request, Answered::Attached)
            }
            Ok((Admission::Replay(reply), None)) => recorded::respond(reply, Answered::Replayed),
            Ok((Admission::ReplyDropped(reply), None)) => recorded::dropped(&reply),
            Ok((Admission::Run | Admission::Attach | Admission::Unknown, None)) => unknown(),
            Err(refusal) => answer(refusal),
        }
    }

    fn begin<S: Handler>(
        &self,
        inner: S,
        call: Protected,
        permit: Option<Permit>,
        stream: Stream,
        joining: Joining,
        request: Request<Body>,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let attempt = call.attempt.attempt;
        let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
        let handled = Request::from_parts(head, Body::new(stream.app_body()));
        let handling = Handling { call, deadline, permit, stream: stream.clone() };
        // It has an owner that waits for it, and ends with the session, its deadline, or itself.
        self.sessions.orphans().spawn(handling.run(inner, handled));
        self.join(&stream, attempt, joining, Request::new(body), Answered::New)
    }

    //= S-14
    //= S-15
    fn join(
        &self,
        stream: &Stream,
        number: Attempt,
        joining: Joining,
        request: Request<Body>,
        answered: Answered,
    ) -> Response<Body> {
        let attempt = match stream.attempt(number, joining.resume.as_ref(), joining.frames) {
            Ok(attempt) => attempt,
            Err(error) => return answer(refused(&error).outcome(Outcome::Unknown)),
        };
        let body = answering::begin(attempt, stream, request.into_body(), self.sessions.orphans());
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert(SESSION_OUTCOME, answered.value());
        response
    }
}

fn refused(error: &AttemptError) -> Refusal {
    let reason = match error {
        AttemptError::Fenced(_) => Reason::AttemptFenced,
        _ => Reason::ProtocolViolated,
    };
    Refusal::new(reason, error.to_string())
}

fn config(policy: &MethodPolicy, agreement: &Agreement, message_bytes_max: usize) -> Config {
    let mut config = Config::default();
    config.window_bytes = agreement.window_bytes;
    config.message_bytes_max = u32::try_from(message_bytes_max).unwrap_or(u32::MAX);
    config.checkpoint = policy.checkpoint;
    config.secure = policy.checkpoint.map_or(Secure::Automatic, |checkpoint| checkpoint.secure);
    config
}
