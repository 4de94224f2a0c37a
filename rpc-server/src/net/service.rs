//! What the layer above provides for each connection.

use std::convert::Infallible;
use std::future::Future;

use http::{Request, Response};
use rpc_http2::Incoming;
use tonic::body::Body;
use tower_service::Service;

use super::{CloseReason, ConnectionInfo};

/// Serves connections. Shared by all threads of a server. A closure `Fn(&ConnectionInfo) -> service` is one, where
/// nothing need be known of the end of connections.
pub trait Connections: Send + Sync + 'static {
    /// Answers the requests of one connection; cloned for each. A [`ConnectionInfo`] is in their extensions.
    type Service: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static;

    /// Called when the peer has proved to speak HTTP/2, before its first request. If it panics, the connection is
    /// closed.
    fn open(&self, connection: &ConnectionInfo) -> Self::Service;

    /// Called exactly once for each `open` that returned, however the connection ended, and before `serve`
    /// returns. When `reason` is not [`CloseReason::Aborted`], all handlers of the connection have ended. Runs on the
    /// connection's task and must not block. A panic is caught and logged.
    fn closed(&self, connection: &ConnectionInfo, reason: CloseReason) {
        let (_, _) = (connection, reason);
    }

    /// Called once on each runtime when its last connection has ended, and awaited before that runtime stops, for
    /// work that outlives connections. Whatever handlers spawned on the runtime and is not awaited here is dropped
    /// with it. Bounded by the deadline of the drain.
    fn finish(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

impl<F, S> Connections for F
where
    F: Fn(&ConnectionInfo) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
{
    type Service = S;

    fn open(&self, connection: &ConnectionInfo) -> S {
        self(connection)
    }
}
