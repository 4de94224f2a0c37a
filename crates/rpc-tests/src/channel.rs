//! A gRPC client made by hand: one HTTP/2 connection that can be cut, and whatever headers the test says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use prost::Message;
use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::{Answered, SESSION_OUTCOME};
use rpc_proto::status::Details;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::soon;

/// Longest message that is sent, in bytes; the length of a gRPC frame has 32 bits.
const MESSAGE_BYTES_MAX: usize = u32::MAX as usize;

/// One connection. Clones share it; it is cut when the last one is dropped.
///
/// It does nothing by itself: no reconnect, no retry. It is what generated stubs want of a channel.
#[derive(Clone)]
pub struct Channel {
    requests: SendRequest<Body>,
    headers: HeaderMap,
    connection: Arc<Connection>,
}

struct Connection(CancellationToken);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs the tasks of one connection until it is cut. hyper keeps the socket in one of them.
#[derive(Clone)]
struct Tasks(CancellationToken);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(task));
    }
}

impl Channel {
    /// Connects by TCP.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or the peer does not speak HTTP/2.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    /// Speaks HTTP/2 over `io`.
    ///
    /// # Errors
    ///
    /// The peer does not speak HTTP/2.
    pub async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Self> {
        let cut = CancellationToken::new();
        let tasks = Tasks(cut.clone());
        let shaken = http2::handshake(tasks.clone(), TokioIo::new(io)).await;
        let (requests, connection) = shaken.map_err(io::Error::other)?;
        // Each call learns of the end by itself.
        tasks.execute(connection);
        let connection = Arc::new(Connection(cut));
        Ok(Self { requests, headers: HeaderMap::new(), connection })
    }

    /// The same connection, with `headers` added to each request.
    pub fn with(&self, headers: HeaderMap) -> Self {
        let mut channel = self.clone();
        channel.headers.extend(headers);
        channel
    }

    /// The same connection, with one more header in each request. A repeated name is sent repeatedly.
    pub fn with_header(&self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let mut channel = self.clone();
        let value = HeaderValue::from_bytes(value.as_ref()).expect("tests send headers that HTTP allows");
        channel.headers.append(name, value);
        channel
    }

    /// The same connection, with a bearer token in each request.
    pub fn bearer(&self, token: &str) -> Self {
        self.with_header("authorization", format!("Bearer {token}"))
    }

    /// Drops the connection with whatever is in flight, as if its cable had been pulled out.
    pub fn cut(&self) {
        self.connection.0.cancel();
    }

    /// Whether the connection takes no more requests: it was cut, or the server said so.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Makes one unary call and reads its answer to the end.
    ///
    /// # Errors
    ///
    /// The connection ended before the answer did.
    pub async fn call(&self, path: &str, message: &impl Message) -> Result<Answer, hyper::Error> {
        self.call_bytes(path, frame(message)).await
    }

    /// Like [`call`](Self::call), with a request body that need not be one message.
    ///
    /// # Errors
    ///
    /// The connection ended before the answer did.
    pub async fn call_bytes(&self, path: &str, body: Bytes) -> Result<Answer, hyper::Error> {
        Answer::read(self.send(path, Body::new(Full::new(body))).await?).await
    }

    /// Sends a request and returns the head of its answer. Requests are sent in the order in which this is called, not
    /// in that in which the futures are polled.
    ///
    /// # Errors
    ///
    /// The connection ended before that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the stream.
    pub fn send(
        &self,
        path: &str,
        body: Body,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = path.parse().expect("tests call paths");
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        self.clone().call_service(request)
    }

    /// Sends a request whose body the test gives later.
    pub fn withhold(&self, path: &'static str) -> Withheld {
        let (body, pieces) = mpsc::channel(1);
        let stream = StreamBody::new(ReceiverStream::new(pieces));
        let response = self.send(path, Body::new(stream));
        let keep = self.clone();
        let answer = tokio::spawn(async move {
            let answer = Answer::read(response.await?).await;
            drop(keep);
            answer
        });
        Withheld { body, answer }
    }

    fn call_service(
        &mut self,
        mut request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        *request.uri_mut() = absolute(request.uri());
        self.requests.send_request(request)
    }
}

/// A request of which the server has the headers, and as much of the body as the test gave.
pub struct Withheld {
    body: mpsc::Sender<Result<Frame<Bytes>, Status>>,
    answer: JoinHandle<Result<Answer, hyper::Error>>,
}

impl Withheld {
    /// Sends a piece of the body.
    ///
    /// # Panics
    ///
    /// The stream is gone.
    pub async fn give(&self, piece: Bytes) {
        self.body.send(Ok(Frame::data(piece))).await.expect("the stream takes more");
    }

    /// Waits for the answer, with the rest of the body still missing.
    ///
    /// # Panics
    ///
    /// The connection is lost, or nothing comes back.
    pub async fn answer(self) -> Answer {
        soon("the answer", self.answer).await.expect("the task does not panic").expect("the connection holds")
    }

    /// Ends the request and waits for the answer.
    ///
    /// # Panics
    ///
    /// The connection is lost, or nothing comes back.
    pub async fn finish(self) -> Answer {
        drop(self.body);
        soon("the answer", self.answer).await.expect("the task does not panic").expect("the connection holds")
    }

    /// Gives up, which resets the stream.
    pub async fn reset(self) {
        self.answer.abort();
        let _ = self.answer.await;
    }
}

/// HTTP/2 wants scheme and authority; stubs give a path only.
fn absolute(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static("test"));
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).expect("it has all its parts")
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send + 'static>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.call_service(request))
    }
}

/// A message as gRPC frames it.
///
/// # Panics
///
/// The message has 4 GiB or more.
pub fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    assert!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
    let mut framed = BytesMut::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(length as u32);
    message.encode(&mut framed).expect("the buffer grows");
    framed.freeze()
}

/// All of an answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Response headers, without `date`, which differs between any two answers.
    pub headers: HeaderMap,
    /// The body: no message or one, with its frame.
    pub body: Bytes,
    /// Trailers; empty if the status came in the headers.
    pub trailers: HeaderMap,
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Errors
    ///
    /// The connection or the stream ended first.
    pub async fn read(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (mut head, body) = response.into_parts();
        head.headers.remove("date");
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Self { headers: head.headers, body: body.to_bytes(), trailers })
    }

    /// The status, wherever it came.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn status(&self) -> Status {
        Status::from_header_map(&self.trailers)
            .or_else(|| Status::from_header_map(&self.headers))
            .unwrap_or_else(|| panic!("an answer without status: {self:?}"))
    }

    /// The reason of the session protocol, if the answer has one.
    pub fn reason(&self) -> Option<Reason> {
        Details::of(&self.status()).reason
    }

    /// The outcome that the answer states.
    pub fn outcome(&self) -> Option<Outcome> {
        Details::of(&self.status()).outcome
    }

    /// What the header `session-outcome` says.
    pub fn answered(&self) -> Option<Answered> {
        Answered::parse(&self.headers)
    }

    /// The message of a good answer.
    ///
    /// # Panics
    ///
    /// The answer is an error, or holds no such message.
    #[track_caller]
    pub fn message<M: Message + Default>(&self) -> M {
        let status = self.status();
        assert_eq!(status.code(), tonic::Code::Ok, "{status:?}");
        M::decode(self.body.slice(5..)).expect("the message decodes")
    }

    /// The answer without `session-outcome`, which is all in which two answers for one call may differ.
    pub fn without_outcome(mut self) -> Self {
        self.headers.remove(SESSION_OUTCOME);
        self
    }
}
