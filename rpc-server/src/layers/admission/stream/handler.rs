//! The run of a stream's handler. It belongs to the session: attempts come and go.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use rpc_core::error::{Code, Outcome};
use rpc_core::frame::Head;
use rpc_core::policy::MethodPolicy;
use rpc_core::record::Reply;
use rpc_core::session::Kept;
use rpc_flow::{AppEnd, Stream, View};
use rpc_proto::deadline;
use rpc_proto::status::with_outcome;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;

use super::super::running::Permit;
use super::super::{Protected, recorded};
use super::ending::{cut, interrupted};
use super::{has_single_reply, is_over};
use crate::layers::Handler;
use crate::sessions::activities::Working;

/// Longest reply that is kept with an activity that is done, in bytes.
const ACTIVITY_REPLY_BYTES_MAX: u32 = 64 << 10;

/// How long a caller that works on an activity may take to secure something, before it gets its answer without that.
const UNSECURED: Duration = Duration::from_secs(30);

/// A handler at work for a stream.
pub(super) struct Handling {
    pub(super) call: Protected,
    pub(super) deadline: Option<Instant>,
    /// Held while the handler runs.
    pub(super) permit: Option<Permit>,
    pub(super) stream: Stream,
    /// The activity, if the call works on one.
    pub(super) working: Option<Working>,
}

impl Handling {
    /// Runs the handler to the end of its response, records how it ended, and gives the stream its end.
    //= S-27
    pub(super) async fn run<S: Handler>(self, inner: S, request: Request<Body>) {
        let Self { call, deadline, permit, stream, working } = self;
        // Declared in the order in which they are dropped last: the activity is free when the handler is gone.
        let mut settled = Settled { call: &call, reply: None, why: None };
        let reply = {
            let work = deadline::scope(deadline, handle(inner, request, call.policy, &stream));
            let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
            let (policy, working) = (call.policy, working.as_ref());
            let done = tokio::select! {
                done = &mut work => Some(done),
                cut = cut(&call, &stream, deadline, working) => {
                    stream.abandon(cut.status(policy));
                    // What was wrong before is what the caller is told.
                    let why = stream.failure().unwrap_or_else(|| cut.status(policy));
                    settled.why = Some(with_outcome(why, Outcome::Unknown));
                    if cut.drops_handler(policy) {
                        None
                    } else {
                        tokio::select! {
                            done = &mut work => Some(done),
                            () = interrupted(working) => None,
                        }
                    }
                }
            };
            match done {
                Some(Ok(reply)) => reply,
                // Perhaps in the middle of a message: what it gave is not brought to an end.
                //= C-15
                Some(Err(_)) => {
                    stream.abandon(recorded::panic_status());
                    recorded::panicked()
                }
                None => return,
            }
        };
        drop(permit);
        // The slot first: whoever has the answer may use it for the next call at once.
        settled.reply = Some(reply.clone());
        drop(settled);
        let delivering = Delivering { call: &call, stream: &stream, reply, deadline };
        delivering.run(working).await;
    }
}

/// Sees to it that the slot hears of the end, in whatever way that comes.
struct Settled<'a> {
    call: &'a Protected,
    reply: Option<Reply>,
    /// Why the stream was over before its handler.
    why: Option<Status>,
}

impl Drop for Settled<'_> {
    //= S-30
    fn drop(&mut self) {
        let (live, call, policy) = (&self.call.live, self.call.attempt.call, self.call.policy);
        match self.reply.take() {
            Some(reply) if has_single_reply(policy) || reply.code != Code::Ok as u8 => {
                let kept = reply.clone();
                live.finished(call, Some(&reply), |session| {
                    session.complete(call, kept, policy.reply_bytes_max);
                });
            }
            Some(reply) => live.finished(call, None, |session| {
                session.complete(call, without_messages(reply), Some(0));
            }),
            None => {
                if let Some(why) = &self.why {
                    live.stream_given_up(call, why);
                }
                live.finished(call, None, |session| session.abandon(call));
            }
        }
        live.forget_stream(call, |stream| is_over(&stream.watch().borrow(), false));
    }
}

/// The reply of many messages as it is recorded: they stay with the stream until its caller has them, and what is left of
/// it then is that there were some. A record that is longer than its bound keeps the status only.
fn without_messages(reply: Reply) -> Reply {
    Reply { message: Bytes::from_static(&[0]), ..reply }
}

