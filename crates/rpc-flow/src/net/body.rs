//! The outgoing body of one attempt.

use std::error::Error;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame as BodyFrame, SizeHint};
use rpc_core::frame::{Credit, Frame, SyncAck};
use rpc_core::id::Attempt;
use rpc_core::stream::error::Fenced;
use rpc_core::stream::flow::{Side, Step};
use rpc_core::time::Timestamp;
use rpc_proto::frames::encode;
use tokio::time::{Sleep, sleep_until};

use super::attempt::Frames;
use super::batch::Batch;
use crate::shared::{Shared, State};
use crate::status;

/// A server's response body or a client's request body, for one attempt.
///
/// A server's ends with the trailers of [`Stream::conclude`](crate::Stream::conclude) after END, or with those of the
/// error that ended the stream. A client's ends in order when the response has ended, or after CANCEL. Both end with
/// [`Reset`] when a newer attempt has begun or the connection of this one is lost.
///
/// Dropped before its end at a server, it means that the connection is lost. A client waits for what the response says:
/// an HTTP/2 server may stop reading a request that it has answered.
#[derive(Debug)]
pub struct NetBody {
    shared: Arc<Shared>,
    attempt: Attempt,
    frames: Frames,
    batch: Batch,
    end: Option<End>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The attempt is over, and its HTTP/2 stream has to be reset: with CANCEL, which what sends a body takes
/// from the [`source`](Error::source) of its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Which one.
    pub attempt: Attempt,
}

/// Without one it is INTERNAL_ERROR, and proxies count that against the server.
static CANCEL: LazyLock<h2::Error> = LazyLock::new(|| h2::Reason::CANCEL.into());

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} is over", self.attempt)
    }
}

impl Error for Reset {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*CANCEL)
    }
}

/// What comes after the last DATA.
#[derive(Debug)]
enum End {
    Clean,
    Trailers(HeaderMap),
    Reset,
    /// It was told.
    Told,
}

/// Why no more is taken from the flow.
enum Drained {
    Full,
    Idle(Timestamp),
    End(End),
}

impl NetBody {
    pub(crate) fn new(shared: Arc<Shared>, attempt: Attempt, frames: Frames) -> Self {
        let batch = if attempt > Attempt::default() { Batch::careful() } else { Batch::default() };
        Self { shared, attempt, frames, batch, end: None, timer: None }
    }

    fn drain(&mut self, cx: &Context<'_>) -> Drained {
        let now = self.shared.now();
        let shared = Arc::clone(&self.shared);
        shared.with(|state| {
            let drained = self.drain_flow(state, now);
            state.wrote();
            match &drained {
                Drained::Idle(_) => state.wait_outgoing(self.attempt, cx),
                Drained::End(End::Trailers(_) | End::Clean) => {
                    if let Some(line) = state.line(self.attempt) {
                        line.answered = true;
                    }
                }
                Drained::Full | Drained::End(End::Reset | End::Told) => {}
            }
            drained
        })
    }

    fn drain_flow(&mut self, state: &mut State, now: Timestamp) -> Drained {
        while !self.batch.is_full() {
            match state.flow.poll(now, self.attempt) {
                Ok(Step::Data(bytes)) => self.batch.push(bytes),
                Ok(Step::Control(frame)) => match self.frames {
                    Frames::On => self.batch.push(encode(&frame)),
                    Frames::Off => self.answer_for_the_peer(state, &frame),
                },
                Ok(Step::Idle { wake }) => {
                    return self.end_when_idle(state).map_or(Drained::Idle(wake), Drained::End);
                }
                Ok(Step::Failed(error)) => {
                    return Drained::End(match self.shared.side {
                        //= S-24, W-21
                        Side::Client => End::Clean,
                        Side::Server => {
                            let status = state.failure.clone().unwrap_or_else(|| status::of(&error));
                            End::Trailers(status::to_trailers(&status))
                        }
                    });
                }
                Err(Fenced { .. }) => {
                    let closing = state.line(self.attempt).is_some_and(|line| line.closing);
                    return Drained::End(if closing { End::Clean } else { End::Reset });
                }
            }
        }
        Drained::Full
    }

    /// Whether nothing more is to come, now that nothing is to be written.
    fn end_when_idle(&self, state: &mut State) -> Option<End> {
        match self.shared.side {
            //= W-21
            Side::Client => state.line(self.attempt)?.closing.then_some(End::Clean),
            Side::Server => {
                let trailers = state.conclusion.as_ref().filter(|_| state.flow.is_sent())?;
                Some(End::Trailers(trailers.clone()))
            }
        }
    }

    /// A caller that reads no frames confirms nothing: what is written to it counts as secured, or the window would be
    /// full for ever.
    //= W-14
    fn answer_for_the_peer(&self, state: &mut State, frame: &Frame) {
        let Frame::Sync(point) = frame else { return };
        let window = self.shared.window;
        let (received, limit) = (point.position, point.position.plus(window.messages, window.bytes));
        let ack = Frame::SyncAck(SyncAck { serial: point.serial, state: Bytes::new() });
        for frame in [ack, Frame::Credit(Credit { received, limit })] {
            // A fenced attempt is found out by the next poll.
            let _ = state.flow.control_in(self.attempt, frame);
        }
        state.rouse_pump();
    }

    /// Waits until `wake`. Rearming a timer costs more than one early turn, so one that fires before is kept.
    fn sleep(&mut self, cx: &mut Context<'_>, wake: Timestamp) -> Poll<()> {
        let Some(at) = self.shared.instant(wake) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < timer.deadline() {
            timer.as_mut().reset(at);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        timer.as_mut().reset(at);
        Poll::Ready(())
    }

    fn is_over(&self) -> bool {
        self.batch.is_empty() && matches!(self.end, Some(End::Clean | End::Told))
    }
}

impl Body for NetBody {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Reset>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.batch.pop() {
                return Poll::Ready(Some(Ok(BodyFrame::data(bytes))));
            }
            if let Some(end) = this.end.replace(End::Told) {
                return Poll::Ready(match end {
                    End::Clean | End::Told => None,
                    End::Trailers(trailers) => Some(Ok(BodyFrame::trailers(trailers))),
                    End::Reset => Some(Err(Reset { attempt: this.attempt })),
                });
            }
            this.end = None;
            let drained = this.drain(cx);
            this.batch.close();
            match drained {
                Drained::Full => {}
                Drained::End(end) => this.end = Some(end),
                Drained::Idle(_) if !this.batch.is_empty() => {}
                Drained::Idle(wake) => {
                    if this.sleep(cx, wake).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for NetBody {
    fn drop(&mut self) {
        if self.is_over() {
            return;
        }
        self.shared.with(|state| {
            let side = self.shared.side;
            let Some(line) = state.line(self.attempt) else { return };
            (line.outgoing_lost, line.answered) = (true, false);
            // What came before the connection was lost may still wait to be read: then the end of that tells it.
            if side == Side::Server && line.incoming_over {
                state.flow.detached(self.attempt);
            }
            state.rouse_all();
        });
    }
}
