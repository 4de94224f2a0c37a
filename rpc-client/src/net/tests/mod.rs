//! Connections against servers that break in every way they can.

mod life;
mod limits;
mod tls;
mod truth;

use std::{
    convert::Infallible,
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::*;

/// Bounds every wait on a real socket, so that a broken test fails instead of hanging.
const SOON: Duration = Duration::from_secs(20);

/// A server on a port of its own, whose connections can be told to leave or be cut.
struct Server {
    uri: Uri,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Shared {
    tls: Option<TlsAcceptor>,
    streams_max: Option<u32>,
    peers: Mutex<Vec<Peer>>,
    accepted: watch::Sender<usize>,
    ended: watch::Sender<usize>,
    started: watch::Sender<usize>,
    dropped: AtomicUsize,
    go_on: Notify,
}

struct Peer {
    leave: CancellationToken,
    task: AbortHandle,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(Shared::default()).await
    }

    async fn start_with(shared: Shared) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if shared.tls.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let shared = Arc::new(shared);
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Self { uri, shared, accepting }
    }

    fn connections(&self, config: Config) -> Connections {
        Connections::new(self.uri.clone(), config).unwrap()
    }

    /// Asks all connections to leave gracefully.
    fn goaway(&self) {
        self.shared.peers.lock().unwrap().drain(..).for_each(|peer| peer.leave.cancel());
    }

    /// Cuts all connections.
    fn cut(&self) {
        self.shared.peers.lock().unwrap().drain(..).for_each(|peer| peer.task.abort());
    }

    async fn accepted(&self, connections: usize) {
        reaches(&self.shared.accepted, connections).await;
    }

    async fn started(&self, calls: usize) {
        reaches(&self.shared.started, calls).await;
    }

    async fn ended(&self, connections: usize) {
        reaches(&self.shared.ended, connections).await;
    }

    fn dropped(&self) -> usize {
        self.shared.dropped.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("accepted", &*self.shared.accepted.borrow())
            .field("ended", &*self.shared.ended.borrow())
            .field("started", &*self.shared.started.borrow())
            .finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

#[track_caller]
fn reaches(count: &watch::Sender<usize>, wanted: usize) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    let mut count = count.subscribe();
    async move {
        let reached = timeout(SOON, count.wait_for(|count| *count >= wanted)).await.is_ok();
        let now = *count.borrow();
        assert!(reached, "{now} instead of {wanted}, awaited at {at}");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let leave = CancellationToken::new();
        let task = tokio::spawn(serve(stream, shared.clone(), leave.clone())).abort_handle();
        shared.peers.lock().unwrap().push(Peer { leave, task });
        shared.accepted.send_modify(|count| *count += 1);
    }
}

async fn serve(stream: tokio::net::TcpStream, shared: Arc<Shared>, leave: CancellationToken) {
    let _ended = CountOnDrop(shared.clone(), |shared| shared.ended.send_modify(|count| *count += 1));
    let io: BoxIo = match shared.tls.clone() {
        None => Box::new(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    if let Some(streams) = shared.streams_max {
        http2.max_concurrent_streams(streams);
    }
    let service = service_fn(move |request| answer(request, shared.clone()));
    let mut connection = std::pin::pin!(http2.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = leave.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    _ = connection.await;
}

struct CountOnDrop(Arc<Shared>, fn(&Shared));

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        (self.1)(&self.0);
    }
}

/// `/echo` answers with the request; `/wait` answers when told to go on; `/open` sends a head and then nothing.
async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    shared.started.send_modify(|count| *count += 1);
    let path = request.uri().path().to_owned();
    let origin = format!("{}://{}", request.uri().scheme_str().unwrap(), request.uri().authority().unwrap());
    let Ok(body) = request.into_body().collect().await else {
        return Ok(Response::new(BoxBody::default()));
    };
    let dropped = CountOnDrop(shared.clone(), |shared| {
        shared.dropped.fetch_add(1, Ordering::SeqCst);
        shared.started.send_modify(|_| ());
    });
    match path.as_str() {
        "/wait" => shared.go_on.notified().await,
        "/open" => {
            let never = futures_util::stream::once(async move {
                let _dropped = dropped;
                std::future::pending().await
            });
            return Ok(Response::new(BoxBody::new(StreamBody::new(never))));
        }
        _ => {}
    }
    std::mem::forget(dropped);
    let response = Response::builder().header("origin", origin).body(Full::new(body.to_bytes()).boxed());
    Ok(response.unwrap())
}

fn post(path: &str) -> Request<Body> {
    let body = Body::new(Full::new(Bytes::from(path.to_owned())));
    Request::post(path).version(http::Version::HTTP_2).body(body).unwrap()
}

async fn echo(connections: &Connections) -> Result<Bytes, SendError> {
    let response = connections.send_with(|| post("/echo"), SendOptions::default()).await?;
    Ok(response.into_body().collect().await.unwrap().to_bytes())
}

fn within(time: Duration) -> SendOptions {
    SendOptions { deadline: Some(tokio::time::Instant::now() + time), ..SendOptions::default() }
}

/// A connector whose dials all fail, each counted.
fn refusing(dials: &watch::Sender<usize>) -> impl Connector + use<> {
    let dials = dials.clone();
    move |_| {
        dials.send_modify(|count| *count += 1);
        async { Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody there")) }
    }
}

/// A connector to which `serve` is the server, over a stream in memory.
fn in_memory<F, Fut>(serve: F) -> impl Connector
where
    F: Fn(tokio::io::DuplexStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    move |_| {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve(far));
        async { Ok(Box::new(near) as BoxIo) }
    }
}

fn nowhere(config: Config) -> Connections {
    Connections::new(Uri::from_static("http://nowhere.test"), config).unwrap()
}