/// The end of a stream whose handler has ended, on its way to the caller.
struct Delivering<'a> {
    call: &'a Protected,
    stream: &'a Stream,
    reply: Reply,
    deadline: Option<Instant>,
}

impl Delivering<'_> {
    //= D-27
    async fn run(self, working: Option<Working>) {
        let Self { call, stream, reply, deadline } = self;
        let is_well = reply.code == Code::Ok as u8;
        let single = has_single_reply(call.policy);
        let working = match working {
            // Its record is all that there is to be had.
            Some(working) if single && is_well => {
                working.done(Kept::within(reply.clone(), ACTIVITY_REPLY_BYTES_MAX));
                None
            }
            working => working.filter(|_| is_well),
        };
        let delivered = async {
            if single && is_well {
                stream.answer_head(head_of(&recorded::head(&reply)));
                stream.pump_app(Full::new(reply.message.clone())).await;
            }
            if working.is_some() {
                secured(stream).await;
            }
            stream.conclude(recorded::trailers(&reply));
            if working.is_some() {
                let _ = stream.watch().wait_for(is_settled).await;
            }
        };
        let late = tokio::select! {
            () = delivered => None,
            cut = cut(call, stream, deadline, working.as_ref()) => Some(cut),
        };
        if let Some(cut) = late {
            stream.abandon(cut.status(call.policy));
        } else if let Some(working) = working
            && stream.failure().is_none()
        {
            working.done(Kept::status_only(reply, ACTIVITY_REPLY_BYTES_MAX));
        }
        call.live.forget_stream(call.attempt.call, |stream| is_over(&stream.watch().borrow(), false));
    }
}

/// Waits until the caller has secured everything, or has secured nothing more for a while.
///
/// It ends its request when it has the trailers, and what its application secures after that is told to nobody. So for an
/// activity, which is done when everything is secured, they wait. A caller that has taken everything and leaves the last
/// point unsecured gets them all the same.
async fn secured(stream: &Stream) {
    let mut views = stream.watch();
    loop {
        let before = views.borrow_and_update().progress.sent_secured;
        let more = views.wait_for(|view| is_settled(view) || view.progress.sent_secured != before);
        match timeout(UNSECURED, more).await {
            Ok(Ok(view)) if !is_settled(&view) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Whether no more will be secured.
fn is_settled(view: &View) -> bool {
    view.is_secured || view.failed.is_some()
}

/// Calls the handler and reads its answer to the end: a single one whole, and many messages into the stream.
async fn handle<S: Handler>(
    mut inner: S,
    request: Request<Body>,
    policy: &'static MethodPolicy,
    stream: &Stream,
) -> Reply {
    let response = match inner.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let read =
        if has_single_reply(policy) { recorded::read(response).await } else { pump(response, stream).await };
    read.unwrap_or_else(|status| {
        let is_protected = policy.is_protected();
        recorded::failed(if is_protected { with_outcome(status, Outcome::Done) } else { status })
    })
}

/// Gives the messages of a response to the stream. One that is over takes none, and the handler comes to its end all the
/// same.
async fn pump(response: Response<Body>, stream: &Stream) -> Result<Reply, Status> {
    let (head, mut body) = response.into_parts();
    recorded::check_head(&head)?;
    if Status::from_header_map(&head.headers).is_some() {
        return Ok(recorded::ended(&head.headers));
    }
    stream.answer_head(head_of(&head.headers));
    let trailers = match stream.pump_app(&mut body).await {
        AppEnd::Done(trailers) => trailers,
        AppEnd::Failed(error) => return Err(Status::from_error(error)),
        _ => rest(&mut body).await?,
    };
    let trailers = trailers.unwrap_or_default();
    recorded::check_trailers(&trailers)?;
    Ok(recorded::ended(&trailers))
}

/// Reads a response that nobody gets.
async fn rest(body: &mut Body) -> Result<Option<HeaderMap>, Status> {
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        // A handler that never waits would leave nobody else a turn.
        consume_budget().await;
        if let Ok(found) = frame?.into_trailers() {
            trailers = Some(found);
        }
    }
    Ok(trailers)
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
