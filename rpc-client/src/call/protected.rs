//! A call that runs once or not at all: one slot, one call id, as many attempts as it takes.

use bytes::Bytes;
use http::Response;
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::CallAttempt;
use rpc_core::initiator::outcome::{Fate, Word};
use rpc_core::policy::MethodPolicy;
use rpc_proto::headers::Answered;
use rpc_proto::status::Details;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use super::exchange::{Attempted, attempt};
use super::headers::{Template, stamp_call};
use super::reply::{Reply, Verdict};
use super::retrying::{Limits, Refreshed, full, pause, refresh, take_message, wants_retry};
use super::{CallInfo, told};
use crate::Session;
use crate::core::{Core, Proofs};
use crate::error::refusal;
use crate::events::Event;
use crate::retry::Waits;
use crate::slots::Taken;

/// Makes the call.
///
/// # Cancel safety
///
/// See [`Taken`]: dropped anywhere, the call id is handed back or put in quarantine.
//= C-22
pub(super) async fn call(
    session: Session,
    method: &'static MethodPolicy,
    template: Template,
    body: Body,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Box<Status>> {
    let core = session.core();
    core.check_life(Some(Outcome::NotExecuted))?;
    check_kind(core, method)?;
    let message = take_message(core, body, deadline).await?;
    let taken = core.take_slot(deadline).await?;
    let limits = Limits::new(deadline, core.settings.retry_time);
    let waits = Waits::new(&core.chance);
    let mut call = Call { core, template, message, taken, limits, waits, reauthorized: false };
    match call.run().await {
        Ok(reply) => Ok(call.succeed(reply)),
        Err(Failed(word, reason, status)) => Err(call.fail(word, reason, *status)),
    }
}

fn check_kind(core: &Core, method: &MethodPolicy) -> Result<(), Box<Status>> {
    let refused = |reason, message| Err(Box::new(refusal(reason, message, Some(Outcome::NotExecuted))));
    if method.kind.streams() {
        let message = "protected streams need the unit resume, which the session did not agree on";
        return refused(Reason::UnitUnsupported, message);
    }
    if !core.covers(method.path) {
        return refused(Reason::ServiceNotGranted, "the session was not granted the service of this method");
    }
    Ok(())
}

/// A call with its slot.
struct Call<'a> {
    core: &'a Core,
    template: Template,
    message: Bytes,
    taken: Taken,
    limits: Limits,
    waits: Waits,
    reauthorized: bool,
}

/// What follows from one attempt.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one; a box would cost every call")]
enum Next {
    /// The call is over, and this is its reply.
    Reply(Reply),
    Fail(Failed),
    /// The attempt came to nothing; the status says why if there is no other.
    Again(Fate, std::time::Duration, Box<Status>),
}

/// The call is over without a reply, and this is what the server said of it.
struct Failed(Word, Option<Reason>, Box<Status>);

impl Call<'_> {
    async fn run(&mut self) -> Result<Reply, Failed> {
        let silent = |status| Failed(Word::Silent, None, status);
        loop {
            self.core.check_running().map_err(silent)?;
            match self.attempt().await {
                Next::Reply(reply) => return Ok(reply),
                Next::Fail(failed) => return Err(failed),
                Next::Again(fate, wait, why) => {
                    self.taken.ended(fate);
                    self.announce(fate, &why);
                    pause(self.core, wait, self.limits, &why).await.map_err(silent)?;
                }
            }
        }
    }

    async fn attempt(&mut self) -> Next {
        let mut request = self.template.request(full(&self.message));
        let proofs = self.core.stamp(request.headers_mut());
        stamp_call(request.headers_mut(), self.taken.attempt());
        crate::deadline::put(request.headers_mut(), self.limits.deadline);
        let sent = Instant::now();
        self.taken.sending();
        match attempt(self.core, Box::new(request), self.limits).await {
            Attempted::Answered(reply) => self.judge(reply, proofs, sent).await,
            Attempted::Unanswered(fate, why) => {
                // What was never sent or processed mostly met a connection that was being replaced.
                let wait =
                    if fate == Fate::NotProcessed { self.waits.next_soon() } else { self.waits.next() };
                Next::Again(fate, wait, why)
            }
            Attempted::TooLarge(bytes_max) => {
                let message = format!("the reply is larger than {bytes_max} bytes");
                let reason = Reason::ExecutedReplyDropped;
                Next::Fail(Failed(Word::Executed, Some(reason), Box::new(refusal(reason, message, None))))
            }
            Attempted::DeadlinePassed => {
                Next::Fail(Failed(Word::Silent, None, Box::new(crate::deadline::exceeded(None))))
            }
            Attempted::SessionGone => Next::Fail(Failed(Word::Silent, None, self.core.gone())),
        }
    }

    async fn judge(&mut self, reply: Reply, proofs: Proofs, sent: Instant) -> Next {
        let status = match reply.verdict() {
            Verdict::Success => {
                self.core.heard(sent);
                return Next::Reply(reply);
            }
            Verdict::Failure(status) => status,
            Verdict::NotGrpc(status) if status.code() == tonic::Code::Unavailable => {
                return Next::Again(Fate::MayHaveArrived, self.waits.next(), status);
            }
            Verdict::NotGrpc(status) => return Next::Fail(Failed(Word::Unknown, None, status)),
        };
        let details = Details::of(&status);
        let word = Word::of(details.reason, details.outcome);
        if word == Word::Executed {
            self.core.heard(sent);
            return Next::Fail(Failed(word, details.reason, status));
        }
        self.core.note(&details, proofs);
        match refresh(self.core, &details, proofs, &mut self.reauthorized, self.limits.deadline).await {
            // These are refused before the call is looked at.
            Refreshed::Yes => return Next::Again(Fate::NotProcessed, std::time::Duration::ZERO, status),
            Refreshed::No => {}
        }
        match wants_retry(&status, &details, &mut self.waits) {
            Some(wait) if word == Word::Refused => Next::Again(Fate::NotProcessed, wait, status),
            Some(wait) => Next::Again(Fate::MayHaveArrived, wait, status),
            None => Next::Fail(Failed(word, details.reason, status)),
        }
    }

    fn succeed(self, reply: Reply) -> Response<Body> {
        let attempt = self.taken.attempt();
        self.taken.conclude(Word::Executed, None);
        let mut response = reply.into_response();
        let answered = Answered::parse(response.headers());
        response.extensions_mut().insert(CallInfo::new(attempt, answered));
        response
    }

    fn fail(self, word: Word, reason: Option<Reason>, status: Status) -> Box<Status> {
        let attempt = self.taken.attempt();
        let outcome = self.taken.conclude(word, reason);
        told(status, attempt, outcome)
    }

    fn announce(&self, fate: Fate, why: &Status) {
        if fate != Fate::MayHaveArrived {
            return;
        }
        let CallAttempt { call, attempt } = self.taken.attempt();
        tracing::debug!(session = %self.core.number, slot = %call.slot, sequence = %call.sequence, %attempt,
            code = ?why.code(), "call is sent again");
        self.core.events.say(Event::CallRetried(self.taken.attempt()));
    }
}
