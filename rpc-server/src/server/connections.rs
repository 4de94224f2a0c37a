//! What the network gets: the stack of layers for each connection, and the news of its end for the sessions.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use rpc_http2::Incoming;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_layer::Layer;
use tower_service::Service;

use super::StackLayer;
use super::unread::Unread;
use crate::layers::admission::WithAdmission;
use crate::layers::authenticate::Authenticate;
use crate::layers::deadline::WithDeadline;
use crate::layers::session::Session;
use crate::layers::trace::Trace;
use crate::net::{CloseReason, ConnectionInfo, Connections};
use crate::sessions::Sessions;

/// All layers around `S`, outermost first.
pub(crate) type Stack<S> = Trace<Authenticate<Session<WithDeadline<WithAdmission<S>>>>>;

/// Everything that serves, shared by all threads.
#[derive(Clone)]
pub(crate) struct Serving {
    sessions: Arc<Sessions>,
    stack: Stack<Routes>,
    health: HealthReporter,
    services: Arc<[&'static str]>,
}

impl Serving {
    pub(super) fn new(
        layer: &StackLayer,
        routes: Routes,
        health: HealthReporter,
        services: Arc<[&'static str]>,
    ) -> Self {
        Self { sessions: layer.sessions(), stack: layer.layer(routes.prepare()), health, services }
    }

    /// No new work from now on.
    pub(super) fn drain(&self) {
        self.sessions.drain();
        let tell = self.not_serving();
        // Setting a status waits for a lock that is held for moments, so a thread without a runtime may wait itself.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(self.sessions.orphans().spawn_on(tell, &runtime)),
            Err(_) => block_on(tell),
        }
    }

    /// Looks after the sessions, for ever, and says so when the store has failed.
    pub(super) fn reap(&self) -> impl Future<Output = ()> + use<> {
        let (sessions, not_serving) = (Arc::clone(&self.sessions), self.not_serving());
        async move {
            let failed = sessions.store_failed().clone();
            let tell = async {
                failed.cancelled().await;
                not_serving.await;
            };
            tokio::join!(sessions.reap(), tell);
        }
    }

    /// Tells whoever asks for health.
    fn not_serving(&self) -> impl Future<Output = ()> + Send + use<> {
        let (health, services) = (self.health.clone(), Arc::clone(&self.services));
        async move {
            for service in services.iter() {
                health.set_service_status(*service, ServingStatus::NotServing).await;
            }
        }
    }
}

/// Runs `future`, which needs no runtime, on this thread.
fn block_on(future: impl Future<Output = ()>) {
    match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => tracing::warn!(%error, "health does not say that the server is draining"),
    }
}

impl Connections for Serving {
    type Service = FromIncoming<Stack<Routes>>;

    fn open(&self, connection: &ConnectionInfo) -> Self::Service {
        self.sessions.connection_open(connection.id());
        FromIncoming { inner: self.stack.clone(), tasks: self.sessions.orphans().clone() }
    }

    fn closed(&self, connection: &ConnectionInfo, _: CloseReason) {
        self.sessions.connection_closed(connection.id());
    }

    /// Waits for handlers that outlived their connections, up to the deadline of the drain.
    async fn finish(&self) {
        let orphans = self.sessions.orphans();
        orphans.close();
        orphans.wait().await;
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Gives the requests of a connection to the layers.
#[derive(Clone)]
pub(crate) struct FromIncoming<S> {
    inner: S,
    /// What is left of requests that were answered early.
    tasks: TaskTracker,
}

impl<S> Service<Request<Incoming>> for FromIncoming<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> S::Future {
        let tasks = self.tasks.clone();
        self.inner.call(request.map(|body| Body::new(Unread::new(body, tasks))))
    }
}
