//! The task of a call.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request};
use rpc_core::error::Reason;
use rpc_core::id::{Attempt, CallAttempt};
use rpc_core::initiator::outcome::{Fate, Word};
use rpc_flow::{AppEnd, Ended, Feed, Frames, How, Stream};
use rpc_proto::headers::Answered;
use rpc_proto::status::Details;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::body::Body;
use tonic::{Code, Status};

use super::Begun;
use super::attempt::{Met, exchange, stamp};
use super::body::{Answer, Answers, Reader, StreamedBody, Verdict};
use super::patience::Patience;
use crate::Session;
use crate::call::body::unanswered;
use crate::call::headers::{Template, stamp_call};
use crate::call::reply::repair_details;
use crate::call::retrying::{Refreshed, refresh, wants_retry};
use crate::call::told;
use crate::core::Proofs;
use crate::deadline;
use crate::error::{lost, refusal};
use crate::events::Event;
use crate::net::SendOptions;
use crate::slots::Taken;

/// How long a call that was given up waits for its answer, before its stream is reset.
//= S-24
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// One call with its slot and its stream.
pub(super) struct Driver {
    session: Session,
    stream: Stream,
    /// The name of the activity that the call works on, as its header.
    activity: Option<HeaderValue>,
    template: Template,
    taken: Taken,
    patience: Patience,
    reauthorized: bool,
    reader: Reader,
    answers: Arc<Answers>,
    /// Where the end is told, until it was.
    told: Option<oneshot::Sender<Status>>,
    /// Why the stub's request broke off.
    broken: Arc<OnceLock<Status>>,
}

/// How a call ended.
enum Over {
    /// With these trailers.
    Answered(HeaderMap),
    /// Without an answer of the handler's, and this is what the server said of it.
    Failed(Word, Option<Reason>, Box<Status>),
}

/// What follows from an attempt.
enum Next {
    Over(Over),
    /// It came to nothing; the status says why if there is no other.
    Again(Fate, Duration, Box<Status>),
}

/// Why a call goes no further although the server has not ended it.
enum Cut {
    DeadlinePassed,
    /// The session ended, or this side closes it.
    SessionGone,
    /// The stub has left, or its request broke off, or the stream has failed.
    Hurry,
}

impl Driver {
    pub(super) fn new(
        session: Session,
        call: Begun,
        template: Template,
        taken: Taken,
        deadline: Option<Instant>,
    ) -> (Self, Answer) {
        let Begun { stream, checkpoints, activity } = call;
        let (told, verdict) = oneshot::channel();
        let (reader, answers) = (Reader::new(), Arc::new(Answers::default()));
        let body = StreamedBody::new(stream.app_body(), &reader, Verdict::new(verdict));
        let first = taken.attempt();
        let answer = Answer { body, stream: stream.clone(), checkpoints, answers: answers.clone(), first };
        let core = session.core();
        let patience = Patience::new(deadline, core.settings.retry_time, &core.chance);
        let driver = Self {
            session,
            stream,
            activity,
            template,
            taken,
            patience,
            reauthorized: false,
            reader,
            answers,
            told: Some(told),
            broken: Arc::default(),
        };
        (driver, answer)
    }

    /// Makes the call, and returns when nothing of it is left.
    pub(super) async fn run(mut self, request: Body) {
        // Whatever ends this task, nobody waits for it in vain.
        let _abandoned = Abandoned(self.stream.clone());
        let pump = pump(self.stream.clone(), request, self.broken.clone(), self.reader.clone());
        let over = tokio::select! {
            over = self.attempts() => over,
            never = pump => match never {},
        };
        match over {
            Over::Answered(trailers) => self.answered(trailers).await,
            Over::Failed(word, reason, status) => self.failed(word, reason, *status),
        }
    }

    async fn attempts(&mut self) -> Over {
        loop {
            match self.attempt().await {
                Next::Over(over) => return over,
                Next::Again(fate, wait, why) => {
                    // The stream counts its attempts, so a number is not used twice even if nobody saw it.
                    self.taken.ended_and_counted(fate);
                    self.announce(fate, &why);
                    if let Some(over) = self.pause(wait, &why).await {
                        return over;
                    }
                }
            }
        }
    }

