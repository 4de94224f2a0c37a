//! Calls of the methods of a whole server, behind all its layers, with any headers and any bodies.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost::Message as _;
use rpc_core::activity::Key;
use rpc_core::error::Outcome;
use rpc_core::id::{SessionId, Ticket};
use rpc_core::policy::MethodPolicy;
use rpc_core::record::{ActivityRecord, Write};
use rpc_core::store::{Durability, StoreError, Stored};
use rpc_core::stream::resume::Resume;
use rpc_core::transaction::Versioned;
use rpc_proto::frames::{Arrived, Incoming, resume_value};
use rpc_proto::headers::{
    SESSION, SESSION_CALL, SESSION_FRAMES, SESSION_RESUME, SESSION_TICKET, ticket_value,
};
use rpc_proto::pb::session::v1::{OpenRequest, OpenResponse};
use rpc_proto::status::Details;
use rpc_server::auth::dangerous_anonymous;
use rpc_server::{Committing, MemoryStore, Server, SessionStack, SimulatedStore, Store};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::{Code, Status};
use tower_layer::Layer as _;
use tower_service::Service as _;

use super::choices::Choices;
use super::headers::parsed;
use super::served::{METHODS, Served};

/// Requests of one input.
const REQUESTS_MAX: usize = 4;
/// How long a caller waits for an answer, in the runtime's own time: nobody waits for it in truth.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than anything goes on after its session has ended.
const CALM: Duration = Duration::from_secs(60);
const UNITS: [&[i32]; 4] = [
    // All, speaking in turns; all, speaking at any time; streams that go on, and nothing with them; calls only.
    &[1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14],
    &[1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14],
    &[1, 2, 9, 13],
    &[1],
];

/// The first byte says which units a session gets. Then up to four requests: one byte for the method, one for what makes
/// the request good or spoils it, then lines of further headers and the body, each with its length before it.
///
/// Each is answered with a status, and where it is refused for a reason of the table; no control frame goes to a caller
/// that did not ask for them; what is told as not executed did not run, and nothing runs twice. Afterwards no handler is
/// left, and a call of another session is answered as before.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut yard = YARD.lock().unwrap_or_else(PoisonError::into_inner);
    // It is put back when all went well.
    let mut used = yard.take().unwrap_or_else(Yard::new);
    used.one_session(&mut choices);
    used.is_unharmed();
    *yard = Some(used);
}

static YARD: Mutex<Option<Yard>> = Mutex::new(None);

struct Yard {
    runtime: Runtime,
    stack: SessionStack,
    served: Served,
    witness: HeaderMap,
    calls: u64,
}

/// What a request has, by the bits of one byte.
struct Shape(u8);

impl Shape {
    const NO_SESSION: u8 = 1;
    const NO_CALL: u8 = 2;
    const FRAMES: u8 = 4;
    const RESUMES: u8 = 8;
    /// The same call as before, by its next attempt.
    const AGAIN: u8 = 16;
    const BREAKS_OFF: u8 = 32;
    const STAYS_OPEN: u8 = 64;
    const UNREAD: u8 = 128;

