//! A server of streams that speaks the protocol, over connections that are cut, and what stubs do with it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rpc_core::error::Outcome;
use rpc_core::frame::Head;
use rpc_core::negotiate::Unit;
use rpc_core::policy::{Checkpoint, Delivery, Described, MethodKind, MethodPolicy, Secure, ServicePolicy};
use rpc_core::stream::Config;
use rpc_core::stream::digest::DigestKind;
use rpc_core::stream::flow::Side;
use rpc_core::stream::secured::Resumption;
use rpc_flow::{Checkpointed, Checkpoints, Frames, Item, Outgoing, Stream, View};
use rpc_proto::frames::parse_resume;
use rpc_proto::headers::{SESSION_ACTIVITY, SESSION_CALL, SESSION_FRAMES, SESSION_OUTCOME, SESSION_RESUME};
use rpc_proto::pb::session::v1::{OpenRequest, OpenResponse, ServiceGrant};
use rpc_proto::status::with_outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::codec::{EncodeBody, SingleMessageCompressionOverride};
use tonic::{Request, Response, Status, Streaming};

use super::fake::{Act, Fake, OPEN, opened};
use super::{NEVER, Raw};
use crate::net::{BoxIo, Connecting, Connector};
use crate::{Builder, Session};

pub(super) const UP: &str = "/s.S/Up";
pub(super) const DOWN: &str = "/s.S/Down";
pub(super) const CHAT: &str = "/s.S/Chat";
pub(super) const SILENT: &str = "/s.S/Silent";
pub(super) const FAILS: &str = "/s.S/Fails";
/// Fails like [`FAILS`], and promises nothing.
pub(super) const PLAIN_FAILS: &str = "/s.S/PlainFails";
/// Its handler secures points itself, and answers when the test lets it.
pub(super) const SECURE: &str = "/s.S/Secure";
/// Its handler places points itself, and ends when the test lets it.
pub(super) const GIVE: &str = "/s.S/Give";
/// Without checkpoints.
pub(super) const BARE: &str = "/s.S/Bare";

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

const fn plain(mut method: MethodPolicy) -> MethodPolicy {
    method.delivery = Delivery::Plain;
    method
}

const fn explicit(mut method: MethodPolicy) -> MethodPolicy {
    method.checkpoint =
        Some(Checkpoint { every_messages: None, every_bytes: None, every: None, secure: Secure::Explicit });
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
        plain(method(PLAIN_FAILS, MethodKind::Bidirectional)),
        explicit(method(SECURE, MethodKind::ClientStreaming)),
        explicit(method(GIVE, MethodKind::ServerStreaming)),
        MethodPolicy::plain(BARE, MethodKind::Bidirectional),
    ],
};

pub(super) struct S;

impl Described for S {
    const POLICY: &'static ServicePolicy = &POLICY;
}

/// A server of one session whose handlers outlive connections.
#[derive(Clone)]
pub(super) struct Server(Arc<Inner>);

struct Inner {
    session_service: Fake,
    streams: Mutex<BTreeMap<String, Stream>>,
    /// After how many bytes in either direction the next connections are cut.
    cuts: Mutex<VecDeque<u64>>,
    refusals: Mutex<VecDeque<Status>>,
    seen: Mutex<Vec<HeaderMap>>,
    messages: usize,
    /// Where the one activity stands.
    activity: Resumption,
    /// Lets a handler end.
    go: Arc<Notify>,
}

impl Server {
    pub(super) fn new(messages: usize, cuts: impl IntoIterator<Item = u64>, refusals: Vec<Status>) -> Self {
        Self::of_activity(messages, cuts, refusals, Resumption::default())
    }

