//! A server: the core's session, and a shell around it as small as can be.

use std::collections::VecDeque;

use rpc_core::id::{CallId, ConnectionId, Epoch, Nonce, SessionId, TicketHash};
use rpc_core::negotiate::{self, Offer};
use rpc_core::policy::Cancellation;
use rpc_core::principal::Principal;
use rpc_core::record::{CallRecord, Reply, Write};
use rpc_core::session::{
    Admission, Admit, Answer, Authority, Effect, Keeping, Opening, RecordId, RequestId, Session, Step,
};
use rpc_core::store::WriteError;
use rpc_core::time::Timestamp;
use rpc_core::transaction::Version;

use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::message::{Message, Question, Request, Said};
use crate::scenario::{Fault, Scenario};

const TICKET: TicketHash = TicketHash([7; 32]);
const CONNECTION: ConnectionId = ConnectionId(1);

/// A handler at work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handler {
    /// Under which id.
    pub id: CallId,
    /// Which planned call.
    pub call: usize,
    /// It is to stop.
    pub stopping: bool,
    /// What a transaction has read.
    read: Option<(Version, u8)>,
}

/// One server process.
#[derive(Debug, Clone, Hash)]
pub struct Server {
    session: Session,
    /// On their way to the store.
    pub(crate) writes: VecDeque<(RecordId, Write)>,
    /// On their way back.
    pub(crate) answers: VecDeque<(RecordId, Option<WriteError>)>,
    handlers: Vec<Handler>,
    /// Which planned call was admitted last in each slot.
    admitted: Vec<(CallId, usize)>,
    /// Attempts that wait for a run.
    waiting: Vec<Request>,
    questions: Vec<(RequestId, Question)>,
}

/// What a server has around it for one step.
pub(crate) struct Around<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) disk: &'a Disk,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) sent: &'a mut Vec<Message>,
}

/// The session that all of this is about.
pub(crate) fn number() -> SessionId {
    SessionId::new(1).unwrap_or_else(|| unreachable!("1 is a number"))
}

impl Server {
    /// The server that opens the session.
    pub(crate) fn first(around: &mut Around<'_>) -> Self {
        let offer = Offer { slots: Some(around.scenario.slots), ..Offer::default() };
        let agreement = negotiate::answer(&offer, &Default::default(), &[]);
        let opening = Opening {
            principal: Principal::new("issuer", "alice"),
            nonce: Nonce([3; 16]),
            agreement: agreement.unwrap_or_else(|refusal| unreachable!("{refusal}")).into(),
            ticket: TICKET,
            authority: Authority { until: Timestamp::NEVER, unix_s: None, scopes: [].into() },
        };
        let session = Session::open(Timestamp::ORIGIN, number(), opening, RequestId(0));
        let mut server = Self::around(session);
        server.drain(around);
        while !server.writes.is_empty() || !server.answers.is_empty() {
            server.commit(around);
            server.acknowledge(around);
        }
        server
    }

    /// A server that finds the session in the store, if it lives.
    pub(crate) fn starting(scenario: &Scenario, disk: &Disk) -> Option<Self> {
        let mut restored = disk.load(number())?;
        if scenario.is(Fault::IntentsForgotten) {
            restored.slots.retain(|slot| !matches!(slot.call, CallRecord::Begun(_)));
        }
        let forgetful = scenario.is_forgetful() && !scenario.is(Fault::MemoryNotDoubted);
        Some(Self::around(Session::restore(Timestamp::ORIGIN, restored, forgetful)))
    }

    fn around(session: Session) -> Self {
        let (writes, answers) = Default::default();
        let (handlers, admitted, waiting, questions) = Default::default();
        Self { session, writes, answers, handlers, admitted, waiting, questions }
    }

    /// An attempt arrives.
    pub(crate) fn request(&mut self, around: &mut Around<'_>, request: Request) {
        if self.session.present(Timestamp::ORIGIN, &TICKET, Some(CONNECTION)).is_err() {
            around.sent.push(Message::Answer(request, Said::Elsewhere));
        } else {
            self.judge(around, request);
        }
        self.settle(around);
    }

