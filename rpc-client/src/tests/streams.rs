//! Streams that are resumed, against a server that speaks the protocol over connections that are cut.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rpc_core::error::{Outcome, Reason};
use rpc_core::frame::Head;
use rpc_core::negotiate::Unit;
use rpc_core::policy::{Checkpoint, Delivery, Described, MethodKind, MethodPolicy, Secure, ServicePolicy};
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use rpc_flow::{Frames, Stream, View};
use rpc_proto::frames::parse_resume;
use rpc_proto::headers::{SESSION_CALL, SESSION_FRAMES, SESSION_OUTCOME, SESSION_RESUME};
use rpc_proto::pb::session::v1::{OpenResponse, QueryRequest, ServiceGrant};
use rpc_proto::status::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use super::fake::{Act, Fake, OPEN, QUERY, opened};
use super::{NEVER, Raw, event};
use crate::net::{BoxIo, Connecting, Connector};
use crate::{Event, OutcomeExt as _, Session, StreamWatch};

const UP: &str = "/s.S/Up";
const DOWN: &str = "/s.S/Down";
const CHAT: &str = "/s.S/Chat";
const SILENT: &str = "/s.S/Silent";
const FAILS: &str = "/s.S/Fails";

const fn method(path: &'static str, kind: MethodKind) -> MethodPolicy {
    let mut method = MethodPolicy::plain(path, kind);
    method.delivery = Delivery::AtMostOnce;
    method.checkpoint = Some(Checkpoint {
        every_messages: Some(40),
        every_bytes: None,
        every: None,
        secure: Secure::Automatic,
    });
    method
}

static POLICY: ServicePolicy = ServicePolicy {
    name: "s.S",
    version: 0,
    hash: 0,
    methods: &[
        method(UP, MethodKind::ClientStreaming),
        method(DOWN, MethodKind::ServerStreaming),
        method(CHAT, MethodKind::Bidirectional),
        method(SILENT, MethodKind::Bidirectional),
        method(FAILS, MethodKind::Bidirectional),
    ],
};

struct S;

impl Described for S {
    const POLICY: &'static ServicePolicy = &POLICY;
}

/// A server of one session whose handlers outlive connections.
#[derive(Clone)]
struct Server(Arc<Inner>);

struct Inner {
    session_service: Fake,
    streams: Mutex<BTreeMap<String, Stream>>,
    /// After how many bytes in either direction the next connections are cut.
    cuts: Mutex<VecDeque<u64>>,
    refusals: Mutex<VecDeque<Status>>,
    seen: Mutex<Vec<HeaderMap>>,
    messages: usize,
}

impl Server {
    fn new(messages: usize, cuts: impl IntoIterator<Item = u64>, refusals: Vec<Status>) -> Self {
        let session_service = Fake::new(|seen| {
            let grant = ServiceGrant { name: "s.S".into(), granted: true, reason: String::new() };
            let units = [Unit::ExactlyOnce, Unit::Resume, Unit::MinorSynchronize];
            let units = units.map(|unit| i32::from(unit.number())).to_vec();
            let open = OpenResponse { services: vec![grant], units, slots: 1, ..opened() };
            (seen.path == OPEN).then(|| Act::message(&open))
        });
        Self(Arc::new(Inner {
            session_service,
            streams: Mutex::default(),
            cuts: Mutex::new(cuts.into_iter().collect()),
            refusals: Mutex::new(refusals.into()),
            seen: Mutex::default(),
            messages,
        }))
    }

    async fn session(&self) -> Session {
        let builder = Session::builder("http://fake.test").credentials("token").service::<S>();
        builder.connections(1).connector(self.clone()).open().await.unwrap()
    }

    /// The calls as they came, one entry for each attempt.
    fn calls(&self) -> Vec<String> {
        let seen = self.0.seen.lock().unwrap();
        seen.iter().map(|headers| headers[&SESSION_CALL].to_str().unwrap().to_owned()).collect()
    }

    /// Waits until this holds for the only stream.
    async fn stream_is(&self, holds: impl FnMut(&View) -> bool) {
        let stream = self.0.streams.lock().unwrap().values().next().unwrap().clone();
        timeout(NEVER, stream.watch().wait_for(holds)).await.expect("the stream gets there").unwrap();
    }

