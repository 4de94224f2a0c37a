//! One session behind its lock, and the drain that follows every command.

mod awaited;
mod flows;
mod waiting;
mod waits;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rpc_core::error::Reason;
use rpc_core::id::{CallId, SessionId};
use rpc_core::negotiate::Agreement;
use rpc_core::principal::Principal;
use rpc_core::record::{Reply, Write};
use rpc_core::session::{Admission, Answer, Effect, Event, RecordId, RequestId, Session, Step};
use rpc_core::store::WriteError;
use rpc_core::time::Timestamp;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Sessions;
use super::committer::{HomeOf, Submitted};
use super::ends::{EndedSession, SessionEnd};
use super::streams::{FlowOver, Streams};
pub(crate) use flows::AdmittedStream;
pub(crate) use waiting::{Recorded, Recording};
use waits::Waits;

/// A session of this server.
pub(crate) struct Live {
    id: SessionId,
    principal: Principal,
    agreement: Arc<Agreement>,
    sessions: Weak<Sessions>,
    core: Mutex<Core>,
    /// Told whenever a call has come to its end or has a newer attempt.
    moved: Notify,
    /// Made when somebody first waits for what they tell: most sessions end alone.
    news: OnceLock<Box<News>>,
    /// Cancelled when the session has ended. Made when the first handler asks for it.
    lapse: OnceLock<CancellationToken>,
}

/// What is told beyond calls.
struct News {
    /// How the session ended.
    ended: watch::Sender<Option<SessionEnd>>,
    /// What the initiator is to be told on each connection may have changed.
    said: Notify,
}

struct Core {
    session: Session,
    /// Where the store's answers are told.
    home: HomeOf,
    requests: u64,
    waits: Waits,
    stoppable: Vec<(CallId, CancellationToken)>,
    streams: Streams,
    /// When the registry will look at this session.
    scheduled: Timestamp,
    /// How the session ended, once it has.
    end: Option<SessionEnd>,
}

impl Core {
    /// Nobody stops the handler of `call` any more, and whoever waits for its reply has it.
    fn finished(&mut self, call: CallId, reply: Option<&Reply>) {
        self.stoppable.retain(|(running, _)| *running != call);
        self.waits.finished(call, reply);
    }

    fn flow_over(&mut self, over: Option<FlowOver>) {
        if let Some(FlowOver { call, requests, responses }) = over {
            self.session.flow_over(call, requests, responses);
        }
    }

    /// What stops the handler of `call`. It is there until the call has finished.
    fn stop_of(&mut self, call: CallId) -> CancellationToken {
        if let Some((_, token)) = self.stoppable.iter().find(|(running, _)| *running == call) {
            return token.clone();
        }
        let token = CancellationToken::new();
        self.stoppable.push((call, token.clone()));
        token
    }
}

impl Live {
    /// Takes a session into its place. The session has not been drained yet.
    pub(super) fn new(sessions: &Arc<Sessions>, session: Session, opening: Opened) -> Arc<Self> {
        let mut waits = Waits::default();
        waits.answer(opening.request, opening.answer);
        Self::with_waits(Arc::downgrade(sessions), session, opening.request, waits)
    }

    /// A session that the store has from an earlier server.
    pub(super) fn restored(sessions: &Weak<Sessions>, session: Session) -> Arc<Self> {
        Self::with_waits(Weak::clone(sessions), session, RequestId(0), Waits::default())
    }

    fn with_waits(sessions: Weak<Sessions>, session: Session, last: RequestId, waits: Waits) -> Arc<Self> {
        Arc::new(Self {
            id: session.id(),
            principal: session.principal().clone(),
            agreement: Arc::clone(session.agreement()),
            sessions,
            core: Mutex::new(Core {
                session,
                home: HomeOf::default(),
                requests: last.0,
                waits,
                stoppable: Vec::new(),
                streams: Streams::default(),
                scheduled: Timestamp::NEVER,
                end: None,
            }),
            moved: Notify::new(),
            news: OnceLock::new(),
            lapse: OnceLock::new(),
        })
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(crate) fn agreement(&self) -> &Arc<Agreement> {
        &self.agreement
    }

    /// Where the store's answers are told, once something was written.
    #[cfg(test)]
    pub(super) fn home(&self) -> Option<Arc<super::committer::Home>> {
        self.lock().home.get()
    }

    /// Told whenever a call has come to its end or has a newer attempt.
    pub(crate) fn moved(&self) -> &Notify {
        &self.moved
    }

    /// How the session ended, once it has.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<SessionEnd>> {
        let ended = &self.news().ended;
        // The end may have come before there was anybody to tell.
        let core = self.lock();
        if let Some(end) = core.end {
            ended.send_replace(Some(end));
        }
        drop(core);
        ended.subscribe()
    }

