//! A server that does what a test tells it, over streams in memory.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rpc_core::policy::{Delivery, Described, MethodKind, MethodPolicy, ServicePolicy};
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::*;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::NEVER;
use crate::net::{BoxIo, Connecting, Connector};
use crate::{Builder, Session};

pub(super) const OPEN: &str = "/session.v1.SessionService/Open";
pub(super) const RENEW: &str = "/session.v1.SessionService/Renew";
pub(super) const QUERY: &str = "/session.v1.SessionService/Query";
pub(super) const ATTACH: &str = "/session.v1.SessionService/Attach";
pub(super) const RELEASE: &str = "/session.v1.SessionService/Release";
pub(super) const ABORT: &str = "/session.v1.SessionService/Abort";
pub(super) const ONCE: &str = "/b.B/Once";
pub(super) const AGAIN: &str = "/b.B/Again";
pub(super) const PLAIN: &str = "/b.B/Plain";

const fn method(path: &'static str, delivery: Delivery, kind: MethodKind) -> MethodPolicy {
    let mut method = MethodPolicy::plain(path, kind);
    method.delivery = delivery;
    method
}

static POLICY: ServicePolicy = ServicePolicy {
    name: "b.B",
    version: 3,
    hash: 77,
    methods: &[
        method(ONCE, Delivery::AtMostOnce, MethodKind::Unary),
        method(AGAIN, Delivery::AtLeastOnce, MethodKind::Unary),
        method(PLAIN, Delivery::Plain, MethodKind::ServerStreaming),
        method("/b.B/OnceStream", Delivery::AtMostOnce, MethodKind::ServerStreaming),
    ],
};

pub(super) struct B;

impl Described for B {
    const POLICY: &'static ServicePolicy = &POLICY;
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) message: Bytes,
    pub(super) at: Instant,
    /// How many requests of this path came before.
    pub(super) earlier: usize,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn call(&self) -> &str {
        self.header("session-call").unwrap_or("none")
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        rpc_proto::deadline::parse(&self.headers).unwrap()
    }

    pub(super) fn parse<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).unwrap()
    }
}

/// What the server does with a request.
#[derive(Clone)]
pub(super) enum Act {
    Reply(Bytes),
    Fail(Status),
    /// Cuts the connection: the client cannot know what became of the request.
    Cut,
    /// Cuts the connection after half of this reply.
    CutInReply(Bytes),
    /// Refuses the stream, as one that was not processed.
    RefuseStream,
    Hang,
    /// A proxy's answer, with a page for people.
    Http(StatusCode),
    After(Duration, Box<Act>),
    /// Messages, each after a while.
    Stream(Vec<(Duration, Bytes)>),
    /// Messages, and then nothing more, while the stream stays open.
    Notices(Vec<(Duration, Bytes)>),
}

impl Act {
    pub(super) fn message(message: &impl Message) -> Self {
        Self::Reply(message.encode_to_vec().into())
    }
}

type Rule = Box<dyn Fn(&Seen) -> Option<Act> + Send + Sync>;

/// The server.
#[derive(Clone)]
pub(super) struct Fake(Arc<Inner>);

struct Inner {
    rule: Rule,
    seen: Mutex<Vec<Seen>>,
    open: tokio::sync::watch::Sender<usize>,
}

impl Fake {
    /// A server that does what `rule` says, and what a good server does where it says nothing.
    pub(super) fn new(rule: impl Fn(&Seen) -> Option<Act> + Send + Sync + 'static) -> Self {
        let open = tokio::sync::watch::Sender::new(0);
        Self(Arc::new(Inner { rule: Box::new(rule), seen: Mutex::default(), open }))
    }

    /// A builder whose connections lead here.
    pub(super) fn builder(&self) -> Builder {
        Session::builder("http://fake.test")
            .credentials("token-canary")
            .service::<B>()
            .connections(1)
            .connector(self.clone())
    }

    pub(super) async fn session(&self) -> Session {
        self.builder().open().await.unwrap()
    }

    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        self.0.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }

    pub(super) fn calls(&self, path: &str) -> Vec<String> {
        self.seen(path).iter().map(|seen| seen.call().to_owned()).collect()
    }

    /// Waits until no connection is open.
    pub(super) async fn deserted(&self) {
        let mut open = self.0.open.subscribe();
        timeout(NEVER, open.wait_for(|open| *open == 0)).await.expect("connections stay open").unwrap();
    }

    /// Waits until this many requests of this path came.
    pub(super) async fn reached(&self, path: &str, count: usize) {
        let waiting = async {
            while self.seen(path).len() < count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(NEVER, waiting).await.is_ok(), "{} instead of {count}", self.seen(path).len());
    }

    async fn serve(self, io: tokio::io::DuplexStream) {
        self.0.open.send_modify(|open| *open += 1);
        let cut = CancellationToken::new();
        let service = service_fn(|request| self.clone().answer(request, cut.clone()));
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service);
        cut.run_until_cancelled(connection).await;
        self.0.open.send_modify(|open| *open -= 1);
    }

    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        cut: CancellationToken,
    ) -> Result<Response<Body>, h2::Error> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        // `Attach` never ends its request.
        let whole = if path == ATTACH { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
        let message = whole.slice(whole.len().min(5)..);
        let earlier = self.seen(&path).len();
        let seen = Seen { path, headers: head.headers, message, at: Instant::now(), earlier };
        self.0.seen.lock().unwrap().push(seen.clone());
        let act = (self.0.rule)(&seen).unwrap_or_else(|| as_usual(&seen));
        act_on(act, cut).await
    }
}

