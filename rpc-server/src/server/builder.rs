//! Building a server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::config::{Limits, Terms};
use rpc_core::negotiate::Unit;
use rpc_core::policy::Described;
use rpc_core::store::Store;
use rpc_core::store::operations::Operations;
use rpc_proto::pb::session::v1::ADMIN_SERVICE_POLICY;
use rpc_proto::pb::session::v1::admin_service_server::AdminServiceServer;
use rpc_proto::pb::session::v1::session_service_server::SessionServiceServer;
use tokio::net::ToSocketAddrs;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::connections::Serving;
use super::{Detached, Server, SessionStack, StackLayer, StartError, reflection};
use crate::auth::{Authenticator, WallClock};
use crate::layers::Handler;
use crate::methods::{Access, Methods};
use crate::net::{self, Report};
use crate::service::{self, admin::Admin};
use crate::sessions::ends::{EndedSession, Ends, Hook};
use crate::sessions::{Entropy, Sessions, SimulatedStore, Surroundings};

/// Calls that run at the same time.
const CALLS_MAX: usize = 10_000;
/// Bytes of a protected request message.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// A decision that has not been made. A builder that has one cannot serve.
#[derive(Debug, Clone, Copy)]
pub struct Undecided;

/// Builds a [`Server`]. Whom to trust and where to store must be decided; everything else has a default.
#[must_use]
pub struct Builder<A, S> {
    authenticator: A,
    store: S,
    settings: Settings,
}

struct Settings {
    routes: RoutesBuilder,
    methods: Methods,
    descriptors: Vec<&'static [u8]>,
    reflection: bool,
    terms: Terms,
    limits: Limits,
    net: net::Config,
    calls_max: usize,
    message_bytes_max: usize,
    surroundings: Surroundings,
    hooks: Vec<Hook>,
    operations: Option<Arc<dyn Operations>>,
}

impl Builder<Undecided, Undecided> {
    pub(super) fn new() -> Self {
        let settings = Settings {
            routes: Routes::builder(),
            methods: Methods::default(),
            descriptors: Vec::new(),
            reflection: true,
            terms: Terms::default(),
            limits: Limits::default(),
            net: net::Config::default(),
            calls_max: CALLS_MAX,
            message_bytes_max: MESSAGE_BYTES_MAX,
            surroundings: Surroundings::default(),
            hooks: Vec::new(),
            operations: None,
        };
        Self { authenticator: Undecided, store: Undecided, settings }
    }
}

impl<S> Builder<Undecided, S> {
    /// Decides whom to trust.
    pub fn authenticate(self, authenticator: impl Authenticator) -> Builder<Arc<dyn Authenticator>, S> {
        Builder { authenticator: Arc::new(authenticator), store: self.store, settings: self.settings }
    }
}

impl<A> Builder<A, Undecided> {
    /// Decides where sessions are kept.
    pub fn store(self, store: impl Store) -> Builder<A, Arc<dyn Store>> {
        Builder { authenticator: self.authenticator, store: Arc::new(store), settings: self.settings }
    }

    /// The same for a store of a simulation. The server is then to be built within the runtime on which it serves.
    pub fn simulated_store(mut self, store: impl SimulatedStore) -> Builder<A, Arc<dyn Store>> {
        let store = Arc::new(store);
        self.settings.surroundings.simulated = Some(store.clone());
        Builder { authenticator: self.authenticator, store, settings: self.settings }
    }
}

impl<A, S> Builder<A, S> {
    /// Adds a service whose policy `rpc-build` wrote. Its callers need a token or a session.
    pub fn service<T>(mut self, service: T) -> Self
    where
        T: Described + NamedService + Served,
    {
        self.settings.methods.add(T::POLICY);
        self.settings.routes.add_service(service);
        self
    }

    /// Adds a service without a policy: all its methods are plain. Its callers need a token or a session.
    pub fn plain_service<T>(self, service: T) -> Self
    where
        T: NamedService + Served,
    {
        self.add(service, Access::Authenticated)
    }

    /// Adds a service without a policy that everybody may call, as health checks must be.
    pub fn public_service<T>(self, service: T) -> Self
    where
        T: NamedService + Served,
    {
        self.add(service, Access::Public)
    }