    /// Told when [`Session::said`] may have changed.
    pub(crate) fn said(&self) -> &Notify {
        &self.news().said
    }

    fn news(&self) -> &News {
        self.news.get_or_init(|| Box::new(News { ended: watch::Sender::new(None), said: Notify::new() }))
    }

    /// A token of the caller's own that is cancelled when the session has ended.
    //= L-36
    pub(crate) fn lapse(&self) -> CancellationToken {
        let lapse = self.lapse.get_or_init(CancellationToken::new);
        // The end may have come before there was a token to cancel.
        if self.end_reason().is_some() {
            lapse.cancel();
        }
        lapse.child_token()
    }

    /// Why the session has ended. Waits for a change under way to be whole, so that whoever saw its first effect learns
    /// of the end, too.
    pub(crate) fn end_reason(&self) -> Option<Reason> {
        self.lock().end.map(SessionEnd::reason)
    }

    /// Runs one command or question, then does everything that the session wants done.
    pub(crate) fn with<T>(self: &Arc<Self>, command: impl FnOnce(&mut Session, Timestamp) -> T) -> T {
        self.with_core(|core, now| command(&mut core.session, now))
    }

    fn with_core<T>(self: &Arc<Self>, command: impl FnOnce(&mut Core, Timestamp) -> T) -> T {
        let sessions = self.sessions.upgrade();
        let mut core = self.lock();
        let Some(sessions) = sessions else {
            // The server is gone and only a stray task asks: nobody is there to do what the session wants done.
            return command(&mut core, Timestamp::NEVER);
        };
        let answer = command(&mut core, sessions.clock().now());
        self.drain(&mut core, &sessions);
        answer
    }

    /// Like [`with`](Self::with), for a command whose answer comes later.
    ///
    /// The command has been given when the future is first polled; dropping it gives up the answer only.
    pub(crate) async fn request<E>(
        self: &Arc<Self>,
        command: impl FnOnce(&mut Session, Timestamp, RequestId) -> Result<(), E>,
    ) -> Result<Answer, E> {
        let (answer, answered) = oneshot::channel();
        self.with_core(|core, now| {
            core.requests += 1;
            let request = RequestId(core.requests);
            command(&mut core.session, now, request)?;
            core.waits.answer(request, answer);
            Ok(())
        })?;
        Ok(answered.await.unwrap_or(Answer::Failed(Reason::SessionEnded)))
    }

    /// Judges a protected call, like [`Session::admit`]. If it is to run, the slot's last stream is forgotten; if that
    /// waits for a record, so does the caller.
    pub(crate) fn admit<E>(
        self: &Arc<Self>,
        call: CallId,
        judge: impl FnOnce(&mut Session) -> Result<Admission, E>,
    ) -> Result<(Admission, Option<Recording>), E> {
        self.with_core(|core, _| {
            let admission = judge(&mut core.session)?;
            if matches!(admission, Admission::Run | Admission::RunWhenRecorded) {
                let over = core.streams.forget(call.slot);
                core.flow_over(over);
            }
            let recording = (admission == Admission::RunWhenRecorded).then(|| core.waits.recording(call));
            Ok((admission, recording))
        })
    }

    /// Remembers how to stop the handler of a call whose policy lets cancellation stop it.
    pub(crate) fn stoppable(&self, call: CallId) -> CancellationToken {
        self.lock().stop_of(call)
    }

    /// What those who wait for `call` will be told, whole, whatever its slot keeps of it; `None` if it no longer runs.
    pub(crate) fn reply_of(&self, call: CallId) -> Option<watch::Receiver<Option<Reply>>> {
        let mut core = self.lock();
        core.session.is_running(call).then(|| core.waits.reply_of(call))
    }

    /// The handler of `call` came to a reply, which `complete` records. Returns when it may be answered.
    ///
    /// # Cancel safety
    ///
    /// The reply is on its way when this is first polled.
    pub(crate) async fn replied(
        self: &Arc<Self>,
        call: CallId,
        reply: &Reply,
        complete: impl FnOnce(&mut Session) -> bool,
    ) -> Recorded {
        let recording = self.with_core(|core, _| {
            if complete(&mut core.session) {
                core.finished(call, Some(reply));
                return None;
            }
            Some(core.waits.recording(call))
        });
        let Some(recording) = recording else {
            self.moved.notify_waiters();
            return Recorded::Yes;
        };
        let recorded = recording.wait().await;
        if recorded != Recorded::Again {
            let reply = Some(reply).filter(|_| recorded == Recorded::Yes);
            self.finished(call, reply, |_| {});
        }
        recorded
    }

    /// The handler of `call` has ended, in whatever way; with a reply, if it came to one.
    pub(crate) fn finished(
        self: &Arc<Self>,
        call: CallId,
        reply: Option<&Reply>,
        record: impl FnOnce(&mut Session),
    ) {
        self.with_core(|core, _| {
            core.finished(call, reply);
            record(&mut core.session);
        });
        self.moved.notify_waiters();
    }

