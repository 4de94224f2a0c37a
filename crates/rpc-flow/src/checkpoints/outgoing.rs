//! Messages and sync points as an application gives them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rpc_core::dialog::TokenSet;
use rpc_core::frame::PointKind;
use tokio_stream::Stream;
use tonic::Status;

use super::handle::Checkpoints;
use crate::shared::State;
use crate::status;

/// What an application sends in a stream with checkpoints. `Debug` shows no message and no state.
#[derive(Clone, PartialEq, Eq)]
pub enum Outgoing<T> {
    /// A message.
    Message(T),
    /// A sync point after everything before it, with the application's state, at most 64 KiB: the receiver gets it, and
    /// this application gets it back when the stream is resumed from this point.
    SyncPoint(Bytes),
    /// The same, and what lies before it is safe from a [resynchronization](crate::Dialog::resynchronize): it is delivered
    /// first. Needs the unit data separation.
    SeparatingPoint(Bytes),
    /// The same, and a dialogue unit ends here: nothing that follows is written before the other side has
    /// [answered](crate::Dialog::unit_closed). Needs the unit major synchronize.
    MajorPoint(Bytes),
    /// These tokens are the other side's when everything before it was written, as with
    /// [`Dialog::give`](crate::Dialog::give). What follows the turn waits until that is here again. Tokens that are not this
    /// side's are passed over; those that the stream does not have fail the call with the reason UNIT_UNSUPPORTED.
    Give(TokenSet),
}

impl<T> fmt::Debug for Outgoing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(_) => f.write_str("Message(..)"),
            Self::SyncPoint(state) => write!(f, "SyncPoint(<{} bytes>)", state.len()),
            Self::SeparatingPoint(state) => write!(f, "SeparatingPoint(<{} bytes>)", state.len()),
            Self::MajorPoint(state) => write!(f, "MajorPoint(<{} bytes>)", state.len()),
            Self::Give(tokens) => write!(f, "Give({tokens:?})"),
        }
    }
}

/// What a client's source of messages gives: [`Outgoing`], or a `Result` of it where the source may fail.
///
/// An error ends the call with it: its caller gets this status, and its handler sees that it was cancelled. What was secured
/// stays secured, so that an activity goes on there. In a call without checkpoints, which nobody but its caller can end, the
/// messages just do not go on, so that nobody takes them for the whole.
pub trait OutgoingItem: sealed::Sealed {
    /// The messages between the points.
    type Message;

    /// What it is.
    fn into_result(self) -> Result<Outgoing<Self::Message>, Status>;
}

impl<T> OutgoingItem for Outgoing<T> {
    type Message = T;

    fn into_result(self) -> Result<Self, Status> {
        Ok(self)
    }
}

impl<T> OutgoingItem for Result<Outgoing<T>, Status> {
    type Message = T;

    fn into_result(self) -> Self {
        self
    }
}

mod sealed {
    use super::{Outgoing, Status};

    pub trait Sealed {}
    impl<T> Sealed for Outgoing<T> {}
    impl<T> Sealed for Result<Outgoing<T>, Status> {}
}

/// The messages that a client sends, from [`Checkpoints::outgoing`].
///
/// # Cancel safety
///
/// A point that waits for room is kept between two polls.
pub struct OutgoingMessages<S> {
    items: Pin<Box<S>>,
    placing: Placing,
    /// How they ended.
    end: Option<Result<(), Status>>,
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
pub(super) struct Placing {
    checkpoints: Checkpoints,
    /// Messages of the direction that were yielded, those before a resumption included.
    given: u64,
    /// What is to be done before anything more is yielded.
    due: Option<Due>,
    /// How often the direction had gone back when that was counted.
    resets: u64,
    /// The call, once it has begun.
    stream: Option<crate::Stream>,
}

/// What lies between two messages.
#[derive(Clone)]
enum Due {
    Point(PointKind, Bytes),
    Give(TokenSet),
    /// Tokens are being handed over.
    Given(TokenSet),
}

/// Why a point was not placed.
pub(super) enum Refused {
    NoStream,
    Status(Status),
}

impl Placing {
    pub(super) fn new(checkpoints: Checkpoints) -> Self {
        let given = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
        Self { checkpoints, given, due: None, resets: 0, stream: None }
    }

    /// After how many messages of the direction the next one lies.
    pub(super) fn given(&self) -> u64 {
        self.given
    }

    pub(super) fn is_client(&self) -> bool {
        self.checkpoints.is_client()
    }

    pub(super) fn stream(&self) -> Option<crate::Stream> {
        self.checkpoints.stream()
    }

