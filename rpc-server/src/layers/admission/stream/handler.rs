//! The run of a stream's handler. It belongs to the session: attempts come and go.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use rpc_core::error::{Code, Outcome, Reason};
use rpc_core::frame::Head;
use rpc_core::policy::MethodPolicy;
use rpc_core::record::Reply;
use rpc_core::session::{Keeping, Kept, Session};
use rpc_core::stream::secured::Resumption;
use rpc_flow::{AppEnd, Stream, View};
use rpc_proto::deadline;
use rpc_proto::status::with_outcome;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;

use super::super::running::Permit;
use super::super::{Protected, recorded};
use super::ending::{cut, forfeited, interrupted};
use super::storing::{end, refused, store};
use super::{has_single_reply, is_over};
use crate::layers::Handler;
use crate::sessions::activities::Working;
use crate::sessions::exclusive::Turn;
use crate::sessions::{Recorded, Recording};

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
    /// Its exclusive class, held while the handler runs.
    pub(super) turn: Option<Turn>,
    /// The handler waits for this record.
    pub(super) intent: Option<Recording>,
    pub(super) stream: Stream,
    /// The activity, if the call works on one.
    pub(super) working: Option<Working>,
}

impl Handling {
    /// Runs the handler to the end of its response, records how it ended, and gives the stream its end.
    //= S-27
    pub(super) async fn run<S: Handler>(self, inner: S, request: Request<Body>) {
        let Self { call, deadline, permit, turn, intent, stream, working } = self;
        // Declared in the order in which they are dropped last: the activity is free when the handler is gone.
        let mut settling =
            Settling { call: &call, stream: &stream, is_done: false, is_stopped: false, why: None };
        //= C-51
        if let Some(intent) = intent
            && let Recorded::No(reason) = intent.wait().await
        {
            return settling.not_begun(reason, working);
        }
        if let Some(working) = &working {
            working.begun();
        }
        let reply = {
            let work = deadline::scope(deadline, handle(inner, request, call.policy, &stream));
            let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
            let (policy, working) = (call.policy, working.as_ref());
            let done = tokio::select! {
                done = &mut work => Some(done),
                never = store(&call, &stream, working) => match never {},
                cut = cut(&call, &stream, deadline, working) => {
                    stream.abandon(cut.status(policy));
                    // What was wrong before is what the caller is told.
                    let why = stream.failure().unwrap_or_else(|| cut.status(policy));
                    settling.why = Some(with_outcome(why, Outcome::Unknown));
                    if cut.drops_handler(policy) {
                        None
                    } else {
                        tokio::select! {
                            done = &mut work => Some(done),
                            () = interrupted(working) => None,
                            () = forfeited(&call) => None,
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
                None => {
                    settling.is_stopped = true;
                    return;
                }
            }
        };
        drop((permit, turn));
        let delivering = Delivering { call: &call, stream: &stream, reply, deadline };
        delivering.secure_all(working.as_ref()).await;
        // The slot first: whoever has the answer may use it for the next call at once.
        if settling.reply(&delivering.reply, working.as_ref()).await {
            delivering.run(working).await;
        }
    }
}

/// Sees to it that the slot hears of the end, in whatever way that comes.
struct Settling<'a> {
    call: &'a Protected,
    stream: &'a Stream,
    is_done: bool,
    /// The handler was dropped, and will not be called again. Otherwise it is gone with this server.
    is_stopped: bool,
    /// Why the stream was over before its handler.
    why: Option<Status>,
}

impl Settling<'_> {
    /// The store did not hear of the call: its slot knows.
    fn not_begun(mut self, reason: Reason, working: Option<Working>) {
        self.is_done = true;
        if let Some(working) = working {
            working.not_begun();
        }
        let (live, call) = (&self.call.live, self.call.attempt.call);
        self.stream.store_failed(refused(reason));
        live.stream_given_up(call, &refused(reason));
        live.finished(call, None, |_| {});
    }

    /// Records the reply. False if the store did not keep it, and nobody is to be told of it.
    //= S-30
    async fn reply(mut self, reply: &Reply, working: Option<&Working>) -> bool {
        self.is_done = true;
        let (live, call, policy) = (&self.call.live, self.call.attempt.call, self.call.policy);
        let end = self.end(reply);
        let whole = has_single_reply(policy) || reply.code != Code::Ok as u8;
        let (kept, bound) = match (whole, &end) {
            (true, _) => (reply.clone(), policy.reply_bytes_max),
            // The caller has all messages.
            (false, Some(_)) => (Reply { message: Bytes::new(), ..reply.clone() }, policy.reply_bytes_max),
            (false, None) => (without_messages(reply.clone()), Some(0)),
        };
        let told = if whole { reply.clone() } else { kept.clone() };
        let at = end.clone();
        // In one record with the reply: neither is there without the other.
        let done = working.zip(end.clone()).filter(|_| reply.code == Code::Ok as u8);
        let done = done.map(|(working, end)| working.record(end, Some(kept_of(reply, policy))));
        let complete = |session: &mut Session| session.complete_stream(call, kept, bound, at, done);
        let recorded = live.replied(call, &told, complete).await;
        if let Recorded::No(reason) = recorded {
            self.stream.store_failed(refused(reason));
        } else if let Some(end) = &end {
            self.stream.stored(end);
        }
        live.forget_stream(call, |stream| is_over(&stream.watch().borrow(), false));
        !matches!(recorded, Recorded::No(_))
    }

    /// Where a stream has come to its end that is kept in the store. `None` where the caller may miss messages of it.
    fn end(&self, reply: &Reply) -> Option<Resumption> {
        let is_durable = self.call.keeping == Keeping::Stream;
        let has_all = has_single_reply(self.call.policy)
            || reply.code != Code::Ok as u8
            || self.stream.watch().borrow().is_secured;
        (is_durable && has_all).then(|| end(self.stream))
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let (live, call) = (&self.call.live, self.call.attempt.call);
        if let Some(why) = &self.why {
            live.stream_given_up(call, why);
        }
        let is_stopped = self.is_stopped;
        live.finished(call, None, |session| match is_stopped {
            true => session.stopped(call),
            false => session.abandon(call),
        });
        live.forget_stream(call, |stream| is_over(&stream.watch().borrow(), false));
    }
}

/// What is kept of the reply with an activity that is done.
fn kept_of(reply: &Reply, policy: &MethodPolicy) -> Kept {
    if has_single_reply(policy) {
        Kept::within(reply.clone(), ACTIVITY_REPLY_BYTES_MAX)
    } else {
        Kept::status_only(reply.clone(), ACTIVITY_REPLY_BYTES_MAX)
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
    /// Waits until the caller of a durable stream has all messages: until then its handler is what can give them again.
    async fn secure_all(&self, working: Option<&Working>) {
        let Self { call, stream, reply, deadline } = self;
        if call.keeping != Keeping::Stream || has_single_reply(call.policy) || reply.code != Code::Ok as u8 {
            return;
        }
        tokio::select! {
            () = secured(stream) => {}
            never = store(call, stream, working) => match never {},
            cut = cut(call, stream, *deadline, working) => stream.abandon(cut.status(call.policy)),
        }
    }

    //= D-27
    async fn run(self, working: Option<Working>) {
        let Self { call, stream, reply, deadline } = self;
        let is_well = reply.code == Code::Ok as u8;
        let single = has_single_reply(call.policy);
        let working = match working {
            // Its record is all that there is to be had.
            Some(working) if single && is_well => {
                working.done(kept_of(&reply, call.policy));
                None
            }
            working => working.filter(|_| is_well),
        };
        let delivered = async {
            if single && is_well {
                give(stream, &reply).await;
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
            let kept = kept_of(&reply, call.policy);
            if call.keeping == Keeping::Stream {
                let record = working.record(stream.resumption(), Some(kept.clone()));
                call.live.with(|session, _| session.activity_done(record));
            }
            working.done(kept);
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

/// Gives the stream what a record has of a response: the head, and the message if there is one.
pub(super) async fn give(stream: &Stream, reply: &Reply) {
    stream.answer_head(head_of(&recorded::head(reply)));
    stream.pump_app(Full::new(reply.message.clone())).await;
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
