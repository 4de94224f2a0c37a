//! The run of a stream's handler. It belongs to the session: attempts come and go.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap};
use rpc_core::error::{Code, Outcome, Reason};
use rpc_core::frame::Head;
use rpc_core::record::Reply;
use rpc_flow::{AppEnd, Stream};
use rpc_proto::deadline;
use rpc_proto::status::{Refusal, with_outcome};
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::body::Body;

use super::super::Protected;
use super::super::running::Permit;
use crate::layers::Handler;
use crate::layers::deadline::exceeded;
use crate::methods::may_stop;

/// A handler at work for a stream.
pub(super) struct Handling {
    pub(super) call: Protected,
    pub(super) deadline: Option<Instant>,
    /// Held while the handler runs.
    pub(super) permit: Option<Permit>,
    pub(super) stream: Stream,
}

/// Why a handler is given up.
enum GivenUp {
    Deadline,
    SessionEnded(Reason),
    Cancelled,
}

impl Handling {
    /// Runs the handler to the end of its response and records how it ended.
    //= S-27
    //= S-30
    pub(super) async fn run<S: Handler>(self, inner: S, request: Request<Body>) {
        let Self { call, deadline, permit, stream } = self;
        let _permit = permit;
        let settled = Settled { call: &call, stream: &stream, code: None };
        let work = deadline::scope(deadline, handle(inner, request, &stream));
        let work = AssertUnwindSafe(work).catch_unwind();
        let status = tokio::select! {
            done = work => match done {
                Ok(status) => status,
                Err(_) => {
                    let refusal = Refusal::new(Reason::HandlerPanicked, "the handler panicked");
                    settled.panicked(refusal.outcome(Outcome::Done).into());
                    return;
                }
            },
            why = given_up(&call, &stream, deadline) => {
                settled.given_up(match why {
                    GivenUp::Deadline => exceeded(call.policy.is_protected()),
                    GivenUp::SessionEnded(reason) => {
                        let refusal = Refusal::new(reason, "the session ended while the call was under way");
                        refusal.outcome(Outcome::Unknown).into()
                    }
                    GivenUp::Cancelled => {
                        let refusal = Refusal::new(Reason::CallCancelled, "the caller cancelled the call");
                        refusal.outcome(Outcome::Unknown).into()
                    }
                });
                return;
            }
        };
        settled.conclude(status);
    }
}

/// Sees to it that the slot hears of the end, in whatever way that comes.
struct Settled<'a> {
    call: &'a Protected,
    stream: &'a Stream,
    code: Option<u8>,
}

impl Settled<'_> {
    /// The handler ended with this status, and its last message was taken over.
    fn conclude(mut self, status: Status) {
        let status = match status.code() {
            tonic::Code::Ok => status,
            _ if self.call.policy.is_protected() => with_outcome(status, Outcome::Done),
            _ => status,
        };
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // Metadata of the handler's that no header can carry: the code is what is left.
            trailers.insert("grpc-status", (status.code() as i32).into());
        }
        self.code = Some(u8::try_from(status.code() as i32).unwrap_or(Code::Unknown as u8));
        let stream = self.stream;
        // The slot first: whoever has the answer may use it for the next call at once.
        drop(self);
        stream.conclude(trailers);
    }

    /// The handler was dropped before its end, for what `status` says.
    fn given_up(self, status: Status) {
        let stream = self.stream;
        drop(self);
        stream.abandon(status);
    }

    /// The handler panicked, perhaps in the middle of a message: what it gave is not brought to an end.
    //= C-15
    fn panicked(mut self, status: Status) {
        self.code = Some(Code::Internal as u8);
        self.given_up(status);
    }
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        let (live, call) = (Arc::clone(&self.call.live), self.call.attempt.call);
        let Some(code) = self.code else {
            live.finished(call, None, |session| session.abandon(call));
            return;
        };
        // The messages stay with the stream until the slot is used again; the record says how it ended.
        let reply = Reply { code, head: Bytes::new(), message: Bytes::new(), trailer: Bytes::new() };
        live.finished(call, None, |session| session.complete(call, reply, None));
    }
}

/// Calls the handler and gives everything it answers to the stream.
async fn handle<S: Handler>(mut inner: S, request: Request<Body>, stream: &Stream) -> Status {
    let response = match inner.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (head, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return status;
    }
    stream.answer_head(head_of(&head.headers));
    match stream.pump_app(body).await {
        AppEnd::Done(trailers) => trailers
            .as_ref()
            .and_then(Status::from_header_map)
            .unwrap_or_else(|| Status::internal("the handler's response has no status")),
        AppEnd::Failed(error) => Status::from_error(error),
        // The stream is over; what it ended with was said already.
        _ => Status::aborted("the stream ended before the handler's response"),
    }
}

/// The handler's own headers, which travel in HEAD because those of the response have left.
//= W-18
fn head_of(headers: &HeaderMap) -> Head {
    let entries = headers
        .iter()
        .filter(|(name, _)| ![CONTENT_TYPE, CONTENT_LENGTH, DATE].contains(name))
        .map(|(name, value)| {
            (Bytes::copy_from_slice(name.as_str().as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
        });
    Head { entries: entries.collect() }
}

/// Resolves when the handler is to be dropped.
async fn given_up(call: &Protected, stream: &Stream, deadline: Option<Instant>) -> GivenUp {
    let mut ended = call.live.ended();
    let mut views = stream.watch();
    let late = async {
        match deadline {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let cancelled = async {
        if !may_stop(call.policy) || views.wait_for(|view| view.failed.is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = late => GivenUp::Deadline,
        () = cancelled => GivenUp::Cancelled,
        reason = ended.wait_for(Option::is_some) => {
            GivenUp::SessionEnded(reason.ok().and_then(|reason| *reason).unwrap_or(Reason::SessionEnded))
        }
    }
}