    fn judge(&mut self, around: &mut Around<'_>, request: Request) {
        let Request { call, attempt } = request;
        let keeping = around.scenario.keeping(call);
        let fingerprint = around.scenario.fingerprint(call);
        let ended = self.session.state().end().is_some();
        let before = self.session.last_sequence(attempt.call.slot);
        let admit = Admit { attempt, fingerprint, cancellation: Cancellation::Stop, keeping, streams: false };
        let admission = self.session.admit(admit);
        around.ledger.sequence_fell |= self.session.last_sequence(attempt.call.slot) < before;
        let starts = matches!(admission, Ok(Admission::Run | Admission::RunWhenRecorded));
        around.ledger.ended_goes_on |= ended && starts;
        if starts {
            self.admitted.retain(|(id, _)| id.slot != attempt.call.slot);
            self.admitted.push((attempt.call, call));
        }
        match admission {
            Ok(Admission::Run) => {
                self.waiting.push(request);
                self.run(around, attempt.call, call);
            }
            Ok(Admission::RunWhenRecorded) => self.waiting.push(request),
            Ok(Admission::Attach) => self.attach(around, request),
            Ok(Admission::Replay(reply) | Admission::ReplyDropped(reply)) => {
                self.reply(around, request, reply.message.first().copied().unwrap_or_default());
            }
            Ok(Admission::Unknown) => around.sent.push(Message::Answer(request, Said::Unknown)),
            Err(error) => {
                let said = Said::Refused(error.reason(), error.outcome(attempt.attempt));
                around.sent.push(Message::Answer(request, said));
            }
        }
    }

    fn reply(&self, around: &mut Around<'_>, request: Request, run: u8) {
        around.ledger.answered(request.attempt.call, request.call, run);
        around.sent.push(Message::Answer(request, Said::Reply(run)));
    }

    /// A later attempt waits for the run; those before it are fenced.
    fn attach(&mut self, around: &mut Around<'_>, request: Request) {
        let is_older = |waiting: &Request| {
            waiting.attempt.call == request.attempt.call && waiting.attempt.attempt < request.attempt.attempt
        };
        for fenced in self.waiting.extract_if(.., |waiting| is_older(waiting)) {
            let reason = rpc_core::error::Reason::AttemptFenced;
            let said = Said::Refused(reason, rpc_core::error::Outcome::Unknown);
            around.sent.push(Message::Answer(fenced, said));
        }
        self.waiting.push(request);
    }

    fn run(&mut self, around: &mut Around<'_>, id: CallId, call: usize) {
        let keeping = around.scenario.keeping(call);
        let read = (keeping == Keeping::Transaction).then(|| around.disk.count());
        // What a transaction does is done when it is committed.
        if keeping != Keeping::Transaction {
            around.ledger.identity(id, call);
        }
        self.handlers.push(Handler { id, call, stopping: false, read });
    }

    /// A question arrives.
    pub(crate) fn question(&mut self, around: &mut Around<'_>, question: Question) {
        let present = self.session.present(Timestamp::ORIGIN, &TICKET, Some(CONNECTION));
        let request = (1..).map(RequestId).find(|id| self.questions.iter().all(|(taken, _)| taken != id));
        let request = request.unwrap_or(RequestId(u64::MAX));
        let Question { id, settle, cancel, .. } = question;
        if present.is_err() || self.session.query(id, settle, cancel, request).is_err() {
            around.sent.push(Message::Told(question, None));
        } else {
            self.questions.push((request, question));
        }
        self.settle(around);
    }

    /// The handler comes to its end, and had its effect.
    pub(crate) fn finish(&mut self, around: &mut Around<'_>, index: usize) {
        let Handler { id, call, read, .. } = self.handlers.remove(index);
        let truth = &mut around.ledger.calls[call];
        truth.runs += 1;
        let run = truth.runs;
        let reply = Reply {
            code: 0,
            head: Default::default(),
            message: bytes::Bytes::copy_from_slice(&[run]),
            trailer: Default::default(),
        };
        let now = match read {
            Some(read) => self.session.complete_with(id, reply, None, around.disk.transaction(read)),
            None => self.session.complete(id, reply, None),
        };
        if !now && around.scenario.is(Fault::ReplyBeforeRecord) {
            for request in self.waiting.extract_if(.., |waiting| waiting.attempt.call == id) {
                around.ledger.answered(id, call, run);
                around.sent.push(Message::Answer(request, Said::Reply(run)));
            }
        }
        if around.scenario.is(Fault::WaitersForgotten) {
            self.waiting.retain(|waiting| waiting.attempt.call != id);
        }
        self.settle(around);
    }

