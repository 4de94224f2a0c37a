//! Reads the application's own body into the stream.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use rpc_core::stream::flow::Side;

use super::quiet::{self, Polled};
use crate::dialog::Reading;
use crate::shared::{Shared, State};
use crate::status;

/// How the application's own body ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppEnd {
    /// In order, with these trailers: a handler's answer.
    Done(Option<HeaderMap>),
    /// With an error. A client has cancelled the call for it; a server's direction ends here, and the owner
    /// [concludes](crate::Stream::conclude) the call with the error.
    Failed(Box<dyn Error + Send + Sync>),
    /// Not yet: the stream is over, and nobody wants the rest.
    Stopped,
}

/// Whether the application's body is to be polled.
enum Gate {
    Open,
    /// And something waits for it to have nothing ready.
    Asked,
    Shut,
    Stop,
}

/// Reads `body` to its end, while there is room for what it gives.
pub(crate) async fn pump<B>(shared: &Shared, body: B) -> AppEnd
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let _running = Running::new(shared);
    let mut body = pin!(body);
    let mut trailers = None;
    poll_fn(|cx| poll_pump(shared, cx, body.as_mut(), &mut trailers)).await
}

/// The application's own body is read. When it is not any more, nothing of it is on its way.
struct Running<'a>(&'a Shared);

impl<'a> Running<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.with(|state| state.desk.reading = Reading::Goes);
        Self(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.desk.reading = Reading::Rests;
            state.source_gone();
        });
    }
}

fn poll_pump<B>(
    shared: &Shared,
    cx: &mut Context<'_>,
    mut body: Pin<&mut B>,
    trailers: &mut Option<HeaderMap>,
) -> Poll<AppEnd>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut data = None;
    loop {
        let next = match shared.with(|state| turn(state, shared, cx, data.take())) {
            Gate::Open => ready!(body.as_mut().poll_frame(cx)),
            Gate::Asked => match quiet::poll(body.as_mut(), cx) {
                Polled::Ready(next) => next,
                Polled::Soon => return Poll::Pending,
                Polled::Quiet => {
                    shared.with(State::quiet);
                    return Poll::Pending;
                }
            },
            Gate::Shut => return Poll::Pending,
            Gate::Stop => return Poll::Ready(AppEnd::Stopped),
        };
        match next {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => data = Some(bytes),
                // Nothing comes after them, and tonic's encoder would ask the handler's stream again.
                Err(frame) => {
                    *trailers = frame.into_trailers().ok();
                    return Poll::Ready(ended(shared, trailers));
                }
            },
            Some(Err(error)) => {
                shared.with(|state| broken(state, shared.side));
                return Poll::Ready(AppEnd::Failed(error.into()));
            }
            None => return Poll::Ready(ended(shared, trailers)),
        }
    }
}

fn ended(shared: &Shared, trailers: &mut Option<HeaderMap>) -> AppEnd {
    shared.with(|state| {
        state.flow.app_ended();
        state.quiet();
    });
    AppEnd::Done(trailers.take())
}

/// Takes what the body gave, and says whether to ask it for more.
//= S-11
fn turn(state: &mut State, shared: &Shared, cx: &Context<'_>, data: Option<Bytes>) -> Gate {
    let is_old = state.read_on();
    if let Some(bytes) = data.filter(|bytes| !bytes.is_empty() && !is_old) {
        //= S-36
        if state.overlooked.responses {
            state.abandon(Some(status::resumption_overlooked()));
            return Gate::Stop;
        }
        state.flow.app_sends(bytes);
        state.rouse_outgoing();
    }
    // A caller that has its answer need not send the rest.
    if state.flow.failed().is_some() || shared.side == Side::Client && state.conclusion.is_some() {
        return Gate::Stop;
    }
    // Also where the body is asked next: it may have nothing for a long time, and the stream fail meanwhile.
    state.wait_pump(cx);
    // A source that has ended waits for what becomes of that.
    if !state.source.is_parked {
        if state.waits_for_room() || state.rests() {
            return Gate::Shut;
        }
        // Who waits for this side to have nothing more to give would wait for its writer, too.
        if !state.wants_quiet() && state.waits_for_writer() {
            return Gate::Shut;
        }
    }
    shared.source.begin_turn();
    if state.wants_quiet() { Gate::Asked } else { Gate::Open }
}

fn broken(state: &mut State, side: Side) {
    match side {
        Side::Client => state.flow.cancel(),
        Side::Server => state.flow.app_ended(),
    }
    state.rouse_outgoing();
}
