//! The streams of one session, behind its lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::activity::{Key, Worker};
use rpc_core::id::CallId;
use rpc_core::record::ActivityRecord;
use rpc_core::session::{Admission, Answer, Session, SessionUnknown, State};
use rpc_core::stream::position::Position;
use rpc_core::stream::secured::Resumption;
use rpc_flow::Stream;
use tonic::Status;

use super::super::streams::{Found, NewStream};
use super::{Live, Recorded, Recording};

/// What an attempt of a call that streams gets.
pub(crate) struct AdmittedStream {
    pub(crate) admission: Admission,
    pub(crate) found: Option<Found>,
    /// The handler waits for this record.
    pub(crate) recording: Option<Recording>,
}

impl Live {
    /// Judges an attempt of a call that streams, and finds its stream: the new one that `judge` gives with an admission
    /// that runs it, the one that there is otherwise, whether its handler runs or has ended. `judge` is told what was
    /// found. Whoever runs a handler that is to wait for a record gets that, too.
    pub(crate) fn admit_stream<E>(
        self: &Arc<Self>,
        call: CallId,
        judge: impl FnOnce(&mut Session, Option<&Found>) -> Result<(Admission, Option<NewStream>), E>,
    ) -> Result<AdmittedStream, E> {
        self.with_core(|core, _| {
            let found = core.streams.find(call);
            let (admission, new) = judge(&mut core.session, found.as_ref())?;
            let recording = (admission == Admission::RunWhenRecorded).then(|| core.waits.recording(call));
            let Some(new) = new else { return Ok(AdmittedStream { admission, found, recording }) };
            let over = core.streams.begin(call, new);
            core.flow_over(over);
            core.session.flow_begun(call);
            Ok(AdmittedStream { admission, found: core.streams.find(call), recording })
        })
    }

    /// Tells from where the stream of a call can go on that runs, or was begun by a server that is gone, and remembers what
    /// was told.
    pub(crate) fn tell_stream(self: &Arc<Self>, call: CallId) -> Option<Resumption> {
        let mut core = self.lock();
        if core.session.is_running(call) {
            return core.streams.tell(call);
        }
        let resumption = match core.session.activity(call) {
            Some(name) => {
                let key = Key { principal: self.principal.clone(), name: name.clone() };
                let worker = Worker { session: self.id, call };
                self.sessions.upgrade()?.activities().left_by(&key, worker)?
            }
            None => core.session.resumption(call).cloned()?,
        };
        core.streams.told(call, &resumption);
        Some(resumption)
    }

    /// From where each stream could go on that is kept, whether its handler runs or has ended.
    pub(crate) fn stream_places(&self) -> BTreeMap<CallId, Resumption> {
        self.lock().streams.places()
    }

    /// Records up to where the stream of a running call is secured, in the record of its activity if it works on one. Returns when the store has it, or will not have it.
    ///
    /// # Cancel safety
    ///
    /// The record is on its way when this is first polled.
    //= S-28
    pub(crate) async fn stream_secured(
        self: &Arc<Self>,
        call: CallId,
        at: Resumption,
        activity: Option<Box<ActivityRecord>>,
    ) -> Recorded {
        let recording = self.with_core(|core, _| {
            let recording = core.waits.securing(call);
            core.session.stream_secured(call, at, activity);
            recording
        });
        recording.wait().await
    }

    /// Where a caller of the stream goes on that reads no control frames and does not say where.
    pub(crate) fn told(&self, call: CallId) -> Position {
        match self.lock().streams.find(call) {
            Some(Found::Stream(_, told) | Found::Told(told)) => told,
            Some(Found::GivenUp(_)) | None => Position::ORIGIN,
        }
    }

    /// The handler of a stream was dropped before its end. What is kept of the stream is what its caller is told.
    pub(crate) fn stream_given_up(self: &Arc<Self>, call: CallId, why: &Status) {
        self.with_core(|core, _| {
            let over = core.streams.give_up(call, why);
            core.flow_over(over);
        });
    }

    /// Forgets the stream of a call if its handler has ended and the stream itself, asked then, says that nobody needs it.
    pub(crate) fn forget_stream(self: &Arc<Self>, call: CallId, needless: impl FnOnce(&Stream) -> bool) {
        self.with_core(|core, _| {
            if !core.session.is_running(call) {
                let is_releasing = core.session.state() == State::Releasing;
                let over = core
                    .streams
                    .forget_if(call, |stream| needless(stream) || is_releasing && is_left(stream));
                core.flow_over(over);
            }
        });
    }

    /// Asks for the release, and waits for its answer. Streams are over that nobody will come back for: their handlers have
    /// ended, their connections are lost, perhaps between the trailers and the end of the request, and who releases the
    /// session has all that it wants of them.
    //= D-22
    pub(crate) async fn release(self: &Arc<Self>, wait: Duration) -> Result<Answer, SessionUnknown> {
        // The release first: one that is refused changes nothing.
        let answer = self.request(|session, now, request| session.release(now + wait, request));
        tokio::join!(biased; answer, async { self.forget_left_streams() }).0
    }

    fn forget_left_streams(self: &Arc<Self>) {
        self.with_core(|core, _| {
            if core.session.state() != State::Releasing {
                return;
            }
            for call in core.streams.calls() {
                if !core.session.is_running(call) {
                    let over = core.streams.forget_if(call, is_left);
                    core.flow_over(over);
                }
            }
        });
    }
}

/// Whether the handler of a stream has ended, and no connection carries it.
fn is_left(stream: &Stream) -> bool {
    let view = stream.watch();
    let view = view.borrow();
    view.is_concluded && view.attempt.is_none()
}
