//! The server of numbered sessions for gRPC.
//!
//! A caller authenticates, opens a session, and makes ordinary gRPC calls to ordinary tonic handlers. Calls of methods
//! that say so in the `.proto` file run once or not at all, whatever happens to the connections, and their callers
//! learn which. Streams of methods with a `checkpoint` go on over the next connection. On a durable store, such as
//! `EmbeddedStore` of `rpc-store`, sessions, calls and streams go on after a crash of the server.
//!
//! # Example
//!
//! ```no_run
//! use rpc_server::auth::{JwtAuthenticator, Key, TrustedIssuer};
//! use rpc_server::{MemoryStore, Server, SessionExt as _};
//! use tonic::{Request, Response, Status};
//! # // Stands for the service that `rpc_build` writes, so that this page compiles by itself.
//! # use rpc_server::policy::{Described, ServicePolicy};
//! # #[derive(Clone)]
//! # struct LedgerServer<T>(std::sync::Arc<T>);
//! # impl<T> LedgerServer<T> { fn new(inner: T) -> Self { Self(std::sync::Arc::new(inner)) } }
//! # impl<T> Described for LedgerServer<T> {
//! #     const POLICY: &'static ServicePolicy =
//! #         &ServicePolicy { name: "bank.v1.Ledger", version: 1, hash: 0, methods: &[] };
//! # }
//! # impl<T> tonic::server::NamedService for LedgerServer<T> { const NAME: &'static str = "bank.v1.Ledger"; }
//! # impl<T: Send + Sync + 'static> tower_service::Service<http::Request<tonic::body::Body>> for LedgerServer<T> {
//! #     type Response = http::Response<tonic::body::Body>;
//! #     type Error = std::convert::Infallible;
//! #     type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
//! #     fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
//! #         std::task::Poll::Ready(Ok(()))
//! #     }
//! #     fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future { unimplemented!() }
//! # }
//! # struct TransferRequest { amount: u64 }
//! # struct TransferReply { balance: u64 }
//!
//! # #[derive(Clone)]
//! struct Books;
//!
//! // An ordinary handler of the trait that tonic generates.
//! # impl Books {
//! async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<TransferReply>, Status> {
//!     let session = request.session()?; // number, principal, granted services, call id
//!     println!("{} pays in session {}", session.principal(), session.number());
//!     Ok(Response::new(TransferReply { balance: 1_000 - request.get_ref().amount }))
//! }
//! # }
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = std::fs::read("/etc/ledger/key")?; // at least 32 random bytes
//! let issuer = TrustedIssuer::new("https://id.example", "ledger").key(Key::hs256(&secret)?);
//! Server::builder()
//!     .authenticate(JwtAuthenticator::new(issuer)?) // whom to trust: there is no default
//!     .store(MemoryStore::new()) // where sessions are kept: there is no default
//!     .service(LedgerServer::new(Books))
//!     .serve("[::1]:50051")
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! - [`Server`] and its [`Builder`]: from the decisions to a server that runs, and a [`Handle`] that drains it. Health
//!   and reflection are on.
//! - [`SessionExt`]: what a handler learns of its call. [`Builder::on_session_end`] and [`SessionContext::ended`]: that its
//!   session is over. [`CheckpointsExt`]: the sync points of its stream.
//! - [`auth`]: who is calling. [`net`]: the server's end of connections. [`layers`]: what happens between the two and
//!   the handler, in which order and why.
//! - [`SessionStack`]: the layers for a server that is not ours, such as tonic's own.
//! - [`Terms`] and [`Limits`]: what sessions are offered, and every bound.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod auth;
mod checkpoints;
mod context;
pub mod layers;
mod methods;
pub mod net;
mod server;
mod service;
mod sessions;
mod sync;
mod transaction;

pub use checkpoints::CheckpointsExt;
pub use context::{ContextMissing, Deadline, ReleaseError, SessionContext, SessionExt};
pub use methods::Unkept;
pub use rpc_core::config::{Limits, Range, Terms};
pub use rpc_core::dialog::{ResyncKind, Token, TokenSet};
pub use rpc_core::frame::dialog::{Cause, Exception, Please, Wish};
pub use rpc_core::release::ReleaseTokenError;
pub use rpc_core::store::{MemoryStore, Store};
pub use rpc_core::{error, id, negotiate, policy, principal, store};
pub use rpc_flow::{
    Checkpointed, Checkpoints, Dialog, Item, Outgoing, OutgoingResults, Point, RereadResults, Resumed,
    ResyncRequest, Resynchronize, Resynchronized, Speaking, Turn, Typed,
};
pub use server::{Builder, Detached, Handle, Server, SessionStack, StackLayer, StartError, Undecided};
pub use sessions::ends::{EndedSession, SessionEnd};
pub use sessions::{Committing, Entropy, SimulatedStore, SystemEntropy};
pub use tokio_util::sync::CancellationToken;
pub use transaction::{Transaction, TransactionError};
