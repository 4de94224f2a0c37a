//! The body that an application reads.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rpc_core::stream::run::Run;
use tonic::Status;

use super::intake::{Intake, Next};
use crate::shared::Shared;

/// What the application reads over all attempts: a handler's request body, or a stub's response body.
///
/// It gives whole messages, in batches that end at sync points, and being polled says that what it gave before is used
/// up, which is true of tonic's decoder. It ends in order only after END; at a client with the answer's trailers. A
/// stream that breaks off for good is an error, and to a handler never CANCELLED, which tonic would take for the end of its request.
///
/// Where the application secures points itself it has nothing more to give at each of them, until
/// [`Checkpointed`](crate::Checkpointed) has taken that; where nobody takes points it fails with the reason
/// CHECKPOINTS_IGNORED, and what comes after is dropped.
///
/// Dropping it before its end says that the application wants no more: what comes is dropped. At a client that cancels
/// the call.
pub struct AppBody {
    intake: Intake,
    /// Pieces of one long message, last first.
    parts: Vec<Bytes>,
}

impl AppBody {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { intake: Intake::new(shared), parts: Vec::new() }
    }

    /// Keeps a message that came in pieces as it is: the decoder copies anyway, and once is enough.
    fn messages(&mut self, run: Run) {
        match run.parts() {
            [_] => self.parts.push(run.into_bytes()),
            parts => self.parts.extend(parts.iter().rev().filter(|part| !part.is_empty()).cloned()),
        }
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            // Half a message in a decoder is no reason for it to ask for what comes after: the rest is here.
            if let Some(part) = self.parts.pop() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if self.intake.is_over() {
                return Poll::Ready(None);
            }
            match ready!(self.intake.poll_next(cx)) {
                //= S-21
                Next::Messages(run) => self.messages(run),
                Next::End(trailers) => {
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Next::Failed(status) => return Poll::Ready(Some(Err(status))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.intake.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl fmt::Debug for AppBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBody").field("is_over", &self.intake.is_over()).finish_non_exhaustive()
    }
}
