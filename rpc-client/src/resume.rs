//! Going on with a saved session: whether it may be, and the proof that it lives.

use http::header::AUTHORIZATION;
use rpc_core::error::Reason;
use rpc_core::id::Ticket;
use rpc_core::initiator::renewal::{Renewal, Rotation};
use rpc_core::negotiate::ServiceRequest;
use rpc_proto::headers::{SESSION, SESSION_TICKET, session_value, ticket_value};
use rpc_proto::pb::session::v1::{RenewRequest, RenewResponse};
use rpc_proto::status::Details;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Code, Status};

use crate::control::{Control, Via};
use crate::core::{Opened, Parts};
use crate::error::OpenError;
use crate::open::{ANSWER_TIMEOUT, needed, positive, refused, unreachable};
use crate::retry::Waits;
use crate::saved::{SavedSession, Tickets};

/// Whether the program may have what it needs in the saved session, by what was agreed when that was opened. The server
/// compares nothing again.
///
/// Returns the services that were compared then, and those that are named now for the first time.
pub(crate) fn check(
    parts: &Parts,
    target: &str,
    saved: &SavedSession,
) -> Result<Vec<ServiceRequest>, OpenError> {
    if saved.target != target {
        return Err(OpenError::Elsewhere { saved: saved.target.clone(), target: target.to_owned() });
    }
    let mut services = saved.services.clone();
    for need in needed(&parts.policies) {
        let compared = services.iter().find(|service| service.name == need.name);
        let refusal = match compared {
            _ if !saved.agreement.grants(&need.name) => Some(Reason::ServiceNotGranted),
            Some(then) if differ(then.version.into(), need.version.into()) => Some(Reason::ServiceVersion),
            Some(then) if differ(then.policy_hash, need.policy_hash) => Some(Reason::PolicyMismatch),
            Some(_) | None => None,
        };
        if let Some(reason) = refusal {
            return Err(OpenError::Service { service: need.name, reason });
        }
        if compared.is_none() {
            services.push(need);
        }
    }
    Ok(services)
}

/// As the server compares them (O-13): 0 fits everything.
fn differ(then: u64, now: u64) -> bool {
    then != 0 && now != 0 && then != now
}

/// Renews the saved session, trying until `deadline`: with a fresh token, because the authority of the old one may have
/// ended meanwhile, and how long the new one lasts is to be known.
///
/// # Cancel safety
///
/// Safe: the session was renewed, or it was not.
pub(crate) async fn resume(
    parts: &Parts,
    saved: &SavedSession,
    rotation: Rotation,
    deadline: Instant,
) -> Result<Opened, OpenError> {
    let mut tickets = saved.tickets.clone();
    let mut waits = Waits::new(&parts.chance);
    loop {
        let sent = Instant::now();
        let status = match ask(parts, saved, &tickets.current, deadline).await? {
            Ok(answer) => return Ok(accept(parts, saved, tickets, answer, sent, rotation).await),
            Err(status) => status,
        };
        let details = Details::of(&status);
        if details.reason == Some(Reason::SessionUnknown)
            && let Some(previous) = tickets.previous.take()
        {
            // A late renewal replaced the ticket before it was used (L-16). The one before it is valid until one was.
            tickets = Tickets::first(previous);
            continue;
        }
        if let Some(reason @ (Reason::SessionUnknown | Reason::SessionEnded | Reason::SessionFenced)) =
            details.reason
        {
            return Err(OpenError::Gone { number: saved.number, reason });
        }
        let worth_it = status.code() == Code::Unavailable || details.retry_after.is_some();
        let wait = worth_it.then(|| waits.next_after(&details, status.metadata().as_ref())).flatten();
        let Some(wait) = wait else { return Err(refused(&status, details)) };
        if Instant::now() + wait >= deadline {
            return Err(unreachable(parts, status));
        }
        sleep_until(Instant::now() + wait).await;
    }
}

async fn ask(
    parts: &Parts,
    saved: &SavedSession,
    ticket: &Ticket,
    deadline: Instant,
) -> Result<Result<RenewResponse, Status>, OpenError> {
    let bearer = parts.wallet.current().await.map_err(OpenError::Credentials)?;
    let headers = vec![
        (SESSION, session_value(saved.number)),
        (SESSION_TICKET, ticket_value(ticket)),
        (AUTHORIZATION, bearer),
    ];
    let mut client = Control::client(Via::Any(parts.net.clone()), headers);
    let until = deadline.min(Instant::now() + ANSWER_TIMEOUT);
    // The ticket is replaced when the next renewal is due: one thing at a time.
    let renewed = timeout_at(until, client.renew(RenewRequest { rotate_ticket: false })).await;
    let renewed = renewed.unwrap_or_else(|_| Err(Status::unavailable("no answer in time")));
    Ok(renewed.map(tonic::Response::into_inner))
}

async fn accept(
    parts: &Parts,
    saved: &SavedSession,
    tickets: Tickets,
    answer: RenewResponse,
    sent: Instant,
    rotation: Rotation,
) -> Opened {
    let agreement = saved.agreement.clone();
    let lease = answer.lease.and_then(positive).unwrap_or(agreement.lease);
    let authority = answer.authority.and_then(positive);
    if let Some(authority) = authority {
        parts.wallet.lasts(authority).await;
    }
    let renewal = Renewal::new(parts.clock.at(sent), lease, authority, rotation);
    Opened { number: saved.number, epoch: saved.epoch, tickets, agreement, renewal, is_new: false }
}