    async fn answer(
        self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<tonic::body::Body>, h2::Error> {
        if !request.uri().path().starts_with("/s.S/") {
            let answered = self.0.session_service.clone().answer(request, CancellationToken::new()).await;
            return Ok(answered?.map(tonic::body::Body::new));
        }
        self.0.seen.lock().unwrap().push(request.headers().clone());
        if let Some(status) = self.0.refusals.lock().unwrap().pop_front() {
            return Ok(status.into_http());
        }
        Ok(self.join(request))
    }

    fn join(&self, request: http::Request<Incoming>) -> http::Response<tonic::body::Body> {
        let (head, body) = request.into_parts();
        assert_eq!(head.headers[&SESSION_FRAMES], "1");
        let call: rpc_core::id::CallAttempt = head.headers[&SESSION_CALL].to_str().unwrap().parse().unwrap();
        let resume = head.headers.get(SESSION_RESUME).map(|value| parse_resume(value).unwrap());
        assert_eq!(resume.is_some(), call.attempt.0 > 0);
        let mut streams = self.0.streams.lock().unwrap();
        let known = streams.get(&call.call.to_string()).cloned();
        let answered = if known.is_some() { "attached" } else { "new" };
        let stream = known.unwrap_or_else(|| {
            let mut config = Config::default();
            config.checkpoint = POLICY.methods[0].checkpoint;
            let stream = Stream::new(Side::Server, &config);
            streams.insert(call.call.to_string(), stream.clone());
            tokio::spawn(handle(stream.clone(), head.uri.path().to_owned(), self.0.messages));
            stream
        });
        let (out, feed) = stream.attempt(call.attempt, resume.as_ref(), Frames::On).unwrap().split();
        tokio::spawn(feed.run(body));
        let mut response = http::Response::new(tonic::body::Body::new(out));
        response.headers_mut().insert(SESSION_OUTCOME, HeaderValue::from_static(answered));
        response
    }
}

/// What the handlers do with their messages, in gRPC's framing.
async fn handle(stream: Stream, path: String, messages: usize) {
    let request = stream.app_body();
    if path == FAILS {
        let _ = stream.pump_app(tonic::body::Body::empty()).await;
        let mut trailers = HeaderMap::new();
        let status = rpc_proto::status::with_outcome(Status::not_found("no such thing"), Outcome::Done);
        status.add_header(&mut trailers).unwrap();
        return stream.conclude(trailers);
    }
    let entries = vec![(Bytes::from_static(b"x-handler"), Bytes::from_static(b"yes"))];
    stream.answer_head(Head { entries });
    let done = match path.as_str() {
        SILENT => return std::future::pending().await,
        CHAT => stream.pump_app(request).await,
        UP => {
            let Ok(whole) = request.collect().await else { return };
            assert_eq!(whole.to_bytes(), framed(0..messages));
            stream.pump_app(http_body_util::Full::new(framed(7..8))).await
        }
        _ => {
            assert_eq!(request.collect().await.unwrap().to_bytes(), framed(7..8));
            let pieces = futures_util::stream::iter((0..messages).step_by(50).map(move |first| {
                Ok::<_, Infallible>(http_body::Frame::data(framed(first..messages.min(first + 50))))
            }));
            stream.pump_app(http_body_util::StreamBody::new(pieces)).await
        }
    };
    drop(done);
    stream.conclude(HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]));
}

fn message(index: usize) -> Vec<u8> {
    (index as u64).to_be_bytes().to_vec()
}

fn framed(range: std::ops::Range<usize>) -> Bytes {
    range.flat_map(|index| [&[0, 0, 0, 0, 8][..], &message(index)].concat()).collect::<Vec<_>>().into()
}

impl Connector for Server {
    fn connect(&self, _target: http::Uri) -> Connecting {
        let (near, relayed) = tokio::io::duplex(16 << 10);
        let (relay, far) = tokio::io::duplex(16 << 10);
        let cut = self.0.cuts.lock().unwrap().pop_front().unwrap_or(u64::MAX);
        tokio::spawn(pass(relayed, relay, cut));
        let server = self.clone();
        let service = service_fn(move |request| server.clone().answer(request));
        tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), service));
        Box::pin(async move { Ok(Box::new(near) as BoxIo) })
    }
}

/// Passes bytes until so many have passed in one direction.
async fn pass(one: DuplexStream, other: DuplexStream, bytes_max: u64) {
    let ((one_in, mut one_out), (other_in, mut other_out)) = (tokio::io::split(one), tokio::io::split(other));
    let (mut one_in, mut other_in) = (one_in.take(bytes_max), other_in.take(bytes_max));
    tokio::select! {
        _ = tokio::io::copy(&mut one_in, &mut other_out) => {}
        _ = tokio::io::copy(&mut other_in, &mut one_out) => {}
    }
    let _ = (one_out.shutdown().await, other_out.shutdown().await);
}