impl Connector for Fake {
    fn connect(&self, _target: http::Uri) -> Connecting {
        let (near, far) = tokio::io::duplex(256 << 10);
        tokio::spawn(self.clone().serve(far));
        Box::pin(async move { Ok(Box::new(near) as BoxIo) })
    }
}

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn act_on(mut act: Act, cut: CancellationToken) -> Result<Response<Body>, h2::Error> {
    while let Act::After(wait, then) = act {
        sleep(wait).await;
        act = *then;
    }
    Ok(match act {
        Act::Reply(message) => stream(vec![(Duration::ZERO, message)], Some(ok())),
        Act::Fail(status) => status.into_http::<tonic::body::Body>().map(|_| Body::default()),
        Act::Cut => {
            cut.cancel();
            std::future::pending().await
        }
        Act::CutInReply(message) => {
            tokio::spawn(async move {
                sleep(Duration::from_millis(5)).await;
                cut.cancel();
            });
            stream(vec![(Duration::ZERO, message)], None)
        }
        Act::RefuseStream => return Err(h2::Reason::REFUSED_STREAM.into()),
        Act::Hang | Act::After(..) => std::future::pending().await,
        Act::Http(status) => Response::builder().status(status).body(page()).unwrap(),
        Act::Stream(messages) => stream(messages, Some(ok())),
        Act::Notices(messages) => stream(messages, None),
    })
}

fn page() -> Body {
    Body::new(http_body_util::Full::new(Bytes::from_static(
        b"<html>the gateway has no backend for this</html>",
    )))
}

fn ok() -> HeaderMap {
    HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))])
}

fn stream(messages: Vec<(Duration, Bytes)>, trailers: Option<HeaderMap>) -> Response<Body> {
    let messages = futures_util::stream::iter(messages).then(|(wait, message)| async move {
        sleep(wait).await;
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap());
        framed.put(message);
        Ok(Frame::data(framed.freeze()))
    });
    let end = futures_util::stream::once(async move {
        match trailers {
            Some(trailers) => Ok(Frame::trailers(trailers)),
            None => std::future::pending().await,
        }
    });
    let mut response = Response::new(Body::new(StreamBody::new(messages.chain(end))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

pub(super) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// The ticket of the opening.
pub(super) const TICKET: &[u8] = b"ticket-canary-ticket-canary-tick";

/// The header of this ticket.
pub(super) fn header_of(ticket: &[u8]) -> String {
    let ticket = rpc_core::id::Ticket(ticket.try_into().unwrap());
    rpc_proto::headers::ticket_value(&ticket).to_str().unwrap().to_owned()
}

pub(super) fn opened() -> OpenResponse {
    OpenResponse {
        number: 4711,
        ticket: Bytes::from_static(TICKET),
        epoch: 1,
        version: 1,
        lease: seconds(30),
        linger: seconds(600),
        slots: 2,
        reply_bytes_max: 65_536,
        window_bytes: 1 << 20,
        services: vec![ServiceGrant { name: "b.B".into(), granted: true, reason: String::new() }],
        first_turn: FirstTurn::Initiator.into(),
        ..OpenResponse::default()
    }
}

pub(super) fn found(state: State, last_sequence: u64) -> Act {
    Act::message(&QueryResponse { state: state.into(), last_sequence, ..Default::default() })
}

pub(super) fn as_usual(seen: &Seen) -> Act {
    match seen.path.as_str() {
        OPEN => Act::message(&opened()),
        RENEW => Act::message(&RenewResponse { lease: seconds(30), ..RenewResponse::default() }),
        QUERY => match seen.parse() {
            QueryRequest { settle: true, sequence, .. } => found(State::NotExecuted, sequence),
            QueryRequest { .. } => found(State::Absent, 0),
        },
        RELEASE => Act::message(&ReleaseResponse::default()),
        ABORT => Act::message(&AbortResponse::default()),
        ATTACH => Act::Fail(Status::unimplemented("no Attach")),
        _ => Act::Reply(Bytes::from_static(b"pong")),
    }
}
