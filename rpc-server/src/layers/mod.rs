//! The layers around handlers, outermost first, each with the reason for its place:
//!
//! 1. [`trace`]: sees everything, refusals too.
//! 2. [`authenticate`]: before the session, because a session belongs to a principal.
//! 3. [`session`]: before the deadline, because a call to an unknown session has no policy to take a deadline from.
//! 4. [`deadline`]: outside of admission, so that a retry that waits times out while the first run goes on.
//! 5. [`admission`]: nearest to the handler, because what it admits runs.
//!
//! Streams get their layer inside of admission.

pub mod admission;
pub mod authenticate;
pub mod deadline;
mod gate;
pub mod session;
pub mod trace;

use std::convert::Infallible;

use http::{Request, Response};
use rpc_core::error::Outcome;
use rpc_core::policy::MethodPolicy;
use rpc_core::session::refused_before_admission;
use rpc_proto::headers;
use rpc_proto::status::Refusal;
use tonic::body::Body;
use tower_service::Service;

pub(crate) use gate::BoxFuture;
pub use gate::GateFuture;

/// Completes the refusal of a request that was not admitted: one of a protected method says whether the call ran.
//= C-24
//= C-25
pub(crate) fn refuse(refusal: Refusal, policy: Option<&MethodPolicy>, request: &Request<Body>) -> Refusal {
    if !policy.is_some_and(MethodPolicy::is_protected) {
        return refusal;
    }
    refusal.outcome(match headers::attempt(request.headers()) {
        Ok(attempt) => refused_before_admission(attempt),
        // It may be a later attempt of a call that ran.
        Err(_) => Outcome::Unknown,
    })
}

/// What a layer wraps: something that always answers with a response.
pub trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}
