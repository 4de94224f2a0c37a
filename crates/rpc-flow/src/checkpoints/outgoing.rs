//! Messages and sync points as an application gives them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rpc_core::stream::error::SyncError;
use tokio_stream::Stream;
use tonic::Status;

use super::handle::Checkpoints;
use crate::status;

/// What an application sends in a stream with checkpoints. `Debug` shows no message and no state.
#[derive(Clone, PartialEq, Eq)]
pub enum Outgoing<T> {
    /// A message.
    Message(T),
    /// A sync point after everything before it, with the application's state, at most 64 KiB: the receiver gets it, and
    /// this application gets it back when the stream is resumed from this point.
    SyncPoint(Bytes),
}

impl<T> fmt::Debug for Outgoing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(_) => f.write_str("Message(..)"),
            Self::SyncPoint(state) => write!(f, "SyncPoint(<{} bytes>)", state.len()),
        }
    }
}

/// The messages that a client sends, from [`Checkpoints::outgoing`].
///
/// # Cancel safety
///
/// A point that waits for room is kept between two polls.
pub struct OutgoingMessages<S> {
    items: Pin<Box<S>>,
    placing: Placing,
    over: bool,
}

/// The messages that a handler sends, from [`Checkpoints::outgoing_results`].
///
/// # Cancel safety
///
/// A point that waits for room is kept between two polls.
pub struct OutgoingResults<S> {
    items: Pin<Box<S>>,
    placing: Placing,
}

/// Knows where the next point lies: tonic's encoder may hold any number of the messages before it.
struct Placing {
    checkpoints: Checkpoints,
    /// Messages of the direction that were yielded, those before a resumption included.
    given: u64,
    /// The state of a point that is to be placed before anything more is yielded.
    due: Option<Bytes>,
}

/// Why a point was not placed.
enum Refused {
    NoStream,
    Status(Status),
}

impl Placing {
    fn new(checkpoints: Checkpoints) -> Self {
        let given = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
        Self { checkpoints, given, due: None }
    }

    /// Places the point that is due, when there is room for it.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        let Some(state) = &self.due else { return Poll::Ready(Ok(())) };
        let Some(stream) = self.checkpoints.stream_for_point() else {
            self.due = None;
            return Poll::Ready(Err(Refused::NoStream));
        };
        let placed = stream.shared.with(|shared| {
            if let Some(failure) = shared.failure() {
                return Poll::Ready(Err(failure));
            }
            match shared.flow.app_syncs_at(self.given, state.clone()) {
                Err(SyncError::TooManyPoints) => {
                    shared.wait_placing(cx);
                    Poll::Pending
                }
                placed => {
                    shared.rouse_outgoing();
                    Poll::Ready(placed.map_err(|error| status::misused(&error)))
                }
            }
        });
        let placed = ready!(placed);
        self.due = None;
        Poll::Ready(placed.map_err(Refused::Status))
    }

    /// The message that an item is, if it is one.
    fn message<T>(&mut self, item: Outgoing<T>) -> Option<T> {
        match item {
            Outgoing::Message(message) => {
                self.given += 1;
                Some(message)
            }
            Outgoing::SyncPoint(state) => {
                self.due = Some(state);
                None
            }
        }
    }
}

impl<S> OutgoingMessages<S> {
    pub(super) fn new(checkpoints: Checkpoints, items: S) -> Self {
        Self { items: Box::pin(items), placing: Placing::new(checkpoints), over: false }
    }
}

impl<S, T> Stream for OutgoingMessages<S>
where
    S: Stream<Item = Outgoing<T>>,
{
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        while !this.over {
            match ready!(this.placing.poll(cx)) {
                Ok(()) | Err(Refused::NoStream) => {}
                Err(Refused::Status(status)) => {
                    // A message cannot be an error, so the call ends with it: the end of the messages alone would be
                    // taken for the end of the request.
                    this.over = true;
                    if let Some(stream) = this.placing.checkpoints.stream_for_point() {
                        stream.abandon(status);
                    }
                    break;
                }
            }
            match ready!(this.items.as_mut().poll_next(cx)) {
                Some(item) => {
                    if let Some(message) = this.placing.message(item) {
                        return Poll::Ready(Some(message));
                    }
                }
                None => this.over = true,
            }
        }
        Poll::Ready(None)
    }
}

impl<S> OutgoingResults<S> {
    pub(super) fn new(checkpoints: Checkpoints, items: S) -> Self {
        Self { items: Box::pin(items), placing: Placing::new(checkpoints) }
    }
}

impl<S, T> Stream for OutgoingResults<S>
where
    S: Stream<Item = Result<Outgoing<T>, Status>>,
{
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match ready!(this.placing.poll(cx)) {
                Ok(()) => {}
                Err(Refused::NoStream) => return Poll::Ready(Some(Err(status::without_checkpoints()))),
                Err(Refused::Status(status)) => return Poll::Ready(Some(Err(status))),
            }
            match ready!(this.items.as_mut().poll_next(cx)) {
                Some(Ok(item)) => {
                    if let Some(message) = this.placing.message(item) {
                        return Poll::Ready(Some(Ok(message)));
                    }
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<S> fmt::Debug for OutgoingMessages<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingMessages").field("given", &self.placing.given).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for OutgoingResults<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingResults").field("given", &self.placing.given).finish_non_exhaustive()
    }
}
