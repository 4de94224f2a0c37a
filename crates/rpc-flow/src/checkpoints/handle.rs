//! The handle of one call's checkpoints.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rpc_core::stream::flow::{Progress, Side};
use rpc_core::stream::secured::Resumption;
use tokio::sync::watch;
use tonic::Request;

use super::outgoing::{OutgoingItem, OutgoingMessages, OutgoingResults};
use super::point::Resumed;
use super::rereading::{Reread, RereadResults};
use crate::dialog::Dialog;
use crate::shared::Overlooked;
use crate::status;
use crate::stream::Stream;
use crate::watch::StreamWatch;

/// The checkpoints of one call, at either side. A cheap clone, found in the extensions of a handler's request and of a
/// client's response.
///
/// A client that places points of its own, or goes on with an activity, makes one before the call and sends its
/// [`request`](Self::request). One handle is for one call.
#[derive(Clone)]
pub struct Checkpoints {
    call: Arc<Call>,
    /// Only what travels with the request has it: when the last of these is dropped, no call will begin.
    _outstanding: Option<Arc<Outstanding>>,
}

struct Call {
    side: Side,
    activity: Option<Bytes>,
    resumption: Resumption,
    phase: watch::Sender<Phase>,
}

enum Phase {
    /// The call has not begun.
    Waiting {
        /// The application asked for a sync point all the same.
        missed: bool,
    },
    Begun(Stream),
    /// The request was dropped, and no checkpointed call had begun.
    Gone,
}

struct Outstanding(Arc<Call>);

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.phase.send_if_modified(|phase| {
            let waits = matches!(phase, Phase::Waiting { .. });
            if waits {
                *phase = Phase::Gone;
            }
            waits
        });
    }
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self::new()
    }
}

impl Checkpoints {
    /// Of a call that is to be made, from its beginning.
    pub fn new() -> Self {
        Self::waiting(None, Resumption::default())
    }

    /// Of a call that is to be made for the activity `name`, 1 to 128 bytes, from where `resumption` says.
    pub fn of_activity(name: impl Into<Bytes>, resumption: Option<Resumption>) -> Self {
        Self::waiting(Some(name.into()), resumption.unwrap_or_default())
    }

    /// Of a call that has begun: what a server's layer puts into the request's extensions.
    pub fn of_stream(stream: &Stream) -> Self {
        let shared = &stream.shared;
        let phase = watch::Sender::new(Phase::Begun(stream.clone()));
        let resumption = shared.resumption.clone().unwrap_or_default();
        let call = Call { side: shared.side, activity: None, resumption, phase };
        Self { call: Arc::new(call), _outstanding: None }
    }

    fn waiting(activity: Option<Bytes>, resumption: Resumption) -> Self {
        let phase = watch::Sender::new(Phase::Waiting { missed: false });
        let call = Call { side: Side::Client, activity, resumption, phase };
        Self { call: Arc::new(call), _outstanding: None }
    }