    fn has(&self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// What a caller got, as far as it waited.
struct Answer {
    status: Option<Status>,
    body: Vec<u8>,
}

impl Yard {
    fn new() -> Self {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let inside = runtime.enter();
        let mut limits = rpc_server::Limits::default();
        limits.retention = Duration::ZERO;
        limits.activity_retention = Duration::from_secs(1);
        // So little that what an input leaves behind is soon missed.
        limits.stream_memory_max = 16 << 20;
        let served = Served::default();
        let builder = Server::builder().authenticate(dangerous_anonymous());
        let builder = builder.simulated_store(Kept(MemoryStore::new())).service(served.clone());
        let stack = builder.limits(limits).calls_max(8).stack().expect("nothing is missing");
        drop(runtime.spawn(stack.reaper()));
        drop(inside);
        let mut yard = Self { runtime, stack, served, witness: HeaderMap::new(), calls: 0 };
        yard.witness = yard.open(UNITS[3], 1);
        yard
    }

    fn one_session(&self, choices: &mut Choices<'_>) {
        let session = self.open(UNITS[choices.below(UNITS.len())], 2);
        let (mut slots, mut attempt) = (0, 0);
        for _ in 0..REQUESTS_MAX {
            if choices.are_over() {
                break;
            }
            let policy = &METHODS[choices.below(METHODS.len())];
            let shape = Shape(choices.byte());
            (slots, attempt) = match shape.has(Shape::AGAIN) && slots > 0 {
                true => (slots, attempt + 1),
                false => (slots + 1, 0),
            };
            let headers = shape.headers(&session, &format!("{slots}.1.{attempt}"), choices.piece());
            let body = shape.body(choices);
            self.one_request(policy, &shape, headers, body);
        }
        let aborted = self.call("/session.v1.SessionService/Abort", session, framed(&[]), false);
        assert_eq!(aborted.status.map(|status| status.code()), Some(Code::Ok));
        self.runtime.block_on(async { sleep(CALM).await });
        assert_eq!(self.served.at_work(), 0, "a handler outlives its session");
        self.served.forget();
    }

    fn one_request(&self, policy: &MethodPolicy, shape: &Shape, headers: HeaderMap, body: Body) {
        let asked = headers.get_all(SESSION_FRAMES).iter().map(HeaderValue::as_bytes).eq([b"1"]);
        let named = headers.get(SESSION_CALL).and_then(|call| call.to_str().ok()).map(str::to_owned);
        let begun = self.served.begun();
        let answer = self.call(policy.path, headers, body, shape.has(Shape::UNREAD));
        let messages = self.messages(&answer.body, asked);
        let Some(status) = answer.status else { return };
        if status.code() != Code::Ok {
            let outcome = is_told(&status, policy);
            if outcome == Some(Outcome::NotExecuted) {
                assert_eq!(self.served.begun(), begun, "it ran: {status:?}");
            }
        } else if policy.is_protected() && !policy.kind.streams() {
            let call = named.and_then(|named| named.rsplit_once('.').map(|(call, _)| call.to_owned()));
            assert_eq!(messages, call.map(|call| framed_text(&call)).unwrap_or_default(), "another's reply");
        }
    }

    /// The messages of a body, in which a caller finds control frames only when it has `asked` for them.
    fn messages(&self, body: &[u8], asked: bool) -> Vec<u8> {
        let mut incoming = Incoming::new(1 << 20);
        incoming.push(Bytes::copy_from_slice(body));
        let mut messages = Vec::new();
        while let Some(arrived) = incoming.next().expect("the server keeps to the protocol") {
            match arrived {
                Arrived::Messages(run) => {
                    run.parts().iter().for_each(|part| messages.extend_from_slice(part));
                }
                Arrived::Control(frame) => assert!(asked, "nobody asked for {frame:?}"),
            }
        }
        messages
    }

    /// A session that knows nothing of the others makes its next call.
    fn is_unharmed(&mut self) {
        self.calls += 1;
        let call = format!("0.{}", self.calls);
        let mut headers = self.witness.clone();
        headers.insert(SESSION_CALL, HeaderValue::try_from(format!("{call}.0")).expect("digits and dots"));
        let answer = self.call("/fuzz.v1.Methods/Once", headers, framed(b"\x0a\x01a"), false);
        assert_eq!(answer.status.map(|status| (status.code(), status)).map(|(code, _)| code), Some(Code::Ok));
        assert_eq!(answer.body, framed_text(&call));
        self.served.forget();
    }

    fn open(&self, units: &[i32], nonce: u8) -> HeaderMap {
        let lease = prost_types::Duration { seconds: 3_600, nanos: 0 };
        let (nonce, units) = (vec![nonce; 16].into(), units.to_vec());
        let proposal = OpenRequest { nonce, units, lease: Some(lease), ..OpenRequest::default() };
        let body = framed(&proposal.encode_to_vec());
        let answer = self.call("/session.v1.SessionService/Open", HeaderMap::new(), body, false);
        let opened = OpenResponse::decode(answer.body.get(5..).expect("a message")).expect("an answer");
        let ticket: [u8; 32] = opened.ticket[..].try_into().expect("32 bytes");
        let mut headers = HeaderMap::new();
        headers.insert(SESSION, opened.number.into());
        headers.insert(SESSION_TICKET, ticket_value(&Ticket(ticket)));
        headers
    }

    /// One call, answered as far as its caller reads that.
    fn call(&self, path: &str, headers: HeaderMap, body: Body, unread: bool) -> Answer {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("http://server{path}").parse().expect("a path of ours");
        *request.headers_mut() = headers;
        request.headers_mut().entry("content-type").or_insert(HeaderValue::from_static("application/grpc"));
        let mut service = self.stack.layer().layer(self.stack.routes());
        self.runtime.block_on(async move {
            let mut answer = Answer { status: None, body: Vec::new() };
            let response = timeout(PATIENCE, service.call(request)).await;
            if let Ok(Ok(response)) = response {
                answer.status = Status::from_header_map(response.headers());
                if !unread {
                    let _ = timeout(PATIENCE, answer.read(response)).await;
                }
            }
            answer
        })
    }
}

impl Answer {
    async fn read(&mut self, response: Response<Body>) {
        let mut body = response.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            match frame.into_data() {
                Ok(data) => self.body.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.status = Status::from_header_map(&trailers).or(self.status.take());
                }
            }
        }
    }
}

