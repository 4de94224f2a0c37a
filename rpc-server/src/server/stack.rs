//! The stack of layers, for this server and for tonic's own.

use std::sync::Arc;

use tonic::service::Routes;
use tower_layer::Layer;

use super::Stack;
use crate::auth::Authenticator;
use crate::layers::admission::AdmissionLayer;
use crate::layers::authenticate::AuthenticateLayer;
use crate::layers::deadline::DeadlineLayer;
use crate::layers::session::SessionLayer;
use crate::layers::trace::TraceLayer;
use crate::methods::Methods;
use crate::sessions::Sessions;

/// All layers as one, in their order. Cheap to clone.
#[derive(Clone)]
pub struct StackLayer {
    sessions: Arc<Sessions>,
    authenticate: AuthenticateLayer,
    session: SessionLayer,
    admission: AdmissionLayer,
}

impl StackLayer {
    pub(super) fn new(
        sessions: Arc<Sessions>,
        methods: &Arc<Methods>,
        authenticator: Arc<dyn Authenticator>,
        calls_max: usize,
        message_bytes_max: usize,
    ) -> Self {
        Self {
            authenticate: AuthenticateLayer::new(authenticator, Arc::clone(methods)),
            session: SessionLayer::new(Arc::clone(&sessions), Arc::clone(methods)),
            admission: AdmissionLayer::new(Arc::clone(&sessions), calls_max, message_bytes_max),
            sessions,
        }
    }

    pub(super) fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.sessions)
    }
}

impl<S> Layer<S> for StackLayer {
    type Service = Stack<S>;

    /// The order, and why: see [`layers`](crate::layers).
    fn layer(&self, inner: S) -> Self::Service {
        let inner = self.admission.layer(inner);
        let inner = DeadlineLayer::new().layer(inner);
        let inner = self.session.layer(inner);
        let inner = self.authenticate.layer(inner);
        TraceLayer::new().layer(inner)
    }
}

/// Layers and services for a server that is not ours, such as tonic's.
///
/// What such a server costs: the loss of a connection is not noticed, so sessions end by their lease and never linger;
/// attached clients get no notice of a drain; and the bounds of the connection are that server's.
///
/// ```no_run
/// # use rpc_server::{MemoryStore, Server, auth::dangerous_anonymous};
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = Server::builder().authenticate(dangerous_anonymous()).store(MemoryStore::new()).stack()?;
/// let reaper = tokio::spawn(stack.reaper()); // ends sessions whose time is over
/// // tonic::transport::Server::builder().layer(stack.layer()).add_routes(stack.routes()).serve(address).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionStack {
    pub(super) layer: StackLayer,
    pub(super) routes: Routes,
}

impl SessionStack {
    /// All layers as one.
    pub fn layer(&self) -> StackLayer {
        self.layer.clone()
    }

    /// The services that were given to the builder, with the session service, health and reflection.
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Ends sessions whose time is over, for ever. Whoever spawns it owns it.
    pub fn reaper(&self) -> impl Future<Output = ()> + Send + use<> {
        self.layer.sessions().reap()
    }
}