    /// The request of the call, with this handle in its extensions.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let call = Arc::clone(&self.call);
        let outstanding = Some(Arc::new(Outstanding(Arc::clone(&call))));
        request.extensions_mut().insert(Self { call, _outstanding: outstanding });
        request
    }

    /// The messages of the request among `items`, with its sync points placed exactly where they lie between them.
    ///
    /// Give it to the call as it is: messages are counted here, so none may be added, dropped or reordered behind it.
    /// When too many points are unconfirmed (1,024, or 1 MiB of state) it waits, and so does the call. A state of more
    /// than 64 KiB fails the call with INTERNAL.
    ///
    /// Over a channel without sessions, which knows no checkpoints, the messages pass and the points go nowhere; nothing
    /// is ever said to be secured then, and [`started`](Self::started) says why. If points were asked for before a
    /// checkpointed call began, that call fails: they cannot be placed any more.
    ///
    /// Of a source that may fail, items are results: see [`OutgoingItem`].
    pub fn outgoing<S>(&self, items: S) -> OutgoingMessages<S>
    where
        S: tokio_stream::Stream<Item: OutgoingItem>,
    {
        OutgoingMessages::new(self.handle(), items)
    }

    /// The same for a handler's response: errors pass, and instead of failing the call by itself it yields an error for a
    /// state that is too long, and FAILED_PRECONDITION with the reason CHECKPOINTS_REQUIRED for a sync point in a call
    /// that has no checkpoints.
    pub fn outgoing_results<S, T>(&self, items: S) -> OutgoingResults<S>
    where
        S: tokio_stream::Stream<Item = Result<super::Outgoing<T>, tonic::Status>>,
    {
        OutgoingResults::new(self.handle(), items)
    }

    /// The messages of the request, from a source that can be read again: a file, a database, a log. Nothing is kept of what
    /// was sent but where its sync points lie, so that what is on its way costs no memory.
    ///
    /// `open` is called with a number of messages, and gives what follows them: 0 at the beginning, or as many as
    /// [`resumed`](Self::resumed) says. When the other side lacks something after a loss of the connection, what was opened
    /// is dropped and `open` is called again, with the place of the last sync point that the other side has. It must give
    /// the same messages, to the byte, in the same order and with the same sync points between them. They are compared with
    /// the CRC of what was sent, up to each of its sync points; where they are not the same the call fails with DATA_LOSS
    /// and the reason STREAM_DIVERGED. A source may have more than before at its end, as long as its end was not sent.
    ///
    /// Give it to the call as it is: not through a channel or another buffer, which would hold messages that are to be
    /// forgotten. When the source has ended, the request has; its messages end when nothing of them can be asked for again.
    ///
    /// Nothing is read again before the other side has said what it has. Of what was read and not sent, up to a window is
    /// kept; what was sent and is not secured is never more than a window either.
    ///
    /// What holds for [`outgoing`](Self::outgoing) holds here, too. In a call with a dialog it cannot be used: that fails
    /// with FAILED_PRECONDITION when it is first polled. Methods that stream both ways have one unless they say `dialog: false`.
    ///
    /// Sync points right after the message at which the source begins may be given or not: those that were placed are not
    /// placed again. Points that lie elsewhere than before, among what was sent, are passed over.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use rpc_flow::{Checkpoints, Outgoing};
    /// # fn lines_after(number: u64) -> std::vec::IntoIter<String> { unimplemented!() }
    /// let checkpoints = Checkpoints::new();
    /// let request = checkpoints.request(checkpoints.reread(|after| {
    ///     tokio_stream::iter(lines_after(after).map(Outgoing::Message))
    /// }));
    /// ```
    pub fn reread<F, S>(&self, open: F) -> Reread<F, S>
    where
        F: FnMut(u64) -> S,
        S: tokio_stream::Stream<Item: OutgoingItem>,
    {
        Reread::new(self.handle(), open)
    }

    /// The same for a handler's response. An error of the source ends the response with it, where a
    /// [point](super::Outgoing::SyncPoint) is refused as with [`outgoing_results`](Self::outgoing_results).
    ///
    /// The status that ends the response is sent when the other side has all messages, a round trip after the last one: until
    /// then they may be asked for again.
    pub fn reread_results<F, S, T>(&self, open: F) -> RereadResults<F, S>
    where
        F: FnMut(u64) -> S,
        S: tokio_stream::Stream<Item = Result<super::Outgoing<T>, tonic::Status>>,
    {
        RereadResults::new(self.handle(), open)
    }

    /// The call begins as this stream; false if it was begun before, as another. Before the request's body is polled.
    ///
    /// For the layer that makes the call.
    pub fn bind(&self, stream: &Stream) -> bool {
        let mut late = false;
        let first = self.call.phase.send_if_modified(|phase| {
            late = matches!(phase, Phase::Waiting { missed: true });
            let first = !matches!(phase, Phase::Begun(_));
            if first {
                *phase = Phase::Begun(stream.clone());
            }
            first
        });
        if late {
            stream.abandon(status::point_before_call());
        }
        first
    }

    /// The dialog of the call: who speaks, what passes by the messages, going back. Whether it has one is found out when it
    /// has begun.
    pub fn dialog(&self) -> Dialog {
        Dialog::new(self.handle())
    }

    /// The activity that the call works on.
    pub fn activity(&self) -> Option<&Bytes> {
        self.call.activity.as_ref()
    }

    /// From where the call goes on in both directions, with the states of both applications.
    pub fn resumption(&self) -> &Resumption {
        self.asked(|overlooked| *overlooked = Overlooked::default());
        &self.call.resumption
    }

    /// From where the direction goes on that this side sends. A handler has to ask: one that is called again and gives a
    /// response without having asked fails with the reason CHECKPOINTS_IGNORED. The first message to be given is the
    /// one after it. `None`: from the beginning.
    //= S-10
    pub fn resumed(&self) -> Option<Resumed> {
        self.asked(|overlooked| overlooked.responses = false);
        let Resumption { requests, responses } = &self.call.resumption;
        match self.call.side {
            Side::Client => requests.as_ref(),
            Side::Server => responses.as_ref(),
        }
        .map(Resumed::sent)
    }

    /// From where the direction goes on that this side receives; `None`: from the beginning. A handler has to ask, here or
    /// with [`Checkpointed`](super::Checkpointed): one that is called again and reads without having asked gets an error
    /// with the reason CHECKPOINTS_IGNORED.
    //= S-10
    pub fn resumed_incoming(&self) -> Option<Resumed> {
        self.asked(|overlooked| overlooked.requests = false);
        let Resumption { requests, responses } = &self.call.resumption;
        match self.call.side {
            Side::Client => responses.as_ref(),
            Side::Server => requests.as_ref(),
        }
        .map(Resumed::received)
    }

    /// The application knows from where it goes on.
    fn asked(&self, note: impl FnOnce(&mut Overlooked)) {
        if let Some(stream) = self.stream() {
            stream.shared.with(|state| note(&mut state.overlooked));
        }
    }

    /// Waits until the call has begun. `None` if none will: the request was dropped before, refused, or made over a
    /// channel that knows no checkpoints.
    ///
    /// Waits for ever while no [`request`](Self::request) was made.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn started(&self) -> Option<StreamWatch> {
        let mut phases = self.call.phase.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = phases.wait_for(|phase| !matches!(phase, Phase::Waiting { .. })).await;
        self.watch()
    }

    /// What is to be seen of the call while it goes on; `None` if it has not begun.
    pub fn watch(&self) -> Option<StreamWatch> {
        self.stream().map(|stream| StreamWatch::new(&stream))
    }

    /// How far the call has come; nothing where it has not begun.
    pub fn progress(&self) -> Progress {
        self.stream().map(|stream| stream.progress()).unwrap_or_default()
    }

    pub(super) fn is_client(&self) -> bool {
        self.call.side == Side::Client
    }

    pub(crate) fn stream(&self) -> Option<Stream> {
        match &*self.call.phase.borrow() {
            Phase::Begun(stream) => Some(stream.clone()),
            Phase::Waiting { .. } | Phase::Gone => None,
        }
    }

    /// The stream, for a sync point that is to be placed. Without one, the call that begins later will know of it.
    pub(super) fn stream_for_point(&self) -> Option<Stream> {
        let mut begun = None;
        self.call.phase.send_if_modified(|phase| {
            match phase {
                Phase::Waiting { missed } => *missed = true,
                Phase::Begun(stream) => begun = Some(stream.clone()),
                Phase::Gone => {}
            }
            false
        });
        begun
    }

    /// Without what says that a request is under way.
    fn handle(&self) -> Self {
        Self { call: Arc::clone(&self.call), _outstanding: None }
    }
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints")
            .field("side", &self.call.side)
            .field("resumption", &self.call.resumption)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}
