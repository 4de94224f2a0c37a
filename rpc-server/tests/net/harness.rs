//! A server on pipes, a log of what it saw, and clients that can be stopped in the middle.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use rpc_core::id::ConnectionId;
use rpc_server::net::{
    Accepted, CloseReason, Config, ConnectionInfo, Connections, Handle, Incoming, Report, serve_with_incoming,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tower_service::Service;

/// What the application saw. A clone shows the same.
#[derive(Clone, Default)]
pub(crate) struct App(Arc<Seen>);

#[derive(Default)]
struct Seen {
    opened: Mutex<Vec<ConnectionInfo>>,
    closed: Mutex<Vec<(ConnectionId, CloseReason)>>,
    running: AtomicUsize,
    running_at_close: Mutex<HashMap<ConnectionId, usize>>,
}

impl App {
    /// Connections that were opened.
    pub(crate) fn opened(&self) -> Vec<ConnectionInfo> {
        self.0.opened.lock().unwrap().clone()
    }

    /// Why connections ended, in that order.
    pub(crate) fn reasons(&self) -> Vec<CloseReason> {
        self.0.closed.lock().unwrap().iter().map(|(_, reason)| *reason).collect()
    }

    /// Handlers that run.
    pub(crate) fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// Handlers that ran when the first connection was reported closed.
    pub(crate) fn running_at_close(&self) -> usize {
        self.0.running_at_close.lock().unwrap()[&ConnectionId(1)]
    }
}

impl Connections for App {
    type Service = Handler;

    fn open(&self, connection: &ConnectionInfo) -> Handler {
        self.0.opened.lock().unwrap().push(connection.clone());
        Handler(self.clone())
    }

    fn closed(&self, connection: &ConnectionInfo, reason: CloseReason) {
        self.0.running_at_close.lock().unwrap().insert(connection.id(), self.running());
        self.0.closed.lock().unwrap().push((connection.id(), reason));
    }
}

/// Answers `/wait/<ms>` after that time, `/body/<ms>` at once with a body that ends after that time, `/never` never,
/// `/panic` with a panic, and everything else at once.
#[derive(Clone)]
pub(crate) struct Handler(App);

struct Running(App);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Request<Incoming>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.0.0.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(self.0.clone());
        Box::pin(async move {
            let info = request.extensions().get::<ConnectionInfo>().unwrap().clone();
            let (path, number) = request.uri().path().rsplit_once('/').unwrap();
            let time = Duration::from_millis(number.parse().unwrap_or(0));
            let body = match (path, number) {
                ("", "never") => pending().await,
                ("", "panic") => panic!("a handler's bug"),
                ("/wait", _) => {
                    sleep(time).await;
                    Body::empty()
                }
                ("/body", _) => {
                    let last = async move {
                        sleep(time).await;
                        drop(running);
                        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"end")))
                    };
                    Body::new(StreamBody::new(stream::once(Box::pin(last))))
                }
                _ => Body::empty(),
            };
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            let response = Response::builder().header("thread", thread).header("connection", info.id().0);
            Ok(response.body(body).unwrap())
        })
    }
}

/// A server on pipes.
pub(crate) struct Server {
    pub(crate) app: App,
    pub(crate) handle: Handle,
    incoming: mpsc::Sender<io::Result<Accepted<DuplexStream>>>,
    task: JoinHandle<Report>,
}

impl Server {
    pub(crate) fn start(config: &Config) -> Self {
        let app = App::default();
        Self::start_with(config, app.clone(), app)
    }

    /// A server whose connections are not the `app` itself.
    pub(crate) fn start_with(config: &Config, app: App, connections: impl Connections) -> Self {
        let (incoming, accepted) = mpsc::channel(64);
        let handle = Handle::new();
        let (config, server_handle) = (config.clone(), handle.clone());
        let task = tokio::spawn(async move {
            serve_with_incoming(ReceiverStream::new(accepted), connections, &config, &server_handle).await
        });
        Self { app, handle, incoming, task }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> DuplexStream {
        self.connect_from(|accepted| accepted).await
    }

    pub(crate) async fn connect_from(
        &self,
        address: impl FnOnce(Accepted<DuplexStream>) -> Accepted<DuplexStream>,
    ) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.incoming.send(Ok(address(Accepted::new(theirs)))).await.unwrap();
        ours
    }

    /// Makes the next accept fail.
    pub(crate) async fn fail_accept(&self, error: io::Error) {
        self.incoming.send(Err(error)).await.unwrap();
    }

    /// Waits for the server to end by itself.
    pub(crate) async fn ended(self) -> Report {
        timeout(Duration::from_secs(3_600), self.task).await.unwrap().unwrap()
    }

    /// Ends the server as if its caller had lost interest.
    pub(crate) fn abort(self) {
        self.task.abort();
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}

/// A client that keeps its side going by a task.
pub(crate) struct Client {
    requests: Requests,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(crate) async fn start(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (requests, connection) = h2::client::handshake(io).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// The head of the answer.
    pub(crate) async fn head(&self, path: &str) -> Result<Response<h2::RecvStream>, h2::Error> {
        head(self.requests.clone(), path).await
    }

    /// The status of the answer, when all of it is there.
    pub(crate) async fn call(&self, path: &str) -> Result<StatusCode, h2::Error> {
        call(self.requests.clone(), path).await
    }

    /// The same, while other things happen.
    pub(crate) fn begin(&self, path: &'static str) -> JoinHandle<Result<StatusCode, h2::Error>> {
        tokio::spawn(call(self.requests.clone(), path))
    }

    /// Waits for the server's GOAWAY, as far as one that asks every 10 ms can tell.
    pub(crate) async fn told_to_go(&self) -> h2::Error {
        loop {
            if let Err(error) = self.requests.clone().ready().await {
                return error;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the end of the connection.
    pub(crate) async fn gone(self) {
        drop(self.requests);
        let _ = self.connection.await.unwrap();
    }

    /// Drops the connection with whatever is in flight.
    pub(crate) fn abandon(self) {
        self.connection.abort();
    }

    /// Stops to answer, without closing anything.
    pub(crate) async fn fall_silent(io: DuplexStream) -> Silent {
        let (mut requests, mut connection) = h2::client::handshake(io).await.unwrap();
        let request = Request::builder().uri("http://server/now").body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        tokio::select! {
            head = response => assert_eq!(head.unwrap().status(), StatusCode::OK),
            _ = &mut connection => panic!("the connection ended"),
        }
        Silent { _connection: connection, _requests: requests }
    }
}

type Requests = h2::client::SendRequest<Bytes>;

async fn head(requests: Requests, path: &str) -> Result<Response<h2::RecvStream>, h2::Error> {
    let request = Request::builder().uri(format!("http://server{path}")).body(()).unwrap();
    let (response, _) = requests.ready().await?.send_request(request, true)?;
    response.await
}

async fn call(requests: Requests, path: &str) -> Result<StatusCode, h2::Error> {
    let (head, mut body) = head(requests, path).await?.into_parts();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    Ok(head.status)
}

/// Keeps a connection open that nobody serves.
pub(crate) struct Silent {
    _connection: h2::client::Connection<DuplexStream>,
    _requests: Requests,
}

/// Asserts that `seconds` have passed since `start`, give or take what polling costs.
#[track_caller]
pub(crate) fn assert_elapsed(start: Instant, seconds: u64) {
    let elapsed = start.elapsed();
    let expected = Duration::from_secs(seconds);
    let near = expected.saturating_sub(Duration::from_millis(50))..=expected + Duration::from_millis(50);
    assert!(near.contains(&elapsed), "{elapsed:?}, expected {expected:?}");
}