    /// A server with an activity that stands there.
    pub(super) fn of_activity(
        messages: usize,
        cuts: impl IntoIterator<Item = u64>,
        refusals: Vec<Status>,
        activity: Resumption,
    ) -> Self {
        let session_service = Fake::new(|seen| {
            let grant = ServiceGrant { name: "s.S".into(), granted: true, reason: String::new() };
            let wanted = if seen.path == OPEN { seen.parse::<OpenRequest>().units } else { Vec::new() };
            let offered =
                [Unit::ExactlyOnce, Unit::Resume, Unit::MinorSynchronize, Unit::Activity, Unit::Digest];
            let offered = offered.map(|unit| i32::from(unit.number()));
            let units = wanted.into_iter().filter(|unit| offered.contains(unit)).collect();
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
            activity,
            go: Arc::default(),
        }))
    }

    pub(super) async fn session(&self) -> Session {
        self.builder().open().await.unwrap()
    }

    pub(super) fn builder(&self) -> Builder {
        let builder = Session::builder("http://fake.test").credentials("token").service::<S>();
        builder.connections(1).connector(self.clone())
    }

    /// The headers of the calls as they came.
    pub(super) fn seen(&self) -> Vec<HeaderMap> {
        self.0.seen.lock().unwrap().clone()
    }

    /// Lets the handler of [`SECURE`] or [`GIVE`] end.
    pub(super) fn go(&self) {
        self.0.go.notify_one();
    }

    /// The only stream.
    pub(super) fn stream(&self) -> Stream {
        self.0.streams.lock().unwrap().values().next().unwrap().clone()
    }

    /// The calls as they came, one entry for each attempt.
    pub(super) fn calls(&self) -> Vec<String> {
        let seen = self.0.seen.lock().unwrap();
        seen.iter().map(|headers| headers[&SESSION_CALL].to_str().unwrap().to_owned()).collect()
    }

    pub(super) fn session_service(&self) -> &Fake {
        &self.0.session_service
    }

    /// Refuses the next call so.
    pub(super) fn refuse(&self, status: Status) {
        self.0.refusals.lock().unwrap().push_back(status);
    }

    /// Waits until this holds for the only stream.
    pub(super) async fn stream_is(&self, holds: impl FnMut(&View) -> bool) {
        let stream = self.stream();
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

    fn config(&self, path: &str) -> Config {
        let method = POLICY.methods.iter().find(|method| method.path == path).unwrap();
        let mut config = Config::default();
        config.checkpoint = method.checkpoint;
        config.secure = method.checkpoint.unwrap().secure;
        let open: OpenRequest = self.session_service().seen(OPEN)[0].parse();
        if open.units.contains(&i32::from(Unit::Digest.number())) {
            config.digest = DigestKind::Blake3;
        }
        config
    }

    fn join(&self, request: http::Request<Incoming>) -> http::Response<tonic::body::Body> {
        let (head, body) = request.into_parts();
        assert_eq!(head.headers[&SESSION_FRAMES], "1");
        let call: rpc_core::id::CallAttempt = head.headers[&SESSION_CALL].to_str().unwrap().parse().unwrap();
        let resume = head.headers.get(SESSION_RESUME).map(|value| parse_resume(value).unwrap());
        let goes_on = head.headers.contains_key(SESSION_ACTIVITY) && self.0.activity != Resumption::default();
        assert_eq!(resume.is_some(), call.attempt.0 > 0 || goes_on);
        let mut streams = self.0.streams.lock().unwrap();
        let known = streams.get(&call.call.to_string()).cloned();
        let answered = if known.is_some() { "attached" } else { "new" };
        let stream = known.unwrap_or_else(|| {
            let config = self.config(head.uri.path());
            let stream = if goes_on {
                Stream::resumed(Side::Server, &config, &self.0.activity)
            } else {
                Stream::new(Side::Server, &config)
            };
            streams.insert(call.call.to_string(), stream.clone());
            tokio::spawn(handle(
                stream.clone(),
                head.uri.path().to_owned(),
                self.0.messages,
                self.0.go.clone(),
            ));
            stream
        });
        let (out, feed) = stream.attempt(call.attempt, resume.as_ref(), Frames::On).unwrap().split();
        tokio::spawn(feed.run(body));
        let mut response = http::Response::new(tonic::body::Body::new(out));
        response.headers_mut().insert(SESSION_OUTCOME, HeaderValue::from_static(answered));
        response
    }
}

