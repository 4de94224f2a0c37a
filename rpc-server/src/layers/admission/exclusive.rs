//! Calls of an exclusive class: each waits until it is the only one that runs.
//!
//! A protected call takes its turn inside of its admission, and only where that would run it: the retry of a call that
//! ran has its recorded reply whoever has the class now. A plain call takes its turn before its handler is called.

mod plain;

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_core::exclusive::{Caller, EnterError, Key};
use rpc_core::session::{Admit, Session, refused_before_admission};
use rpc_proto::status::Refusal;
use tokio::time::{Instant, sleep_until};

use super::{AdmissionLayer, Protected};
use crate::sessions::exclusive::{Entered, News, Turn, Waiter};

/// How a protected call stands with the class of its method, over the times that it asks.
pub(super) struct Standing {
    deadline: Option<Instant>,
    /// It has waited, and has the class if it would still run.
    granted: Option<Waiter>,
    /// It is admitted, and has the class; `None`: its method has none.
    pub(super) turn: Option<Turn>,
}

/// Why a call is not admitted now.
pub(super) enum Halted {
    /// It is refused.
    Refused(Refusal),
    /// It waits for its class, and asks again.
    Waits(Waiter),
}

impl From<Refusal> for Halted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Standing {
    /// Outside of any queue.
    pub(super) fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, granted: None, turn: None }
    }

    /// Waits until the call is to ask again.
    ///
    /// # Errors
    ///
    /// Its deadline passed, or a later attempt has its place.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the call keeps its place for its next attempt.
    //= D-41
    pub(super) async fn wait(&mut self, call: &Protected, mut waiter: Waiter) -> Result<(), Refusal> {
        let news = tokio::select! {
            biased;
            news = waiter.news() => news,
            () = late(self.deadline) => {
                let text = "the deadline of the call has passed while it waited for its exclusive class";
                let refusal = Refusal::new(Reason::DeadlineExceeded, text);
                return Err(refusal.outcome(refused_before_admission(call.attempt.attempt)));
            }
        };
        match news {
            News::Granted => self.granted = Some(waiter),
            News::Superseded => return Err(superseded()),
            News::Removed => {}
        }
        Ok(())
    }
}

impl AdmissionLayer {
    /// Takes the turn of a protected call that would run, if its method has a class.
    ///
    /// # Errors
    ///
    /// It has to wait, or cannot even wait.
    //= D-7
    //= D-10
    pub(super) fn take_turn(
        &self,
        session: &Session,
        call: &Protected,
        admit: &Admit,
        standing: &mut Standing,
    ) -> Result<(), Halted> {
        let key = |exclusive| Key::of(exclusive, session.principal(), Some(session.id()));
        let Some(key) = call.policy.exclusive.as_ref().and_then(key) else { return Ok(()) };
        if !session.would_run(admit) {
            return Ok(());
        }
        let turn = match standing.granted.take() {
            Some(waiter) => waiter.begin().ok_or_else(superseded)?,
            None => {
                let caller = Caller::Call(session.id(), call.attempt);
                let entered = self.sessions.exclusion().enter(key, caller, standing.deadline);
                let attempt = call.attempt.attempt;
                match entered.map_err(|error| refused(&error).outcome(error.outcome(attempt)))? {
                    Entered::Turn(turn) => turn,
                    Entered::Waits(waiter) => return Err(Halted::Waits(waiter)),
                }
            }
        };
        standing.turn = Some(turn);
        Ok(())
    }
}

/// Waits until the deadline has passed.
///
/// The layer outside has a timer for the same moment, and drops this when that fires first. So the clock is looked at
/// whenever this is polled: only here is it known that the call did not run.
async fn late(deadline: Option<Instant>) {
    let Some(at) = deadline else { return pending().await };
    let mut sleep = pin!(sleep_until(at));
    let passed = poll_fn(|cx| match Instant::now() >= at {
        true => Poll::Ready(()),
        false => sleep.as_mut().poll(cx),
    });
    passed.await;
}

fn superseded() -> Refusal {
    let text = "a later attempt of the call has taken over its place";
    Refusal::new(Reason::AttemptFenced, text).outcome(Outcome::Unknown)
}

fn refused(error: &EnterError) -> Refusal {
    let refusal = Refusal::new(error.reason(), error.to_string());
    match error {
        EnterError::ClassExhausted(_) | EnterError::Exhausted(_) => {
            refusal.retry_after(Duration::from_secs(1))
        }
        EnterError::Fenced { .. } | EnterError::FalseRetry(_) => refusal,
    }
}
