//! Calls: from a stub's request to its response, by what the method promises.

mod at_least_once;
pub(crate) mod body;
mod exchange;
mod headers;
mod plain;
mod protected;
pub(crate) mod reply;
mod retrying;
mod rewind;
mod stream;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::TryFutureExt as _;
use http::{Request, Response};
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{CallAttempt, CallId};
use rpc_core::policy::MethodPolicy;
use rpc_flow::Checkpoints;
use rpc_proto::headers::Answered;
use tonic::Status;
use tonic::body::Body;

use crate::Session;
use crate::deadline;
use crate::error::refusal;
use crate::policy::Route;
use headers::Template;

/// How a protected call was answered; in the extensions of its response.
///
/// # Examples
///
/// ```no_run
/// # fn show(response: tonic::Response<()>) {
/// if let Some(info) = response.extensions().get::<rpc_client::CallInfo>() {
///     println!("call {} took {} attempts", info.call, info.attempts);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallInfo {
    /// The call's name within the session.
    pub call: CallId,
    /// Attempts that may have arrived, the answered one included.
    pub attempts: u32,
    /// Whether this answer is of this attempt's run, of a run that went on, or recorded.
    pub answered: Option<Answered>,
}

impl CallInfo {
    fn new(attempt: CallAttempt, answered: Option<Answered>) -> Self {
        Self { call: attempt.call, attempts: attempt.attempt.0.saturating_add(1), answered }
    }
}

/// The future of a call's response.
///
/// # Cancel safety
///
/// Dropping it cancels the call. What was not sent is never sent. A protected call that may have arrived keeps its slot
/// until the server has said, to a question in the background, what became of it.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>);

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Begins a call. The deadline is fixed here, in the caller's task, where the inherited one is seen.
pub(crate) fn begin(session: Session, mut request: Request<Body>) -> ResponseFuture {
    let core = session.core();
    let route = core.policies.route(request.uri().path());
    let timeout = policy(route).and_then(|method| method.timeout);
    let deadline = deadline::take(request.headers_mut(), timeout, core.settings.call_timeout);
    let resumed = policy(route).filter(|method| stream::resumes(core, method));
    if resumed.is_none() && request.extensions().get::<Checkpoints>().is_some() {
        return ResponseFuture(Box::pin(std::future::ready(Err(without_checkpoints()))));
    }
    if let (Ok(deadline), Some(method)) = (&deadline, resumed) {
        let deadline = *deadline;
        return ResponseFuture(Box::pin(async move {
            stream::call(session, method, request, deadline).await.map_err(|e| *e)
        }));
    }
    ResponseFuture(match (deadline, route) {
        (Err(status), _) => Box::pin(std::future::ready(Err(*status))),
        (Ok(deadline), Route::Protected(method)) => {
            let (parts, body) = request.into_parts();
            let template = Template::new(parts);
            let call = protected::call(session, method, template, body, deadline);
            Box::pin(call.map_err(|status| *status))
        }
        (Ok(deadline), Route::AtLeastOnce(_)) => {
            Box::pin(async move { at_least_once::call(session, request, deadline).await.map_err(|e| *e) })
        }
        (Ok(deadline), Route::Plain(_)) => {
            Box::pin(async move { plain::call(session, request, deadline).await.map_err(|e| *e) })
        }
    })
}

/// Its points would go nowhere, and an activity would be begun in the middle of its messages.
fn without_checkpoints() -> Status {
    let message = "the method has no checkpoints, or the session lacks the unit resume";
    refusal(Reason::CheckpointsRequired, message, Some(Outcome::NotExecuted))
}

fn policy(route: Route) -> Option<&'static MethodPolicy> {
    match route {
        Route::Protected(method) | Route::AtLeastOnce(method) => Some(method),
        Route::Plain(method) => method,
    }
}

/// Where a failed call's id is found in its status; the name of the header, as a key of metadata.
const CALL_KEY: &str = "session-call";

/// A status of a protected call: with its outcome, and with its call id for [`Session::query`].
fn told(status: Status, attempt: CallAttempt, outcome: Outcome) -> Box<Status> {
    let mut status = rpc_proto::status::with_outcome(status, outcome);
    if let Ok(value) = attempt.to_string().parse() {
        status.metadata_mut().insert(CALL_KEY, value);
    }
    Box::new(status)
}