fn stub(session: &Session) -> tonic::client::Grpc<Session> {
    tonic::client::Grpc::new(session.clone())
}

fn path(path: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(path)
}

async fn up(session: &Session, messages: usize) -> Result<Response<Vec<u8>>, Status> {
    let requests = Request::new(tokio_stream::iter((0..messages).map(message)));
    timeout(NEVER, stub(session).client_streaming(requests, path(UP), Raw)).await.expect("the call hangs")
}

async fn down(session: &Session) -> Result<Response<Streaming<Vec<u8>>>, Status> {
    let request = Request::new(message(7));
    timeout(NEVER, stub(session).server_streaming(request, path(DOWN), Raw)).await.expect("the call hangs")
}

async fn chat(
    session: &Session,
    method: &'static str,
    messages: usize,
) -> Result<Response<Streaming<Vec<u8>>>, Status> {
    let requests = Request::new(tokio_stream::iter((0..messages).map(message)));
    timeout(NEVER, stub(session).streaming(requests, path(method), Raw)).await.expect("the call hangs")
}

async fn all(mut stream: Streaming<Vec<u8>>) -> Result<Vec<Vec<u8>>, Status> {
    let mut all = Vec::new();
    while let Some(item) = timeout(NEVER, stream.next()).await.expect("the stream hangs") {
        all.push(item?);
    }
    Ok(all)
}

fn watch<T>(response: &Response<T>) -> StreamWatch {
    response.extensions().get::<StreamWatch>().unwrap().clone()
}

/// Makes a call of each kind, and returns how often they were resumed.
async fn each_kind(session: &Session, messages: usize) -> u32 {
    let wanted: Vec<_> = (0..messages).map(message).collect();
    let uploaded = up(session, messages).await.unwrap();
    assert_eq!(uploaded.get_ref(), &message(7));
    assert_eq!(uploaded.metadata().get("x-handler").unwrap(), "yes");
    let watch_up = watch(&uploaded);
    assert_eq!(watch_up.sent().messages, messages as u64);
    let downloaded = down(session).await.unwrap();
    assert_eq!(downloaded.metadata().get("x-handler").unwrap(), "yes");
    let watch_down = watch(&downloaded);
    assert_eq!(all(downloaded.into_inner()).await.unwrap(), wanted);
    assert_eq!(watch_down.received().messages, messages as u64);
    let chatted = chat(session, CHAT, messages).await.unwrap();
    let watch_chat = watch(&chatted);
    assert_eq!(all(chatted.into_inner()).await.unwrap(), wanted);
    watch_up.resumes() + watch_down.resumes() + watch_chat.resumes()
}

//= test W-19
#[tokio::test(start_paused = true)]
async fn undisturbed_streams_have_one_attempt_and_leave_their_slot() {
    let server = Server::new(500, [], vec![]);
    let session = server.session().await;
    assert_eq!(each_kind(&session, 500).await, 0);
    assert_eq!(server.calls(), ["0.1.0", "0.2.0", "0.3.0"]);
    session.release().await.unwrap();
}

//= test S-13
//= test S-27
#[tokio::test(start_paused = true)]
async fn cut_streams_go_on_and_nobody_notices() {
    for seed in 1..=20_u64 {
        let cuts = (0..12).map(|turn| 900 + (seed * 7_919 + turn * 104_729) % 30_000);
        let server = Server::new(3_000, cuts, vec![]);
        let session = server.session().await;
        let mut events = session.events();
        let resumes = each_kind(&session, 3_000).await;
        assert!(resumes > 0, "seed {seed}: nothing was cut");
        event(&mut events, |event| matches!(event, Event::StreamResumed(_))).await;
    }
}