    /// The store answered for records, which come in their order.
    pub(super) fn stored(self: &Arc<Self>, answers: &[(RecordId, Result<(), WriteError>)]) {
        let sessions = self.sessions.upgrade();
        self.with_core(|core, _| {
            for (record, answer) in answers {
                tell(&mut core.session, *record, answer);
                // What follows from one comes before the next, as everywhere.
                if let Some(sessions) = &sessions {
                    self.drain(core, sessions);
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // The core does not panic half-way through a change on purpose; if it has a bug, the session is not worse off
        // than a crash would leave it, and the other sessions go on.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(self: &Arc<Self>, core: &mut Core, sessions: &Arc<Sessions>) {
        loop {
            match core.session.poll() {
                Step::Do(effect) => self.perform(core, sessions, effect),
                Step::Idle { wake } => {
                    // A deadline that moved away is found when the registry looks; one that came nearer is told.
                    if wake < core.scheduled {
                        core.scheduled = wake;
                        sessions.schedule(self.id, wake);
                    }
                    return;
                }
            }
        }
    }

    fn perform(self: &Arc<Self>, core: &mut Core, sessions: &Arc<Sessions>, effect: Effect) {
        match effect {
            Effect::Persist { record, epoch, change } => {
                let write = Write { session: self.id, epoch, change };
                if let Submitted::Done(answer) =
                    sessions.committer().submit(self, &mut core.home, record, write)
                {
                    tell(&mut core.session, record, &answer);
                }
            }
            Effect::Answer { request, answer } => core.waits.tell_answer(request, answer),
            Effect::Dispatch(call) | Effect::Recorded(call) => core.waits.tell_recording(call, Recorded::Yes),
            Effect::RunAgain(call) => core.waits.tell_recording(call, Recorded::Again),
            Effect::NotRecorded(call, reason) => core.waits.tell_recording(call, Recorded::No(reason)),
            Effect::StreamRecorded(call) => core.waits.tell_securing(call, Recorded::Yes),
            Effect::StreamNotRecorded(call, reason) => core.waits.tell_securing(call, Recorded::No(reason)),
            Effect::Stop(call) => {
                // It may come before the handler has asked for its token, and is kept for it then.
                core.stop_of(call).cancel();
            }
            Effect::Event(event) => {
                self.report(event);
                match event {
                    Event::Ended(end) => self.end(core, sessions, end.into()),
                    Event::EndRecorded(end) => sessions.end_recorded(EndedSession {
                        number: self.id,
                        principal: self.principal.clone(),
                        end: end.into(),
                        told_before: false,
                    }),
                    Event::Fenced => self.end(core, sessions, SessionEnd::Moved),
                    Event::ReleaseMoved => {
                        // Who begins to wait after this asks how it is first.
                        if let Some(news) = self.news.get() {
                            news.said.notify_waiters();
                        }
                    }
                    Event::NeverOpened => sessions.never_opened(&core.session),
                    Event::Opened
                    | Event::Attached(_)
                    | Event::Detached(_)
                    | Event::Lingering
                    | Event::Returned
                    | Event::AuthorityRenewed
                    | Event::TicketRotated => {}
                }
            }
        }
    }

    fn end(&self, core: &mut Core, sessions: &Sessions, end: SessionEnd) {
        sessions.ended(&core.session);
        core.end = Some(end);
        if let Some(news) = self.news.get() {
            news.ended.send_replace(Some(end));
        }
        if let Some(lapse) = self.lapse.get() {
            lapse.cancel();
        }
    }

    fn report(&self, event: Event) {
        let (session, principal) = (self.id, &self.principal);
        match event {
            Event::Opened | Event::NeverOpened | Event::Ended(_) | Event::Fenced => {
                tracing::info!(%session, %principal, "session {event}");
            }
            Event::Attached(_)
            | Event::Detached(_)
            | Event::Lingering
            | Event::Returned
            | Event::AuthorityRenewed
            | Event::TicketRotated
            | Event::ReleaseMoved
            | Event::EndRecorded(_) => tracing::debug!(%session, "session {event}"),
        }
    }

    /// The registry has looked: it will not again before it is asked to.
    pub(super) fn wake(self: &Arc<Self>) {
        self.lock().scheduled = Timestamp::NEVER;
        self.with(Session::wake);
    }
}

/// Who waits for the answer to an opening.
pub(super) struct Opened {
    pub(super) request: RequestId,
    pub(super) answer: oneshot::Sender<Answer>,
}

fn tell(session: &mut Session, record: RecordId, answer: &Result<(), WriteError>) {
    match answer {
        Ok(()) => session.durable(record),
        Err(error) => session.store_failed(record, error),
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("id", &self.id)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