    async fn attempt(&mut self) -> Next {
        let session = self.session.clone();
        let core = session.core();
        if let Err(status) = core.check_running() {
            return Next::Over(Over::Failed(Word::Silent, None, status));
        }
        let (request, feed, proofs) = match self.request() {
            Ok(parts) => parts,
            Err(status) => return Next::Over(Over::Failed(Word::Silent, None, status)),
        };
        let sent = Instant::now();
        let options = SendOptions { deadline: Some(self.patience.until()), wait_for_ready: None };
        self.taken.sending();
        let joined = joined(&session, self.taken.attempt(), self.answers.clone());
        let mut exchange = pin!(exchange(core, request, options, feed, joined));
        let met = tokio::select! {
            // The exchange first: it knows of a passed deadline whether the request was sent.
            biased;
            met = &mut exchange => met,
            cut = self.cut() => return Next::Over(self.give_up(cut, exchange).await),
        };
        if let Met::Joined(at, _) = &met
            && self.patience.was_joined(*at, &self.stream)
        {
            self.reauthorized = false;
        }
        self.judge(met, proofs, sent).await
    }

    fn request(&mut self) -> Result<(Request<Body>, Feed, Proofs), Box<Status>> {
        let number = self.taken.attempt();
        let attempt = self
            .stream
            .attempt(number.attempt, None, Frames::On)
            .map_err(|error| Box::new(Status::internal(error.to_string())))?;
        let mut headers = HeaderMap::new();
        stamp(&mut headers, &attempt, self.activity.as_ref());
        let (body, feed) = attempt.split();
        let mut request = self.template.request(Body::new(body));
        request.headers_mut().extend(headers);
        let proofs = self.session.core().stamp(request.headers_mut());
        stamp_call(request.headers_mut(), number);
        deadline::put(request.headers_mut(), self.patience.deadline);
        Ok((request, feed, proofs))
    }

    async fn judge(&mut self, met: Met, proofs: Proofs, sent: Instant) -> Next {
        match met {
            Met::Unanswered(error) => {
                let fate = if error.is_unprocessed() { Fate::NotProcessed } else { Fate::MayHaveArrived };
                let waits = &mut self.patience.waits;
                let wait = if error.is_unprocessed() { waits.next_soon() } else { waits.next() };
                Next::Again(fate, wait, Box::new(unanswered(error, None)))
            }
            Met::NotGrpc(status) if status.code() == Code::Unavailable => {
                Next::Again(Fate::MayHaveArrived, self.patience.waits.next(), status)
            }
            Met::NotGrpc(status) => Next::Over(Over::Failed(Word::Unknown, None, status)),
            Met::Refused(status) => self.refused(status, proofs).await,
            Met::Joined(_, ended) => self.joined(ended, proofs, sent).await,
        }
    }

    /// The attempt was joined to the stream, and its response has ended.
    async fn joined(&mut self, ended: Ended, proofs: Proofs, sent: Instant) -> Next {
        let (trailers, status) = with_status(ended.trailers);
        match (ended.how, status) {
            (How::Complete, Some(_)) => {
                self.session.core().heard(sent);
                Next::Over(Over::Answered(trailers))
            }
            (How::Short, Some(status)) if status.code() != Code::Ok => {
                self.refused(Box::new(status), proofs).await
            }
            (How::Failed(error), said) => {
                // What the server says of it is an answer to this; whether the call ran is for it to say.
                let details = said.as_ref().map(Details::of).unwrap_or_default();
                let word = Word::of(details.reason, details.outcome);
                let own = || refusal(error.reason(), error.to_string(), None);
                let status = Box::new(self.stream.failure().unwrap_or_else(own));
                Next::Over(Over::Failed(word, details.reason, status))
            }
            //= W-23
            (How::Short, Some(_)) => {
                let message = "the answer says that all went well, and the stream has no end";
                let status = refusal(Reason::ProtocolViolated, message, None);
                Next::Over(Over::Failed(Word::Unknown, None, Box::new(status)))
            }
            (how, _) => {
                let why = match how {
                    How::Broken(error) => format!("connection lost: {error}"),
                    _ => "the response ended before the call".to_owned(),
                };
                let wait = self.patience.waits.next();
                Next::Again(Fate::MayHaveArrived, wait, Box::new(lost(why, None)))
            }
        }
    }

