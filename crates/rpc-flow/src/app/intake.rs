//! What an application reads.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;
use rpc_core::stream::flow::{Side, Take};
use rpc_core::stream::run::Run;
use tonic::Status;

use crate::checkpoints::Passage;
use crate::shared::{Shared, State};
use crate::status;

/// The application's reader. When it is dropped before the end, the application has left.
#[derive(Debug)]
pub(crate) struct Intake {
    shared: Arc<Shared>,
    /// The application was told how it ended.
    over: bool,
}

/// What the application gets.
#[derive(Debug)]
pub(crate) enum Next {
    Messages(Run),
    /// With the answer's trailers at a client.
    End(Option<HeaderMap>),
    Failed(Status),
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, over: false }
    }

    /// The application asks for more: what it got before is used up. Not to be called after the end.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        let side = self.shared.side;
        let next = self.shared.with(|state| {
            let next = next(state, side);
            if next.is_pending() {
                state.wait_reader(cx);
            }
            next
        });
        self.over |= matches!(next, Poll::Ready(Next::End(_) | Next::Failed(_)));
        next
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }
}

fn next(state: &mut State, side: Side) -> Poll<Next> {
    if state.gate.passage() == Passage::Later || state.is_held() {
        return Poll::Pending;
    }
    // Whoever asks for more has used up what it had: nothing of an older generation is left with it.
    state.used_up();
    if state.overlooked.requests {
        return Poll::Ready(Next::Failed(overlooked(state)));
    }
    match take(state) {
        Take::Messages(run) => Poll::Ready(Next::Messages(run)),
        Take::Point(point) => {
            state.gate.stop_at(point);
            match state.gate.passage() {
                // Whoever reads finds it there.
                Passage::Free | Passage::Later => Poll::Pending,
                Passage::Ignored => Poll::Ready(Next::Failed(ignored(state))),
            }
        }
        Take::Wait => Poll::Pending,
        //= W-23
        Take::Failed(error) => {
            let status = state.failure.clone().unwrap_or_else(|| status::of(&error));
            Poll::Ready(Next::Failed(match side {
                Side::Client => status,
                Side::Server => status::to_reader(status),
            }))
        }
        Take::End => match (side, &state.conclusion, &state.failure) {
            (Side::Server, _, _) => Poll::Ready(Next::End(None)),
            (Side::Client, Some(trailers), _) => Poll::Ready(Next::End(Some(trailers.clone()))),
            (Side::Client, None, Some(status)) => Poll::Ready(Next::Failed(status.clone())),
            // END came, and the trailers are still to come.
            (Side::Client, None, None) => Poll::Pending,
        },
    }
}

/// Asks for more, and tells the peer where that makes room or secures something.
fn take(state: &mut State) -> Take {
    // By its number: a sender that was restored places a point where one was secured before, and waits for its answer.
    let has = |state: &State| (state.flow.receiver().kept_bytes(), state.flow.receiver().secured_serial());
    let before = has(state);
    let take = state.flow.take();
    if before != has(state) {
        state.rouse_outgoing();
        state.rouse_held_back();
    }
    take
}

/// The application does not know that it is to secure points: it would wait for ever when the sender's window is full.
fn ignored(state: &mut State) -> Status {
    state.flow.app_left();
    status::points_ignored()
}

/// The handler would take what comes for the beginning.
//= S-36
fn overlooked(state: &mut State) -> Status {
    state.flow.app_left();
    status::resumption_overlooked()
}

impl Drop for Intake {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.shared.with(|state| {
            state.flow.app_left();
            state.desk.has_left = true;
            //= S-24
            if self.shared.side == Side::Client && state.conclusion.is_none() {
                state.flow.cancel();
            }
            state.rouse_all();
        });
    }
}
