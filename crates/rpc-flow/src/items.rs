//! The explicit form, in bytes: messages and sync points as they come.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use rpc_core::frame::SyncPoint;
use rpc_core::stream::error::SecureError;
use tonic::Status;

use crate::app::{Intake, Next};
use crate::shared::Shared;
use crate::stream::secure;

/// What an application reads that secures sync points itself. Dropping it is the same as with
/// [`AppBody`](crate::AppBody).
#[derive(Debug)]
pub struct Items {
    intake: Intake,
    trailers: Option<HeaderMap>,
}

/// What comes next.
#[derive(Debug)]
pub enum Item {
    /// Whole messages, each with the five bytes of gRPC before it.
    Run(Bytes),
    /// A sync point: everything before it was given.
    SyncPoint(Point),
}

/// A sync point that came.
///
/// Dropping it secures nothing: the sender keeps what lies before it, and waits when its window is full. A later point
/// that is secured secures this one, too.
#[derive(Debug)]
pub struct Point {
    shared: Arc<Shared>,
    point: SyncPoint,
}

impl Items {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { intake: Intake::new(shared), trailers: None }
    }

    /// The next item; `None` after END.
    ///
    /// # Errors
    ///
    /// The stream is over before its end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next_item(&mut self) -> Result<Option<Item>, Status> {
        poll_fn(|cx| {
            if self.intake.is_over() {
                return Poll::Ready(Ok(None));
            }
            Poll::Ready(match ready!(self.intake.poll_next(cx)) {
                Next::Messages(run) => Ok(Some(Item::Run(run.into_bytes()))),
                Next::Point(point) => {
                    let shared = Arc::clone(self.intake.shared());
                    Ok(Some(Item::SyncPoint(Point { shared, point })))
                }
                Next::End(trailers) => {
                    self.trailers = trailers;
                    Ok(None)
                }
                Next::Failed(status) => Err(status),
            })
        })
        .await
    }

    /// The answer's trailers, after the end. Client only.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
}

impl Point {
    /// The point itself: its serial, its position, and what the sending application left with it.
    pub fn get(&self) -> &SyncPoint {
        &self.point
    }

    /// The application has everything before the point; `state` travels to the sender with the confirmation.
    ///
    /// # Errors
    ///
    /// The state is too long. Nothing has changed.
    pub fn secure(&self, state: Bytes) -> Result<(), SecureError> {
        secure(&self.shared, self.point.serial, state)
    }
}