impl Shape {
    fn headers(&self, session: &HeaderMap, call: &str, lines: &[u8]) -> HeaderMap {
        let mut headers = if self.has(Self::NO_SESSION) { HeaderMap::new() } else { session.clone() };
        if !self.has(Self::NO_CALL) {
            headers.insert(SESSION_CALL, HeaderValue::try_from(call).expect("digits and dots"));
        }
        if self.has(Self::FRAMES) {
            headers.insert(SESSION_FRAMES, HeaderValue::from_static("1"));
        }
        if self.has(Self::RESUMES) {
            headers.insert(SESSION_RESUME, resume_value(&Resume::default()));
        }
        for (name, value) in &parsed(lines) {
            headers.append(name, value.clone());
        }
        headers
    }

    /// In two pieces, of which the first has a length of its own.
    fn body(&self, choices: &mut Choices<'_>) -> Body {
        let pieces = [choices.piece(), choices.piece()].map(Bytes::copy_from_slice);
        let pieces = stream::iter(pieces.map(|piece| Ok(Frame::data(piece))));
        if self.has(Self::BREAKS_OFF) {
            body(pieces.chain(stream::iter([Err(Status::internal("the connection is lost"))])))
        } else if self.has(Self::STAYS_OPEN) {
            body(pieces.chain(stream::pending()))
        } else {
            body(pieces)
        }
    }
}

fn body(frames: impl Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static) -> Body {
    Body::new(StreamBody::new(frames))
}

/// A refusal has a reason of ours, or is the handler's own and tonic's; the caller of a protected method learns whether the
/// call ran, unless its stream broke off.
fn is_told(status: &Status, policy: &MethodPolicy) -> Option<Outcome> {
    let Details { reason, outcome, .. } = Details::of(status);
    let theirs = [Code::Internal, Code::Unimplemented, Code::InvalidArgument, Code::OutOfRange];
    assert!(reason.is_some() || theirs.contains(&status.code()), "{status:?}");
    assert!(status.message().len() < 400, "{status:?}");
    assert!(outcome.is_some() || !policy.is_protected() || policy.kind.streams(), "{status:?}");
    outcome
}

fn frame_of(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short one");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

fn framed(message: &[u8]) -> Body {
    let body = Full::new(Bytes::from(frame_of(message)));
    Body::new(body.map_err(|never: Infallible| match never {}))
}

/// How the handlers' replies are on the wire.
fn framed_text(text: &str) -> Vec<u8> {
    frame_of(&text.as_bytes().to_vec().encode_to_vec())
}

/// A store that promises to keep everything, and does so for as long as the process lives.
struct Kept(MemoryStore);

impl Store for Kept {
    fn durability(&self) -> Durability {
        Durability::Durable
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        self.0.reserve_numbers(count)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        self.0.load(session)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.0.get(key)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), rpc_core::store::WriteError>>, StoreError> {
        self.0.commit(batch)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        self.0.scan(after, limit)
    }

    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError> {
        self.0.scan_activities(after, limit)
    }
}

impl SimulatedStore for Kept {
    fn commit_in_time(&self, batch: Vec<Write>) -> Committing<'_> {
        Box::pin(async move { self.0.commit(&batch) })
    }
}
