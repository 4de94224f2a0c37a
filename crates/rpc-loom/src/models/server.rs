//! A session of a server behind its lock, with no more around it than the models need: the core's own session, those who
//! wait for it, and a queue to the store.
//!
//! [`Server::with`] does what `Live::with` does, in the same order; the shipped one cannot be had without a server.

use std::sync::{Arc, OnceLock, PoisonError};

use loom::sync::mpsc::{Receiver, Sender, channel};
use loom::sync::{Mutex, MutexGuard};
use rpc_core::id::{CallAttempt, CallId, Fingerprint, Nonce, SessionId, TicketHash};
use rpc_core::negotiate::{self, Offer};
use rpc_core::policy::Cancellation;
use rpc_core::principal::Principal;
use rpc_core::record::{Change, Reply};
use rpc_core::session::{
    Admission, Admit, Authority, Effect, Keeping, Opening, RecordId, RequestId, Session, Step,
};
use rpc_core::store::WriteError;
use rpc_core::time::Timestamp;

use crate::awaited::Awaited;
use crate::sync::{Notify, watch};
use crate::waiting::{self, Recorded, Recording, Waiting};

/// A session of which all is durable so far.
fn session() -> Session {
    static OPEN: OnceLock<Session> = OnceLock::new();
    OPEN.get_or_init(|| {
        let agreement =
            negotiate::answer(&Offer { slots: Some(2), ..Offer::default() }, &Default::default(), &[]);
        let opening = Opening {
            principal: Principal::new("issuer", "alice"),
            nonce: Nonce([3; 16]),
            agreement: agreement.unwrap_or_else(|refusal| unreachable!("{refusal}")).into(),
            ticket: TicketHash([7; 32]),
            authority: Authority { until: Timestamp::NEVER, unix_s: None, scopes: [].into() },
        };
        let number = SessionId::new(1).unwrap_or_else(|| unreachable!("1 is a number"));
        let mut session = Session::open(Timestamp::ORIGIN, number, opening, RequestId(0));
        while let Step::Do(effect) = session.poll() {
            if let Effect::Persist { record, .. } = effect {
                session.durable(record);
            }
        }
        session
    })
    .clone()
}

pub(super) fn reply(text: &'static [u8]) -> Reply {
    Reply { code: 0, head: Default::default(), message: text.into(), trailer: Default::default() }
}

/// The first attempt of the only call in `slot`, or a later one.
pub(super) fn attempt(slot: u32, attempt: u32) -> CallAttempt {
    let text = format!("{slot}.1.{attempt}");
    text.parse().unwrap_or_else(|_| unreachable!("{text} is an attempt"))
}

/// A write on its way to the store.
pub(super) type Job = (RecordId, Change);

pub(super) struct Server {
    core: Mutex<Core>,
    moved: Notify,
    keeping: Keeping,
}

pub(super) struct Core {
    session: Session,
    recording: Vec<Waiting>,
    awaited: Awaited,
    jobs: Sender<Job>,
    /// The queue takes only what must be written.
    pub(super) is_full: bool,
}

impl Server {
    pub(super) fn new(keeping: Keeping) -> (Arc<Self>, Receiver<Job>) {
        let (jobs, queue) = channel();
        let (recording, awaited) = Default::default();
        let core = Core { session: session(), recording, awaited, jobs, is_full: false };
        (Arc::new(Self { core: Mutex::new(core), moved: Notify::new(), keeping }), queue)
    }

    pub(super) fn with<R>(&self, command: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        let answer = command(&mut core);
        while let Step::Do(effect) = core.session.poll() {
            core.perform(effect);
        }
        answer
    }

    /// As `Live::with` must not be: what is to be done is collected under the lock, and done without it.
    pub(super) fn with_drain_outside<R>(&self, command: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        let answer = command(&mut core);
        let mut effects = Vec::new();
        while let Step::Do(effect) = core.session.poll() {
            effects.push(effect);
        }
        drop(core);
        for effect in effects {
            self.lock().perform(effect);
        }
        answer
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told when a call has ended, or has a newer attempt.
    pub(super) fn moved(&self) -> &Notify {
        &self.moved
    }

    pub(super) fn admit(&self, attempt: CallAttempt) -> Admitted {
        self.with(|core| core.admit(attempt, self.keeping))
    }

    /// As `Live::reply_of`.
    pub(super) fn reply_of(&self, call: CallId) -> Option<watch::Receiver<Option<Reply>>> {
        let mut core = self.lock();
        core.session.is_running(call).then(|| core.awaited.reply_of(call))
    }

    /// As `Live::replied`.
    pub(super) async fn replied(&self, call: CallId, reply: &Reply) -> Recorded {
        let recording = self.with(|core| core.complete(call, reply));
        let recorded = match recording {
            None => Recorded::Yes,
            Some(recording) => {
                let recorded = recording.wait().await;
                let reply = Some(reply).filter(|_| recorded == Recorded::Yes);
                self.with(|core| core.awaited.finished(call, reply));
                recorded
            }
        };
        self.moved.notify_waiters();
        recorded
    }

    /// The handler of `call` ended without a reply.
    pub(super) fn abandoned(&self, call: CallId) {
        self.with(|core| {
            core.awaited.finished(call, None);
            core.session.abandon(call);
        });
        self.moved.notify_waiters();
    }

    /// The store has a record.
    pub(super) fn stored(&self, record: RecordId) {
        self.with(|core| core.session.durable(record));
    }
}

/// What was said of an attempt, and what it waits for.
pub(super) type Admitted = (Admission, Option<Recording>);

impl Core {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn admit(&mut self, attempt: CallAttempt, keeping: Keeping) -> Admitted {
        let (fingerprint, cancellation) = (Fingerprint(1), Cancellation::Finish);
        let admit = Admit { attempt, fingerprint, streams: false, cancellation, keeping };
        let admission = self.session.admit(admit).unwrap_or_else(|error| panic!("{error:?}"));
        let waits = admission == Admission::RunWhenRecorded;
        let recording = waits.then(|| self.recording_of(attempt.call));
        (admission, recording)
    }

    /// The recording, if the reply may not be answered at once.
    pub(super) fn complete(&mut self, call: CallId, reply: &Reply) -> Option<Recording> {
        if self.session.complete(call, reply.clone(), None) {
            self.awaited.finished(call, Some(reply));
            return None;
        }
        Some(self.recording_of(call))
    }

    fn recording_of(&mut self, call: CallId) -> Recording {
        let (told, recording) = waiting::pair();
        self.recording.push((call, told));
        recording
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { record, change, .. } => {
                if self.is_full && !change.has_happened() {
                    return self.session.store_failed(record, &WriteError::Overloaded);
                }
                assert!(self.jobs.send((record, change)).is_ok(), "the store is there");
            }
            Effect::Dispatch(call) | Effect::Recorded(call) => self.tell(call, Recorded::Yes),
            Effect::RunAgain(call) => self.tell(call, Recorded::Again),
            Effect::NotRecorded(call, reason) => self.tell(call, Recorded::No(reason)),
            Effect::Answer { .. }
            | Effect::StreamRecorded(_)
            | Effect::StreamNotRecorded(..)
            | Effect::Stop(_)
            | Effect::Event(_) => {}
        }
    }

    fn tell(&mut self, call: CallId, recorded: Recorded) {
        assert_eq!(self.recording.iter().filter(|(of, _)| *of == call).count(), 1, "one waits for {call}");
        waiting::tell(&mut self.recording, call, recorded);
    }
}