    /// The server, or something on the way, ended the attempt with this status.
    async fn refused(&mut self, status: Box<Status>, proofs: Proofs) -> Next {
        let session = self.session.clone();
        let core = session.core();
        let details = Details::of(&status);
        let word = Word::of(details.reason, details.outcome);
        if word == Word::Executed {
            return Next::Over(Over::Failed(word, details.reason, status));
        }
        core.note(&details, proofs);
        match refresh(core, &details, proofs, &mut self.reauthorized, self.patience.deadline).await {
            // These are refused before the call is looked at.
            Refreshed::Yes => return Next::Again(Fate::NotProcessed, Duration::ZERO, status),
            Refreshed::No => {}
        }
        match wants_retry(&status, &details, &mut self.patience.waits) {
            Some(wait) if word == Word::Refused => Next::Again(Fate::NotProcessed, wait, status),
            Some(wait) => Next::Again(Fate::MayHaveArrived, wait, status),
            None => Next::Over(Over::Failed(word, details.reason, status)),
        }
    }

    /// Waits for what ends the call from this side.
    fn cut(&self) -> impl Future<Output = Cut> + use<> {
        let (session, reader) = (self.session.clone(), self.reader.clone());
        let deadline = self.patience.deadline;
        async move {
            let stopping = session.stopping();
            tokio::select! {
                () = deadline::passed(deadline) => Cut::DeadlinePassed,
                () = session.core().over.cancelled() => Cut::SessionGone,
                () = stopping.cancelled() => Cut::SessionGone,
                () = reader.hurry.cancelled() => Cut::Hurry,
            }
        }
    }

    /// Ends the call from this side: tells the caller, sends CANCEL, and waits a moment for the answer.
    //= S-24
    async fn give_up(&mut self, cut: Cut, exchange: impl Future<Output = Met>) -> Over {
        let status = self.status_of(&cut);
        match cut {
            Cut::DeadlinePassed | Cut::SessionGone => {
                let outcome = self.taken.outcome(Word::Silent);
                let status = told((*status).clone(), self.taken.attempt(), outcome);
                self.tell(&status);
                self.stream.abandon(*status);
            }
            Cut::Hurry => self.stream.cancel(),
        }
        let said = match timeout(CANCEL_WAIT, exchange).await {
            Ok(Met::Joined(_, ended)) => with_status(ended.trailers).1,
            Ok(Met::Refused(status)) => Some(*status),
            Ok(Met::Unanswered(_) | Met::NotGrpc(_)) | Err(_) => None,
        };
        let details = said.as_ref().map(Details::of).unwrap_or_default();
        match details.outcome {
            Some(_) => Over::Failed(Word::of(details.reason, details.outcome), details.reason, status),
            None => Over::Failed(Word::Silent, None, status),
        }
    }

    fn status_of(&self, cut: &Cut) -> Box<Status> {
        match cut {
            Cut::DeadlinePassed => Box::new(deadline::exceeded(None)),
            Cut::SessionGone => self.session.core().gone(),
            Cut::Hurry => {
                let broken = self.broken.get().cloned().or_else(|| self.stream.failure());
                let cancelled = || refusal(Reason::CallCancelled, "the caller cancelled the call", None);
                Box::new(broken.unwrap_or_else(cancelled))
            }
        }
    }

