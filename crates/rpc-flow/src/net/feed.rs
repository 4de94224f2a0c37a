//! Reads the incoming body of one attempt.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame as BodyFrame};
use rpc_core::id::Attempt;
use rpc_core::stream::error::{Fenced, StreamError};
use rpc_core::stream::flow::Side;
use rpc_proto::frames::{Arrived, Incoming};

use super::attempt::Frames;
use crate::shared::{Shared, State};

/// Frames of a body that is always ready which are read before other tasks get their turn.
const TURN_FRAMES: u32 = 64;

/// Reads a server's request body or a client's response body for one attempt.
///
/// Dropped before the end of [`run`](Self::run), it means that the connection is lost.
pub struct Feed {
    shared: Arc<Shared>,
    attempt: Attempt,
    frames: Frames,
    incoming: Incoming,
    /// Bytes that came after the stream had failed.
    drained_bytes: u64,
    ended: bool,
}

/// How the incoming body of an attempt ended.
#[derive(Debug)]
pub struct Ended {
    /// What that means for the stream.
    pub how: How,
    /// The trailers, if it had any.
    pub trailers: Option<HeaderMap>,
}

/// What the end of an attempt's incoming body means.
#[derive(Debug)]
#[non_exhaustive]
pub enum How {
    /// The body ended in order, and so did the direction: END came. At a server also where the answer was written before
    /// the request was whole.
    Complete,
    /// The body ended in order and the direction did not. A client looks at the trailers: the call is over, or to be
    /// resumed. A server waits for the next attempt.
    Short,
    /// The connection was lost: the stream is to be resumed.
    Broken(Box<dyn Error + Send + Sync>),
    /// A newer attempt has begun.
    Fenced,
    /// The stream failed, in this attempt or while it went on.
    Failed(StreamError),
}

/// What reading on is good for.
enum Turn {
    More,
    Over(How),
}

impl Feed {
    pub(crate) fn new(shared: Arc<Shared>, attempt: Attempt, frames: Frames) -> Self {
        let incoming = Incoming::new(shared.message_bytes_max);
        Self { shared, attempt, frames, incoming, drained_bytes: 0, ended: false }
    }