//= test S-13
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_wherever_its_connection_is_cut() {
    for cut in (400..6_000).step_by(23) {
        let server = Server::new(100, [cut, cut], vec![]);
        let session = server.session().await;
        each_kind(&session, 100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_as_it_is() {
    let refused = |reason| Refusal::new(reason, "as told").outcome(Outcome::NotExecuted).into_status();
    let server = Server::new(5, [], vec![refused(Reason::ScopeMissing)]);
    let session = server.session().await;
    let status = up(&session, 5).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::ScopeMissing));
    assert_eq!(status.outcome(), Some(Outcome::NotExecuted));
    assert!(status.call().is_some());
    up(&session, 5).await.unwrap();
    assert_eq!(server.calls(), ["0.1.0", "0.1.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_asks_for_another_try_gets_it() {
    let refused = Refusal::new(Reason::TransportLost, "later").outcome(Outcome::NotExecuted).into_status();
    let server = Server::new(5, [], vec![refused]);
    let session = server.session().await;
    up(&session, 5).await.unwrap();
    assert_eq!(server.calls(), ["0.1.0", "0.1.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_handlers_error_before_any_message_is_the_calls() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let status = chat(&session, FAILS, 5).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such thing"));
    assert_eq!(status.outcome(), Some(Outcome::Done));
    // The slot is free at once.
    up(&session, 5).await.unwrap();
    assert_eq!(server.calls(), ["0.1.0", "0.2.0"]);
}

//= test S-24
#[tokio::test(start_paused = true)]
async fn a_dropped_response_cancels_and_its_slot_is_settled() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let mut events = session.events();
    let stream = chat(&session, SILENT, 5).await.unwrap();
    drop(stream);
    server.stream_is(|view| view.failed == Some(rpc_core::stream::error::StreamError::Cancelled)).await;
    event(&mut events, |event| matches!(event, Event::CallSettled(_))).await;
    let query: QueryRequest = server.0.session_service.seen(QUERY)[0].parse();
    assert_eq!((query.settle, query.cancel), (true, true));
}

//= test S-24
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_its_head_is_cancelled() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let mut events = session.events();
    let requests = Request::new(tokio_stream::pending::<Vec<u8>>());
    let mut stub = stub(&session);
    let calling = stub.client_streaming(requests, path(UP), Raw);
    let _ = timeout(Duration::from_secs(1), calling).await.unwrap_err();
    event(&mut events, |event| matches!(event, Event::CallSettled(_))).await;
    server.stream_is(|view| view.failed.is_some()).await;
}

//= test C-43
#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_stream_and_its_resumes() {
    let server = Server::new(5, (0..1_000).map(|_| 2_000), vec![]);
    let session = server.session().await;
    let mut request = Request::new(tokio_stream::pending::<Vec<u8>>());
    request.set_timeout(Duration::from_secs(30));
    let response = stub(&session).streaming(request, path(SILENT), Raw).await.unwrap();
    let status = all(response.into_inner()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.outcome(), Some(Outcome::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_ends_its_streams_truthfully() {
    let gone = Refusal::new(Reason::SessionUnknown, "forgotten").outcome(Outcome::NotExecuted).into_status();
    let server = Server::new(5, [2_000], vec![]);
    let session = server.session().await;
    let response = chat(&session, SILENT, 5).await.unwrap();
    server.0.refusals.lock().unwrap().push_back(gone);
    let status = all(response.into_inner()).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::SessionUnknown));
    assert_eq!(status.outcome(), Some(Outcome::Unknown));
}

//= test W-21
#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_request_costs_no_connection() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    for _ in 0..2_000 {
        let requests = Request::new(tokio_stream::iter([message(0)]).chain(tokio_stream::pending()));
        let calling = stub(&session).streaming(requests, path(FAILS), Raw).await;
        assert_eq!(calling.unwrap_err().code(), Code::NotFound);
    }
    assert!(server.calls().iter().all(|call| call.ends_with(".0")), "a connection was lost");
}

#[tokio::test(start_paused = true)]
async fn a_released_session_leaves_no_task_of_a_stream_behind() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let response = chat(&session, SILENT, 5).await.unwrap();
    timeout(NEVER, session.release()).await.expect("the release hangs").unwrap();
    let status = all(response.into_inner()).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::SessionEnded));
    assert_eq!(status.outcome(), Some(Outcome::Unknown));
}

//= test S-25
#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_holds_the_sender_within_the_window_and_keeps_its_slot() {
    let messages = 100_000;
    let server = Server::new(messages, [50_000, 50_000], vec![]);
    let session = server.session().await;
    let response = down(&session).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let ahead = watch(&response).received().messages;
    assert!(ahead < messages as u64 / 2, "{ahead} messages were kept for nobody");
    let waiting = timeout(Duration::from_secs(1), up(&session, 5)).await;
    assert!(waiting.is_err(), "the slot of a call that is still read was given out");
    assert_eq!(all(response.into_inner()).await.unwrap().len(), messages);
}
