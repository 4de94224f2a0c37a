//! What calls that are sent again have in common.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use rpc_core::error::{Outcome, Reason};
use rpc_proto::status::Details;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};

use super::reply::read_request;
use crate::core::{Core, Proofs};
use crate::deadline;
use crate::error::lost;
use crate::keeper::renew;
use crate::retry::Waits;

/// Until when a call is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The caller's.
    pub(super) deadline: Option<Instant>,
    /// When no further attempt is made: the deadline, or the end of the time for retries of a call without one.
    pub(super) give_up_at: Instant,
}

impl Limits {
    pub(super) fn new(deadline: Option<Instant>, retry_time: Duration) -> Self {
        Self { deadline, give_up_at: deadline.unwrap_or_else(|| Instant::now() + retry_time) }
    }
}

/// Takes the request's message whole, before the deadline.
pub(super) async fn take_message(
    core: &Core,
    body: Body,
    deadline: Option<Instant>,
) -> Result<Bytes, Box<Status>> {
    let reading = read_request(body, core.settings.request_bytes_max);
    let unsent = Some(Outcome::NotExecuted);
    let read = match deadline {
        Some(deadline) => {
            timeout_at(deadline, reading).await.map_err(|_| Box::new(deadline::exceeded(unsent)))?
        }
        None => reading.await,
    };
    // What encodes the request failed: nothing was sent.
    read.map_err(|status| Box::new(rpc_proto::status::with_outcome(*status, Outcome::NotExecuted)))
}

/// The message as the body of another attempt.
pub(super) fn full(message: &Bytes) -> Body {
    Body::new(Full::new(message.clone()))
}

/// Waits between two attempts.
///
/// # Errors
///
/// There is no further attempt: the status says that the time is over, or that the session is.
pub(super) async fn pause(
    core: &Core,
    wait: Duration,
    limits: Limits,
    why: &Status,
) -> Result<(), Box<Status>> {
    if !wait.is_zero() {
        let until = (Instant::now() + wait).min(limits.give_up_at);
        tokio::select! {
            () = core.over.cancelled() => return Err(core.gone()),
            () = sleep_until(until) => {}
        }
    }
    if Instant::now() < limits.give_up_at {
        return Ok(());
    }
    Err(Box::new(match limits.deadline {
        Some(_) => deadline::exceeded(None),
        None => lost(format!("given up after {:?}: {}", core.settings.retry_time, why.message()), None),
    }))
}

/// Whether a refused attempt may succeed with newer proofs.
pub(super) enum Refreshed {
    Yes,
    No,
}

/// Gets newer proofs where an attempt was refused for want of them.
pub(super) async fn refresh(
    core: &Core,
    details: &Details,
    proofs: Proofs,
    reauthorized: &mut bool,
    deadline: Option<Instant>,
) -> Refreshed {
    match details.reason {
        // The ticket was rotated while the attempt was under way.
        Some(Reason::SessionUnknown) if core.has_newer_ticket(proofs) => Refreshed::Yes,
        Some(Reason::AuthorityExpired) if !*reauthorized => {
            *reauthorized = true;
            // In a box, since it is rare: each call would have room for it.
            let renewed = tokio::select! {
                renewed = Box::pin(renew::authority(core, proofs)) => renewed.is_ok(),
                () = deadline::passed(deadline) => false,
            };
            if renewed { Refreshed::Yes } else { Refreshed::No }
        }
        Some(_) | None => Refreshed::No,
    }
}

/// The wait before the next attempt if the answer asks for one, or leaves it open with UNAVAILABLE.
pub(super) fn wants_retry(status: &Status, details: &Details, waits: &mut Waits) -> Option<Duration> {
    let over = matches!(
        details.reason,
        Some(
            Reason::SessionUnknown | Reason::SessionEnded | Reason::SessionFenced | Reason::SessionReleasing
        )
    );
    let worth_it = status.code() == Code::Unavailable || details.retry_after.is_some();
    if over || !worth_it {
        return None;
    }
    waits.next_after(details, status.metadata().as_ref())
}