    fn add<T>(mut self, service: T, access: Access) -> Self
    where
        T: NamedService + Served,
    {
        self.settings.methods.add_plain(T::NAME, access);
        self.settings.routes.add_service(service);
        self
    }

    /// Adds an encoded set of file descriptors, so that tools find the services in it by reflection.
    pub fn descriptors(mut self, encoded: &'static [u8]) -> Self {
        self.settings.descriptors.push(encoded);
        self
    }

    /// Switches reflection off. Default: on, for everybody who reaches the server.
    pub fn without_reflection(mut self) -> Self {
        self.settings.reflection = false;
        self
    }

    /// What sessions are offered. Default: [`Terms::default`].
    pub fn terms(mut self, terms: Terms) -> Self {
        self.settings.terms = terms;
        self
    }

    /// Offers these units and no others. Default: all, *durable* where the store is. A unit without the ones that it needs
    /// is never on. Sets that field of [`terms`](Self::terms).
    pub fn units(mut self, units: impl IntoIterator<Item = Unit>) -> Self {
        self.settings.terms.units = units.into_iter().collect();
        self
    }

    /// Does not offer a unit: sessions are without it, callers that require it are refused with `UNIT_UNSUPPORTED`, and so
    /// are calls of methods that promise what belongs to it. Sets that field of [`terms`](Self::terms).
    pub fn without_unit(mut self, unit: Unit) -> Self {
        self.settings.terms.units = self.settings.terms.units.without(unit);
        self
    }

    /// Bounds over all sessions. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Bounds and deadlines of connections, runtimes and TLS. Default: [`net::Config::default`].
    pub fn net(mut self, config: net::Config) -> Self {
        self.settings.net = config;
        self
    }

    /// Certificate and key. Default: none, which only loopback addresses accept.
    pub fn tls(mut self, tls: net::Tls) -> Self {
        self.settings.net.tls = Some(tls);
        self
    }

    /// How many calls may run at the same time. Default: 10,000. At the bound: `CALLS_EXHAUSTED`.
    pub fn calls_max(mut self, calls: usize) -> Self {
        self.settings.calls_max = calls;
        self
    }

    /// Largest request message of a protected call, in bytes. Default: 4 MiB. At the bound: `REQUEST_TOO_LARGE`.
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.message_bytes_max = bytes;
        self
    }

    /// Bytes that all streams with checkpoints may keep together, sent and not secured or received and not taken. Default:
    /// 1 GiB, of which each stream gets a window of a 256th of what is free for each direction, from 64 KiB to what its
    /// session has agreed on. At the bound: `STREAMS_EXHAUSTED`. Sets that field of [`limits`](Self::limits).
    pub fn stream_memory_max(mut self, bytes: u64) -> Self {
        self.settings.limits.stream_memory_max = bytes;
        self
    }

    /// Calls `hook` with each session that has ended, however it did, so that the application frees what it held for it:
    /// locks, open files, a place in a room. Each further one is called after those before it. Default: none.
    ///
    /// The end is in the store by then, so the session will not be seen again. A hook is called once for each session that
    /// ends while the process lives. One that a server before this one on the same store has ended, and that is still
    /// remembered, is told of when this one starts, with [`told_before`](EndedSession::told_before) set, since that server
    /// may have died between the record and the hook; one whose time ran out while no server was there, when this one has
    /// found that out. What a hook frees for a number is thus freed for good, and freeing it twice must be harmless.
    ///
    /// Hooks run on one thread of their own, in the order in which the ends were recorded. They may block; that delays
    /// other hooks and nothing else. One that panics is logged and called again for the next session.
    ///
    /// A handler that is at work learns of the end by [`SessionContext::ended`](crate::SessionContext::ended).
    pub fn on_session_end(mut self, hook: impl Fn(&EndedSession) + Send + 'static) -> Self {
        self.settings.hooks.push(Box::new(hook));
        self
    }

    /// Lets operators count and copy the store while the server uses it: serves `session.v1.AdminService`, which needs no
    /// session, to callers with the scope `session.admin`. `Backups` of `rpc-store` does that for its `EmbeddedStore`.
    /// Default: not served, and not listed by reflection.
    ///
    /// A backup whose call ends before it is complete, by its deadline or because the caller left, is given up.
    //= A-26
    pub fn operations(mut self, operations: impl Operations) -> Self {
        self.settings.operations = Some(Arc::new(operations));
        self
    }

    /// Where tickets come from. Default: the system's randomness; only simulations give another.
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.settings.surroundings.entropy = Box::new(entropy);
        self
    }

    /// Tells the time of day, by which the authority of sessions ends that an earlier server left in the store. Default:
    /// [`SystemTime::now`](std::time::SystemTime::now); only simulations give another. An authenticator has a clock of its
    /// own.
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.settings.surroundings.wall = Box::new(clock);
        self
    }
}

