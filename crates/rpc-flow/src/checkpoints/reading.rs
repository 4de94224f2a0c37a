//! Messages and sync points as they come.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rpc_core::stream::flow::Progress;
use tokio_stream::Stream as _;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use super::handle::Checkpoints;
use super::point::{Item, Point, Resumed};
use crate::dialog::Reads;
use crate::shared::{Shared, State};
use crate::status;

/// A stream of messages with its sync points, which the application secures itself: a handler's request, or the response
/// that a caller reads.
///
/// It reads tonic's own [`Streaming`], so that decoding, compression and bounds are those of the stub. Dropping it says
/// that the application wants no more; at a client that cancels the call.
pub struct Checkpointed<T> {
    streaming: Streaming<T>,
    shared: Arc<Shared>,
    resumed: Option<Resumed>,
    /// Came out of the decoder when nothing was to be delivered.
    held: Option<T>,
    ended: bool,
}

impl<T> Checkpointed<T> {
    /// Reads `streaming`, the messages of the call whose checkpoints these are. From here on the application secures
    /// the points that it comes to; before, the session did, unless the policy of the method says otherwise.
    ///
    /// What lies between `streaming` and the [`AppBody`](crate::AppBody) must not read ahead of its reader.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION with the reason CHECKPOINTS_REQUIRED: the call has no checkpoints.
    pub fn new(streaming: Streaming<T>, checkpoints: &Checkpoints) -> Result<Self, Status> {
        let shared = Arc::clone(&checkpoints.stream().ok_or_else(status::without_checkpoints)?.shared);
        shared.with(|state| {
            state.flow.secure_explicitly();
            state.gate.attend();
        });
        let resumed = checkpoints.resumed_incoming();
        Ok(Self { streaming, shared, resumed, held: None, ended: false })
    }

    /// From where these messages go on; `None` when they begin at the beginning. A connection that was lost and replaced
    /// within the call does not count: the application does not notice it.
    //= S-10
    pub fn resumed(&self) -> Option<&Resumed> {
        self.resumed.as_ref()
    }

    /// The next message or sync point; `None` after the last.
    ///
    /// # Errors
    ///
    /// The call's own error, or the stream is over before its end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    //= S-9
    pub async fn next(&mut self) -> Result<Option<Item<T>>, Status> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Item<T>>, Status>> {
        match self.poll_messages(cx) {
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Ok(Some(Item::Message(message)))),
            Poll::Ready(Some(Err(status))) => Poll::Ready(Err(status)),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(Ok(None))
            }
            // The decoder waits, so it has given every message before the point.
            Poll::Pending => match self.shared.with(State::take_point) {
                Some((point, resets)) => {
                    let point = Point::new(Arc::clone(&self.shared), point, resets);
                    Poll::Ready(Ok(Some(Item::SyncPoint(point))))
                }
                None => Poll::Pending,
            },
        }
    }

    /// The next message of the generation that goes on: tonic's decoder may still hold some of an older one.
    //= D-16, I14
    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        loop {
            let message = match self.held.take() {
                Some(message) => message,
                None => match ready!(Pin::new(&mut self.streaming).poll_next(cx)) {
                    Some(Ok(message)) => message,
                    end => return Poll::Ready(end),
                },
            };
            match self.shared.reader_may(cx) {
                Reads::On => return Poll::Ready(Some(Ok(message))),
                Reads::Later => {
                    self.held = Some(message);
                    return Poll::Pending;
                }
                Reads::Past => {}
            }
        }
    }

    /// The answer's metadata behind the messages, once [`next`](Self::next) has said that there are no more. A handler's
    /// request has none.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION before the end: to read on to it would pass over the sync points.
    pub async fn trailers(&mut self) -> Result<Option<MetadataMap>, Status> {
        if !self.ended {
            return Err(Status::failed_precondition(
                "the stream is to be read to its end before its trailers",
            ));
        }
        self.streaming.trailers().await
    }

    /// How far the call has come, in both directions.
    pub fn progress(&self) -> Progress {
        self.shared.with(|state| state.flow.progress())
    }
}

impl<T> fmt::Debug for Checkpointed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpointed")
            .field("resumed", &self.resumed)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}
