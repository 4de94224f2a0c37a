//! Messages from a source that can be read again.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rpc_core::stream::flow::Side;
use tokio_stream::Stream;
use tonic::Status;

use super::handle::Checkpoints;
use super::outgoing::{Outgoing, OutgoingItem, Placing, Refused};
use crate::shared::State;
use crate::source::Turn;
use crate::status;

/// The messages that a client sends from a source that can be read again, from [`Checkpoints::reread`].
///
/// # Cancel safety
///
/// A point that waits for room is kept between two polls.
pub struct Reread<F, S>(Source<F, S>);

/// The messages that a handler sends from a source that can be read again, from [`Checkpoints::reread_results`].
///
/// # Cancel safety
///
/// A point that waits for room is kept between two polls.
pub struct RereadResults<F, S>(Source<F, S>);

/// The source, and where it is read.
///
/// What it yields is in the stream when the body of tonic's encoder is polled anew, and not before: only then it begins
/// again, or says that it has ended. Between two such polls the encoder holds messages that the stream does not know.
struct Source<F, S> {
    open: F,
    /// Opened by the first poll, which is the first that can know the call.
    items: Option<Pin<Box<S>>>,
    placing: Placing,
    stream: Option<crate::Stream>,
    /// The last turn of the body in which it was polled.
    turn: Turn,
    /// How it ended. It may still have to begin again.
    end: Option<Option<Status>>,
}

impl<F, S> Source<F, S>
where
    F: FnMut(u64) -> S,
{
    fn new(checkpoints: Checkpoints, open: F) -> Self {
        let placing = Placing::new(checkpoints);
        Self { open, items: None, placing, stream: None, turn: Turn::default(), end: None }
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl Fn(Pin<&mut S>, &mut Context<'_>) -> Poll<Option<Result<Outgoing<T>, Status>>>,
    ) -> Poll<Option<Result<T, Status>>> {
        if self.items.is_none()
            && let Err(status) = self.begin()
        {
            return Poll::Ready(Some(Err(status)));
        }
        let is_first = self.is_first_in_turn();
        if let Err(status) = ready!(self.heed(cx, is_first)) {
            return Poll::Ready(Some(Err(status)));
        }
        while self.end.is_none() {
            match ready!(self.placing.poll(cx)) {
                Ok(()) => {}
                // Without a call that knows them, a client's points go nowhere.
                Err(Refused::NoStream) if self.placing.is_client() => {}
                Err(Refused::NoStream) => self.end = Some(Some(status::without_checkpoints())),
                Err(Refused::Status(status)) => self.end = Some(Some(status)),
            }
            let Some(items) = self.items.as_mut().filter(|_| self.end.is_none()) else { break };
            match ready!(next(items.as_mut(), cx)) {
                Some(Ok(item)) => {
                    if let Some(message) = self.placing.message(item) {
                        return Poll::Ready(Some(Ok(message)));
                    }
                }
                Some(Err(status)) => self.end = Some(Some(status)),
                None => self.end = Some(None),
            }
        }
        self.rest(cx, is_first)
    }

    /// The call has begun.
    fn begin(&mut self) -> Result<(), Status> {
        self.stream = self.placing.stream();
        if let Some(stream) = &self.stream {
            stream.shared.with(State::reads_again)?;
        }
        self.open(self.placing.given());
        Ok(())
    }

    fn open(&mut self, after: u64) {
        self.end = None;
        // Before the next one is opened: it may be one file that both read.
        self.items = None;
        self.items = Some(Box::pin((self.open)(after)));
    }

    /// Whether nothing that it yielded is on its way to the stream.
    fn is_first_in_turn(&mut self) -> bool {
        let turn = self.stream.as_ref().map(|stream| stream.shared.source.turn()).unwrap_or_default();
        std::mem::replace(&mut self.turn, turn) != turn
    }

    /// Begins again, if the stream asks for it. Costs a load where it does not.
    fn heed(&mut self, cx: &Context<'_>, is_first: bool) -> Poll<Result<(), Status>> {
        let Some(stream) = self.stream.as_ref().filter(|stream| stream.shared.source.is_asked()) else {
            return Poll::Ready(Ok(()));
        };
        let after = stream.shared.with(|state| match state.failure() {
            Some(failure) => Err(failure),
            None if is_first => Ok(state.begin_again()),
            None => Ok(None),
        });
        match after {
            Ok(Some(after)) => {
                self.placing.restart(after);
                self.open(after);
                Poll::Ready(Ok(()))
            }
            Ok(None) if is_first => Poll::Ready(Ok(())),
            Ok(None) => later(cx),
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }

    /// The source has ended. Its messages have not, while any of them may be asked for again: tonic's encoder ends once.
    fn rest<T>(&mut self, cx: &Context<'_>, is_first: bool) -> Poll<Option<Result<T, Status>>> {
        let error = self.end.clone().flatten();
        let Some(stream) = &self.stream else { return Poll::Ready(error.map(Err)) };
        // The call ends with it, whatever is missing.
        if stream.shared.side == Side::Client
            && let Some(status) = error
        {
            return Poll::Ready(Some(Err(status)));
        }
        if !is_first {
            return later(cx);
        }
        let told = stream.shared.with(|state| state.source_ended(error.as_ref()));
        Poll::Ready(match ready!(told) {
            Ok(()) => error.map(Err),
            Err(status) => Some(Err(status)),
        })
    }
}

impl<F, S> Source<F, S> {
    fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name).field("given", &self.placing.given()).finish_non_exhaustive()
    }
}

impl<F, S> fmt::Debug for Reread<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f, "Reread")
    }
}

impl<F, S> fmt::Debug for RereadResults<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f, "RereadResults")
    }
}

/// When what the encoder holds has left it.
fn later<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<F, S> Reread<F, S>
where
    F: FnMut(u64) -> S,
{
    pub(super) fn new(checkpoints: Checkpoints, open: F) -> Self {
        Self(Source::new(checkpoints, open))
    }
}

impl<F, S> RereadResults<F, S>
where
    F: FnMut(u64) -> S,
{
    pub(super) fn new(checkpoints: Checkpoints, open: F) -> Self {
        Self(Source::new(checkpoints, open))
    }
}

// The source is pinned in its own box.
impl<F, S> Unpin for Reread<F, S> {}
impl<F, S> Unpin for RereadResults<F, S> {}

impl<F, S> Stream for Reread<F, S>
where
    F: FnMut(u64) -> S,
    S: Stream<Item: OutgoingItem>,
{
    type Item = <S::Item as OutgoingItem>::Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next =
            self.0.poll(cx, |items, cx| items.poll_next(cx).map(|item| item.map(OutgoingItem::into_result)));
        match ready!(next) {
            Some(Ok(message)) => Poll::Ready(Some(message)),
            Some(Err(status)) => self.0.placing.fail(status),
            None => Poll::Ready(None),
        }
    }
}

impl<F, S, T> Stream for RereadResults<F, S>
where
    F: FnMut(u64) -> S,
    S: Stream<Item = Result<Outgoing<T>, Status>>,
{
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx, Stream::poll_next)
    }
}