impl Builder<Arc<dyn Authenticator>, Arc<dyn Store>> {
    /// Binds the address, and serves when the answer is told to.
    ///
    /// # Errors
    ///
    /// A method promises what this server cannot keep, or the address is not to be had.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<Server, StartError> {
        let net = self.settings.net.clone();
        let serving = self.finish().await?;
        Server::bind(serving, &net, address).await
    }

    /// Binds and serves. Returns only when the server failed: use [`bind`](Self::bind) and a
    /// [`Handle`](super::Handle) to stop it in an orderly way.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind), and a serving thread that failed.
    pub async fn serve(self, address: impl ToSocketAddrs) -> Result<Report, StartError> {
        self.bind(address).await?.serve().await
    }

    /// Binds, serves until `signal` resolves, then drains within `grace`.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_with_shutdown(
        self,
        address: impl ToSocketAddrs,
        signal: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<Report, StartError> {
        self.bind(address).await?.serve_with_shutdown(signal, grace).await
    }

    /// A server for streams that are not its own sockets.
    ///
    /// # Errors
    ///
    /// A method promises what this server cannot keep.
    pub async fn detached(self) -> Result<Detached, StartError> {
        let net = self.settings.net.clone();
        Ok(Detached::new(self.finish().await?, net))
    }

    /// Layers and services for a server that is not ours.
    ///
    /// # Errors
    ///
    /// A method promises what this server cannot keep.
    pub fn stack(self) -> Result<SessionStack, StartError> {
        let (stack, _, _) = self.assemble()?;
        Ok(stack)
    }

    async fn finish(self) -> Result<Serving, StartError> {
        let (SessionStack { layer, routes }, health, services) = self.assemble()?;
        for service in services.iter() {
            health.set_service_status(*service, ServingStatus::Serving).await;
        }
        Ok(Serving::new(&layer, routes, health, services))
    }

    fn assemble(self) -> Result<(SessionStack, HealthReporter, Arc<[&'static str]>), StartError> {
        let Settings { mut routes, mut methods, .. } = self.settings;
        if let Some(unkept) = methods.first_unkept(self.store.durability()) {
            return Err(unkept.into());
        }
        let Settings { terms, limits, surroundings, hooks, .. } = self.settings;
        let ends = Ends::start(hooks).map_err(StartError::Thread)?;
        let sessions =
            Sessions::start(self.store, terms, limits, surroundings, ends).map_err(StartError::Thread)?;
        sessions.adopt(|durable| methods.are_forgetful(durable)).map_err(StartError::Store)?;
        let (health, health_service) = tonic_health::server::health_reporter();
        routes.add_service(health_service);
        if let Some(operations) = self.settings.operations {
            routes.add_service(AdminServiceServer::new(Admin::new(operations)));
            methods.add(&ADMIN_SERVICE_POLICY);
        }
        methods.add_plain("grpc.health.v1.Health", Access::Public);
        if self.settings.reflection {
            reflection::add(&mut routes, &mut methods, &self.settings.descriptors)?;
        }
        // The empty name stands for the server as a whole.
        let services: Arc<[&'static str]> = methods.names().chain([""]).collect();
        let methods = Arc::new(methods);
        let service = service::Service::new(Arc::clone(&sessions), Arc::clone(&methods));
        routes.add_service(SessionServiceServer::new(service));
        let layer = StackLayer::new(
            sessions,
            &methods,
            self.authenticator,
            self.settings.calls_max,
            self.settings.message_bytes_max,
        );
        Ok((SessionStack { layer, routes: routes.routes() }, health, services))
    }
}

/// A generated service, as tonic's router takes it.
pub trait Served: Handler + Sync {}

impl<S: Handler + Sync> Served for S {}