    /// The next message is the one after so many, and what was due before it is not.
    pub(super) fn restart(&mut self, given: u64) {
        (self.given, self.due) = (given, None);
    }

    /// Does what is due, when there is room for it.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        let Some(due) = self.due.take() else { return Poll::Ready(Ok(())) };
        let Some(stream) = self.checkpoints.stream_for_point() else {
            return Poll::Ready(Err(Refused::NoStream));
        };
        let done = stream.shared.with(|state| {
            if let Some(failure) = state.failure() {
                return Poll::Ready(Err(failure));
            }
            match due {
                Due::Point(kind, bytes) => self.place(state, cx, kind, bytes),
                Due::Give(tokens) => match state.give_in_line(tokens) {
                    Ok(()) => self.hand_over(state, cx, tokens),
                    refused => Poll::Ready(refused),
                },
                Due::Given(tokens) => self.hand_over(state, cx, tokens),
            }
        });
        done.map_err(Refused::Status)
    }

    fn place(
        &mut self,
        state: &mut State,
        cx: &Context<'_>,
        kind: PointKind,
        bytes: Bytes,
    ) -> Poll<Result<(), Status>> {
        match state.place_at(self.given, kind, bytes.clone()) {
            Some(placed) => Poll::Ready(placed),
            None => {
                self.due = Some(Due::Point(kind, bytes));
                state.wait_placing(cx);
                Poll::Pending
            }
        }
    }

    /// Waits, with nothing to give, until the tokens have left: that is what they wait for.
    fn hand_over(
        &mut self,
        state: &mut State,
        cx: &Context<'_>,
        tokens: TokenSet,
    ) -> Poll<Result<(), Status>> {
        if state.is_giving(tokens) {
            self.due = Some(Due::Given(tokens));
            state.wait_placing(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Counts anew where the direction went back: what the stream has of it is all that was given, since nothing is read
    /// of the application's body before the application knows.
    fn follow(&mut self) {
        if self.stream.is_none() {
            self.stream = self.checkpoints.stream();
        }
        let Some(stream) = &self.stream else { return };
        if stream.shared.terms.is_none() {
            return;
        }
        let (resets, given) =
            stream.shared.with(|state| (state.desk.resets_sent, state.flow.sender().given().messages));
        if resets != self.resets {
            (self.resets, self.given, self.due) = (resets, given, None);
        }
    }

    /// The message that an item is, if it is one.
    pub(super) fn message<T>(&mut self, item: Outgoing<T>) -> Option<T> {
        match item {
            Outgoing::Message(message) => {
                self.given += 1;
                Some(message)
            }
            Outgoing::SyncPoint(state) => self.then(Due::Point(PointKind::Minor, state)),
            Outgoing::SeparatingPoint(state) => self.then(Due::Point(PointKind::Separating, state)),
            Outgoing::MajorPoint(state) => self.then(Due::Point(PointKind::Major, state)),
            Outgoing::Give(tokens) => self.then(Due::Give(tokens)),
        }
    }

    /// Ends a client's call: a message cannot be an error, and the end of the messages alone would be taken for the end of
    /// the request. Without a stream nothing can end it from here.
    pub(super) fn fail<T>(&self, status: Status) -> Poll<Option<T>> {
        let Some(stream) = self.checkpoints.stream() else { return Poll::Pending };
        stream.abandon(status);
        Poll::Ready(None)
    }

    fn then<T>(&mut self, due: Due) -> Option<T> {
        self.due = Some(due);
        None
    }
}

impl<S> OutgoingMessages<S> {
    pub(super) fn new(checkpoints: Checkpoints, items: S) -> Self {
        Self { items: Box::pin(items), placing: Placing::new(checkpoints), end: None }
    }
}

impl<S> Stream for OutgoingMessages<S>
where
    S: Stream<Item: OutgoingItem>,
{
    type Item = <S::Item as OutgoingItem>::Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.placing.follow();
        loop {
            match &this.end {
                Some(Ok(())) => return Poll::Ready(None),
                Some(Err(status)) => return this.placing.fail(status.clone()),
                None => {}
            }
            match ready!(this.placing.poll(cx)) {
                Ok(()) | Err(Refused::NoStream) => {}
                Err(Refused::Status(status)) => {
                    this.end = Some(Err(status));
                    continue;
                }
            }
            match ready!(this.items.as_mut().poll_next(cx)).map(OutgoingItem::into_result) {
                Some(Ok(item)) => {
                    if let Some(message) = this.placing.message(item) {
                        return Poll::Ready(Some(message));
                    }
                }
                Some(Err(status)) => this.end = Some(Err(status)),
                None => this.end = Some(Ok(())),
            }
        }
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
        this.placing.follow();
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