    /// Reads `body` to its end, whether or not the application takes what comes: that is bounded by the credit it was
    /// given. Ends at once when a newer attempt begins.
    ///
    /// When the stream has failed, or its answer was written before the request was whole, it reads on, so that an answer
    /// that comes early does not cost the connection: up to one window in the first case. The caller bounds the time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means that the connection is lost.
    //= S-25, W-22
    pub async fn run<B>(mut self, body: B) -> Ended
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = pin!(body);
        let mut trailers = None;
        let how = poll_fn(|cx| self.poll_run(cx, body.as_mut(), &mut trailers)).await;
        self.ended = true;
        self.over();
        Ended { how, trailers }
    }

    fn poll_run<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut B>,
        trailers: &mut Option<HeaderMap>,
    ) -> Poll<How>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        for _ in 0..TURN_FRAMES {
            let next = if self.is_held_back(cx) { Poll::Pending } else { body.as_mut().poll_frame(cx) };
            let turn = match next {
                Poll::Pending => match self.wait(cx) {
                    Turn::More => return Poll::Pending,
                    over @ Turn::Over(_) => over,
                },
                Poll::Ready(Some(Ok(frame))) => self.frame(frame, trailers),
                Poll::Ready(Some(Err(error))) => Turn::Over(self.broken(error.into())),
                Poll::Ready(None) => Turn::Over(self.end()),
            };
            if let Turn::Over(how) = turn {
                return Poll::Ready(how);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn frame(&mut self, frame: BodyFrame<Bytes>, trailers: &mut Option<HeaderMap>) -> Turn {
        match frame.into_data() {
            Ok(data) => self.data(data),
            Err(frame) => {
                *trailers = frame.into_trailers().ok();
                Turn::More
            }
        }
    }

    /// Whether the application has to take something first: that is all the credit of a caller without frames. Nobody
    /// looks for the end of the connection meanwhile but the outgoing body.
    //= S-31
    fn is_held_back(&self, cx: &Context<'_>) -> bool {
        self.frames == Frames::Off
            && self.shared.with(|state| {
                let full = !state.flow.reads_without_frames();
                if let Some(line) = state.line(self.attempt) {
                    line.held_back = full;
                }
                if full {
                    state.wait_incoming(self.attempt, cx);
                }
                full
            })
    }

    /// Nothing came: whether it is worth waiting.
    fn wait(&self, cx: &Context<'_>) -> Turn {
        self.shared.with(|state| {
            let Some(line) = state.line(self.attempt) else { return Turn::Over(How::Fenced) };
            if line.outgoing_lost {
                state.flow.detached(self.attempt);
                let how = state.flow.failed().map_or_else(
                    || How::Broken("the outgoing body of the attempt was dropped".into()),
                    How::Failed,
                );
                return Turn::Over(how);
            }
            state.wait_incoming(self.attempt, cx);
            Turn::More
        })
    }

    /// Takes one DATA apart. One lock for all that is in it.
    fn data(&mut self, data: Bytes) -> Turn {
        let now = self.shared.now();
        let shared = Arc::clone(&self.shared);
        shared.with(|state| {
            if let Some(error) = state.flow.failed() {
                return self.drained(state, data.len(), error);
            }
            self.incoming.push(data);
            let arrived = self.arrived(state);
            if self.frames == Frames::Off {
                state.flow.place_received_point(now);
            }
            match arrived {
                Ok(()) => Turn::More,
                // With its own line, the connection was lost on the way out; the body will say so.
                Err(Fenced { .. }) if state.line(self.attempt).is_some() => Turn::More,
                Err(Fenced { .. }) => Turn::Over(How::Fenced),
            }
        })
    }

    fn arrived(&mut self, state: &mut State) -> Result<(), Fenced> {
        while state.flow.failed().is_none() {
            match self.incoming.next() {
                Ok(None) => break,
                Ok(Some(Arrived::Messages(run))) => {
                    state.flow.data_in(self.attempt, run)?;
                    state.rouse_reader();
                }
                Ok(Some(Arrived::Control(frame))) => {
                    state.flow.control_in(self.attempt, frame)?;
                    state.rouse_reader();
                    state.rouse_pump();
                    state.rouse_outgoing();
                }
                Err(violation) => state.flow.violated(violation),
            }
        }
        Ok(())
    }

    /// The stream has failed; what still comes is read for the sake of the connection.
    fn drained(&mut self, state: &mut State, bytes: usize, error: StreamError) -> Turn {
        if state.line(self.attempt).is_none() {
            return Turn::Over(How::Fenced);
        }
        self.drained_bytes = self.drained_bytes.saturating_add(bytes as u64);
        // What was within the peer's credit, twice: frames of this protocol come on top.
        if self.drained_bytes > self.shared.window.bytes.saturating_mul(2) {
            return Turn::Over(How::Failed(error));
        }
        Turn::More
    }

    /// Nothing more is read. If the other body was lost meanwhile, that is told now.
    fn over(&self) {
        self.shared.with(|state| {
            let Some(line) = state.line(self.attempt) else { return };
            line.incoming_over = true;
            if line.outgoing_lost {
                state.flow.detached(self.attempt);
            }
        });
    }

    fn broken(&self, error: Box<dyn Error + Send + Sync>) -> How {
        self.shared.with(|state| {
            if state.line(self.attempt).is_none() {
                return How::Fenced;
            }
            state.flow.detached(self.attempt);
            state.rouse_all();
            state.flow.failed().map_or(How::Broken(error), How::Failed)
        })
    }

    /// The body ended in order.
    fn end(&self) -> How {
        self.shared.with(|state| {
            let side = self.shared.side;
            let Some(line) = state.line(self.attempt) else { return How::Fenced };
            line.closing = side == Side::Client;
            let answered = side == Side::Server && line.answered;
            state.rouse_all();
            //= W-23
            let complete = match self.frames {
                Frames::Off if self.incoming.is_whole() => {
                    state.flow.ended_without_frames(self.attempt).map(|()| true)
                }
                // A failed stream stays on its connection: the other body still says why.
                Frames::On | Frames::Off if state.flow.failed().is_some() => Ok(false),
                Frames::On | Frames::Off => state.flow.transport_ended(self.attempt),
            };
            match state.flow.failed() {
                Some(error) => How::Failed(error),
                None if complete == Ok(true) => How::Complete,
                None if answered => {
                    // The caller has its answer and will not send the rest: whoever still reads that must not wait for it.
                    state.flow.abandon();
                    state.rouse_all();
                    How::Complete
                }
                None => How::Short,
            }
        })
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("attempt", &self.attempt)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.over();
        self.shared.with(|state| {
            if state.line(self.attempt).is_some() {
                state.flow.detached(self.attempt);
                state.rouse_all();
            }
        });
    }
}