    /// Waits between two attempts; says how the call ends if there is no other.
    async fn pause(&mut self, wait: Duration, why: &Status) -> Option<Over> {
        let until = (Instant::now() + wait).min(self.patience.until());
        let cut = tokio::select! {
            biased;
            cut = self.cut() => Some(cut),
            () = sleep_until(until) => None,
        };
        let status = match cut {
            Some(cut) => self.status_of(&cut),
            None if Instant::now() < self.patience.until() => return None,
            None if self.patience.deadline.is_some() => Box::new(deadline::exceeded(None)),
            None => {
                let time = self.patience.retry_time;
                Box::new(lost(format!("given up after {time:?}: {}", why.message()), None))
            }
        };
        Some(Over::Failed(Word::Silent, None, status))
    }

    /// The caller gets the answer; the call is over when it has read it.
    async fn answered(mut self, mut trailers: HeaderMap) {
        if let Some(status) = Status::from_header_map(&trailers).filter(|status| status.code() != Code::Ok) {
            let status = told(status, self.taken.attempt(), self.taken.outcome(Word::Executed));
            let mut map = HeaderMap::new();
            if status.add_header(&mut map).is_ok() {
                trailers = map;
            }
            if !self.stream.watch().borrow().has_head {
                self.tell(&status);
            }
        }
        self.told = None;
        self.stream.conclude(trailers);
        let stopping = self.session.stopping();
        tokio::select! {
            () = self.reader.left.cancelled() => {}
            () = stopping.cancelled() => {}
        }
        self.taken.conclude(Word::Executed, None);
    }

    fn failed(mut self, word: Word, reason: Option<Reason>, status: Status) {
        let attempt = self.taken.attempt();
        let told_already = self.told.is_none();
        let told_sender = self.told.take();
        let outcome = self.taken.conclude(word, reason);
        if told_already {
            return;
        }
        let status = told(status, attempt, outcome);
        if let Some(sender) = told_sender {
            // Whoever does not listen has left.
            let _ = sender.send((*status).clone());
        }
        self.stream.abandon(*status);
    }

    fn tell(&mut self, status: &Status) {
        if let Some(told) = self.told.take() {
            // Whoever does not listen has left.
            let _ = told.send(status.clone());
        }
    }

    fn announce(&self, fate: Fate, why: &Status) {
        if fate != Fate::MayHaveArrived {
            return;
        }
        let core = self.session.core();
        let CallAttempt { call, attempt } = self.taken.attempt();
        tracing::debug!(session = %core.number, slot = %call.slot, sequence = %call.sequence, %attempt,
            code = ?why.code(), why = why.message(), "stream is resumed");
        core.events.say(Event::CallRetried(self.taken.attempt()));
    }
}

/// Reads the stub's request, as long as anybody wants it.
async fn pump(stream: Stream, request: Body, broken: Arc<OnceLock<Status>>, reader: Reader) -> Infallible {
    if let AppEnd::Failed(error) = stream.pump_app(request).await {
        let _ = broken.set(Status::from_error(error));
        reader.hurry.cancel();
    }
    pending().await
}

/// Notes and announces that an attempt was joined to the stream.
fn joined(session: &Session, number: CallAttempt, answers: Arc<Answers>) -> impl FnOnce(&HeaderMap) + use<> {
    let events = session.core().events.clone();
    move |headers| {
        let Some(answered) = Answered::parse(headers) else { return };
        // A server that was restarted begins the handler anew, for a stream that goes on.
        let again = answers.answered.set(answered).is_err() && answered != Answered::Replayed;
        let attached = answered == Answered::Attached && number.attempt > Attempt::default();
        if again || attached {
            events.say(Event::StreamResumed(number));
        }
    }
}

/// Trailers with the status that they have.
fn with_status(trailers: Option<HeaderMap>) -> (HeaderMap, Option<Status>) {
    let mut trailers = trailers.unwrap_or_default();
    repair_details(&mut trailers);
    let status = Status::from_header_map(&trailers);
    (trailers, status)
}

/// Ends the stream when the task ends without having done so: at the end of the runtime, or by a panic.
struct Abandoned(Stream);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if !self.0.watch().borrow().is_over() {
            self.0.abandon(Status::cancelled("the task of the call was stopped"));
        }
    }
}