    /// The handler stops as it was asked to, after its effect or before.
    pub(crate) fn stop(&mut self, around: &mut Around<'_>, index: usize, effect: bool) {
        let Handler { id, call, .. } = self.handlers.remove(index);
        around.ledger.calls[call].runs += u8::from(effect);
        self.session.stopped(id);
        self.settle(around);
    }

    /// The store makes the next write.
    pub(crate) fn commit(&mut self, around: &mut Around<'_>) {
        if let Some((record, write)) = self.writes.pop_front() {
            let failed = around.disk.commit(around.scenario, around.ledger, &write).err();
            self.answers.push_back((record, failed));
        }
    }

    /// The store's next answer arrives.
    pub(crate) fn acknowledge(&mut self, around: &mut Around<'_>) {
        match self.answers.pop_front() {
            Some((record, None)) => self.session.durable(record),
            Some((record, Some(error))) => self.session.store_failed(record, &error),
            None => {}
        }
        self.settle(around);
    }

    /// Lease and linger run out.
    pub(crate) fn expire(&mut self, around: &mut Around<'_>) {
        self.session.wake(self.session.next_wake());
        self.settle(around);
    }

    /// Nobody waits any more for this attempt.
    pub(crate) fn left(&mut self, request: Request) {
        self.waiting.retain(|waiting| *waiting != request);
    }

    /// Whether somebody waits here for this attempt.
    pub(crate) fn has(&self, request: Request) -> bool {
        self.waiting.contains(&request)
    }

    /// Whether the session lives here, as far as this server knows.
    pub(crate) fn lives(&self) -> bool {
        self.session.state().end().is_none()
    }

    /// Whether nothing is under way here.
    pub(crate) fn is_quiet(&self) -> bool {
        self.writes.is_empty() && self.answers.is_empty() && self.handlers.is_empty()
    }

    /// Under which epoch it writes.
    pub fn epoch(&self) -> Epoch {
        self.session.epoch()
    }

    /// Its handlers.
    pub fn handlers(&self) -> &[Handler] {
        &self.handlers
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Does what the session wants done, and answers whoever waited for a run that is over.
    fn settle(&mut self, around: &mut Around<'_>) {
        loop {
            self.drain(around);
            let over = |waiting: &Request| !self.session.is_running(waiting.attempt.call);
            let Some(index) = self.waiting.iter().position(over) else { return };
            let request = self.waiting.remove(index);
            self.judge(around, request);
        }
    }

    fn drain(&mut self, around: &mut Around<'_>) {
        while let Step::Do(effect) = self.session.poll() {
            match effect {
                Effect::Persist { record, epoch, change } => {
                    self.writes.push_back((record, Write { session: number(), epoch, change }));
                    if around.scenario.is(Fault::DurableTooEarly) {
                        self.session.durable(record);
                    }
                }
                Effect::Answer { request, answer } => self.answer(around, request, answer),
                Effect::Dispatch(id) | Effect::RunAgain(id) => {
                    let admitted = self.admitted.iter().find(|(admitted, _)| *admitted == id).copied();
                    if let Some((_, call)) = admitted {
                        self.run(around, id, call);
                    }
                }
                Effect::Stop(id) => {
                    let of = self.handlers.iter_mut().filter(|handler| handler.id == id);
                    of.for_each(|handler| handler.stopping = true);
                }
                Effect::Recorded(_)
                | Effect::NotRecorded(..)
                | Effect::StreamRecorded(_)
                | Effect::StreamNotRecorded(..)
                | Effect::Event(_) => {}
            }
        }
    }

    fn answer(&mut self, around: &mut Around<'_>, request: RequestId, answer: Answer) {
        let Some(index) = self.questions.iter().position(|(id, _)| *id == request) else { return };
        let (_, question) = self.questions.remove(index);
        let told = match answer {
            Answer::Queried(state, last) => Some((state, last)),
            _ => None,
        };
        around.sent.push(Message::Told(question, told));
    }
}