/// Secures each point with the number of messages before it, and answers with that of all.
async fn secure(stream: &Stream, go: &Notify) -> Result<(), Status> {
    let messages = Streaming::new_request(Raw, tonic::body::Body::new(stream.app_body()), None, None);
    let mut request = Checkpointed::new(messages, &Checkpoints::of_stream(stream))?;
    let mut count = request.resumed().map_or(0, |resumed| resumed.position().messages);
    while let Some(item) = request.next().await? {
        match item {
            Item::Message(given) => {
                assert_eq!(given, message(usize::try_from(count).unwrap()));
                count += 1;
            }
            Item::SyncPoint(point) => {
                assert_eq!(point.position().messages, count);
                point.secure(format!("server at {count}")).await?;
            }
        }
    }
    go.notified().await;
    let answer = framed(usize::try_from(count).unwrap()..usize::try_from(count).unwrap() + 1);
    drop(stream.pump_app(http_body_util::Full::new(answer)).await);
    Ok(())
}

/// Gives messages, and a point after every ten.
async fn give(stream: &Stream, messages: usize) {
    let items = (0..messages).flat_map(|index| {
        let point = Outgoing::SyncPoint(format!("server at {}", index + 1).into());
        [Some(Outgoing::Message(message(index))), (index % 10 == 9).then_some(point)]
    });
    let items = futures_util::stream::iter(items.flatten().map(Ok::<_, Status>));
    let items = Checkpoints::of_stream(stream).outgoing_results(items);
    let body = EncodeBody::new_server(Raw, items, None, SingleMessageCompressionOverride::default(), None);
    drop(stream.pump_app(body).await);
}

/// What the handlers do with their messages, in gRPC's framing.
async fn handle(stream: Stream, path: String, messages: usize, go: Arc<Notify>) {
    let ok = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    if path == SECURE {
        stream.answer_head(Head { entries: Vec::new() });
        return match secure(&stream, &go).await {
            Ok(()) => stream.conclude(ok),
            Err(status) => stream.abandon(status),
        };
    }
    if path == GIVE {
        stream.answer_head(Head { entries: Vec::new() });
        give(&stream, messages).await;
        go.notified().await;
        return stream.conclude(ok);
    }
    let request = stream.app_body();
    if path == FAILS || path == PLAIN_FAILS {
        let _ = stream.pump_app(tonic::body::Body::empty()).await;
        let mut trailers = HeaderMap::new();
        let status = Status::not_found("no such thing");
        let status = if path == FAILS { with_outcome(status, Outcome::Done) } else { status };
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
    stream.conclude(ok);
}

pub(super) fn message(index: usize) -> Vec<u8> {
    (index as u64).to_be_bytes().to_vec()
}

pub(super) fn framed(range: std::ops::Range<usize>) -> Bytes {
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
    // What came through is handled before the end is seen: time stands still while anybody is busy.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let _ = (one_out.shutdown().await, other_out.shutdown().await);
}

pub(super) fn stub(session: &Session) -> tonic::client::Grpc<Session> {
    tonic::client::Grpc::new(session.clone())
}

pub(super) fn path(path: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(path)
}

pub(super) async fn up(session: &Session, messages: usize) -> Result<Response<Vec<u8>>, Status> {
    let requests = Request::new(tokio_stream::iter((0..messages).map(message)));
    timeout(NEVER, stub(session).client_streaming(requests, path(UP), Raw)).await.expect("the call hangs")
}

pub(super) async fn down(session: &Session) -> Result<Response<Streaming<Vec<u8>>>, Status> {
    let request = Request::new(message(7));
    timeout(NEVER, stub(session).server_streaming(request, path(DOWN), Raw)).await.expect("the call hangs")
}

pub(super) async fn chat(
    session: &Session,
    method: &'static str,
    messages: usize,
) -> Result<Response<Streaming<Vec<u8>>>, Status> {
    let requests = Request::new(tokio_stream::iter((0..messages).map(message)));
    timeout(NEVER, stub(session).streaming(requests, path(method), Raw)).await.expect("the call hangs")
}

pub(super) async fn all(mut stream: Streaming<Vec<u8>>) -> Result<Vec<Vec<u8>>, Status> {
    let mut all = Vec::new();
    while let Some(item) = timeout(NEVER, stream.next()).await.expect("the stream hangs") {
        all.push(item?);
    }
    Ok(all)
}
