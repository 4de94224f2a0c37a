//! Opening a session: what is proposed, until an answer is in hand.

use std::time::Duration;

use rpc_core::error::Reason;
use rpc_core::id::{Epoch, Nonce, SessionId, Ticket};
use rpc_core::initiator::renewal::{Renewal, Rotation};
use rpc_core::negotiate::{
    Agreement, FirstTurn, FirstTurnProposal, Grant, Offer, ServiceGrant, ServiceRequest, Unit, Units,
};
use rpc_proto::pb::session::v1::{self as pb, AbortRequest, OpenRequest, OpenResponse};
use rpc_proto::status::Details;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::{Code, Status};

use crate::control::{Control, Via};
use crate::core::{Opened, Parts};
use crate::error::OpenError;
use crate::net::Connections;
use crate::policy::Policies;
use crate::retry::Waits;
use crate::saved::Tickets;

/// Longest wait for one answer; after it the opening is repeated.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to give up a session that lacks a service, so that the server need not keep it.
const ABORT_TIMEOUT: Duration = Duration::from_secs(2);
/// No server makes this program keep a larger table of slots.
pub(crate) const SLOTS_MAX: u32 = 1 << 16;

/// What streams with checkpoints use, and activities, which are such streams; and what lets them outlive the server.
const STREAM_UNITS: [Unit; 4] = [Unit::Resume, Unit::MinorSynchronize, Unit::Activity, Unit::Durable];
/// What those that have a dialog can use beside.
const DIALOG_UNITS: [Unit; 4] =
    [Unit::TypedData, Unit::ExpeditedData, Unit::MajorSynchronize, Unit::Resynchronize];
/// And those in which one side speaks at a time.
const TURN_UNITS: [Unit; 2] = [Unit::HalfDuplex, Unit::Exceptions];

/// Opens the session that `offer` describes, trying until `deadline`.
///
/// # Cancel safety
///
/// Dropped halfway, a session may be open at the server. It ends with its lease.
//= O-2
pub(crate) async fn open(
    parts: &Parts,
    offer: &Offer,
    client: &str,
    rotation: Rotation,
    deadline: Instant,
) -> Result<Opened, OpenError> {
    let mut nonce = [0; Nonce::BYTES];
    parts.chance.fill(&mut nonce).map_err(|error| OpenError::Unreachable(error.into()))?;
    let request = request(offer, Nonce(nonce), client);
    let mut waits = Waits::new(&parts.chance);
    loop {
        let sent = Instant::now();
        let (status, wait) = match ask(parts, request.clone(), deadline).await {
            Ok(answer) => return accept(parts, offer, answer, sent, rotation).await,
            Err(Failed::For(error)) => return Err(error),
            Err(Failed::Now(status)) => {
                let details = Details::of(&status);
                // The nonce makes a repetition harmless, whatever became of the opening before it (O-3).
                let worth_it = status.code() == Code::Unavailable || details.retry_after.is_some();
                let wait = worth_it.then(|| waits.next_after(&details, status.metadata().as_ref())).flatten();
                let Some(wait) = wait else { return Err(refused(&status, details)) };
                (status, wait)
            }
        };
        if Instant::now() + wait >= deadline {
            return Err(unreachable(parts, status));
        }
        sleep_until(Instant::now() + wait).await;
    }
}

enum Failed {
    /// It may succeed later.
    Now(Status),
    /// It will not.
    For(OpenError),
}

async fn ask(parts: &Parts, request: OpenRequest, deadline: Instant) -> Result<OpenResponse, Failed> {
    let bearer = parts.wallet.current().await.map_err(|error| Failed::For(OpenError::Credentials(error)))?;
    let headers = vec![(http::header::AUTHORIZATION, bearer)];
    let mut client = Control::client(Via::Any(parts.net.clone()), headers);
    let until = deadline.min(Instant::now() + ANSWER_TIMEOUT);
    match timeout_at(until, client.open(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Failed::Now(status)),
        Err(_) => Err(Failed::Now(Status::unavailable("no answer in time"))),
    }
}

/// The failure of a dial explains more than the call that waited for it.
pub(crate) fn unreachable(parts: &Parts, status: Status) -> OpenError {
    match parts.net.watch().borrow().failure() {
        Some(failure) => OpenError::Unreachable(failure.clone().into()),
        None => OpenError::Unreachable(Box::new(status)),
    }
}

pub(crate) fn refused(status: &Status, details: Details) -> OpenError {
    OpenError::Refused {
        code: status.code(),
        reason: details.reason,
        message: status.message().to_owned(),
        limits: details.limits.map(Box::new),
    }
}

async fn accept(
    parts: &Parts,
    offer: &Offer,
    answer: OpenResponse,
    sent: Instant,
    rotation: Rotation,
) -> Result<Opened, OpenError> {
    let number = SessionId::new(answer.number).ok_or(OpenError::Protocol("the session has no number"))?;
    let ticket = <[u8; Ticket::BYTES]>::try_from(&answer.ticket[..]);
    let ticket = Ticket(ticket.map_err(|_| OpenError::Protocol("the ticket is not 32 bytes"))?);
    let agreement = agreement(&answer)?;
    if let Err(broken) = check_units(offer, agreement.units) {
        give_up(&parts.net, number, &ticket, "the units are not those of the proposal").await;
        return Err(OpenError::Protocol(broken));
    }
    let authority = answer.authority.and_then(positive);
    if let Some(authority) = authority {
        parts.wallet.lasts(authority).await;
    }
    let refusal = agreement.services.iter().find_map(|grant| match grant.result {
        Grant::Granted => None,
        Grant::Refused(reason) => Some((grant.name.clone(), reason)),
    });
    if let Some((service, reason)) = refusal {
        give_up(&parts.net, number, &ticket, "a service was not granted").await;
        return Err(OpenError::Service { service, reason });
    }
    let renewal = Renewal::new(parts.clock.at(sent), agreement.lease, authority, rotation);
    Ok(Opened {
        number,
        epoch: Epoch(answer.epoch),
        tickets: Tickets::first(ticket),
        agreement,
        renewal,
        is_new: true,
    })
}

/// Whoever goes on with other units than it asked for uses what the other side does not (O-21).
fn check_units(offer: &Offer, on: Units) -> Result<(), &'static str> {
    if on.first_missing_in(offer.units).is_some() {
        return Err("a unit is on that was not proposed");
    }
    if offer.required.first_missing_in(on).is_some() {
        return Err("a required unit is off");
    }
    Ok(())
}

/// Ends a session that is of no use. If that fails, its lease ends it.
pub(crate) async fn give_up(net: &Connections, number: SessionId, ticket: &Ticket, reason: &str) {
    use rpc_proto::headers::{SESSION, SESSION_TICKET, session_value, ticket_value};
    let headers = vec![(SESSION, session_value(number)), (SESSION_TICKET, ticket_value(ticket))];
    let mut client = Control::client(Via::Any(net.clone()), headers);
    let abort = AbortRequest { reason: reason.to_owned() };
    let _ = timeout(ABORT_TIMEOUT, client.abort(abort)).await;
}

fn agreement(answer: &OpenResponse) -> Result<Agreement, OpenError> {
    let lease = answer.lease.and_then(positive).ok_or(OpenError::Protocol("the session has no lease"))?;
    if !(1..=SLOTS_MAX).contains(&answer.slots) {
        return Err(OpenError::Protocol("the number of slots is out of range"));
    }
    Ok(Agreement {
        version: answer.version,
        units: Units::from_iter(answer.units.iter().filter_map(|unit| Unit::from_number(*unit))),
        lease,
        linger: answer.linger.and_then(|linger| Duration::try_from(linger).ok()).unwrap_or_default(),
        slots: answer.slots,
        reply_bytes: answer.reply_bytes_max,
        window_bytes: answer.window_bytes,
        first_turn: match answer.first_turn() {
            pb::FirstTurn::Acceptor => FirstTurn::Acceptor,
            pb::FirstTurn::Initiator | pb::FirstTurn::Unspecified | pb::FirstTurn::AcceptorChooses => {
                FirstTurn::Initiator
            }
        },
        services: answer.services.iter().map(grant).collect(),
    })
}

fn grant(answer: &pb::ServiceGrant) -> ServiceGrant {
    let result = if answer.granted {
        Grant::Granted
    } else {
        Grant::Refused(Reason::from_name(&answer.reason).unwrap_or(Reason::ServiceNotGranted))
    };
    ServiceGrant { name: answer.name.clone(), result }
}

pub(crate) fn positive(duration: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero())
}

fn request(offer: &Offer, nonce: Nonce, client: &str) -> OpenRequest {
    let duration =
        |duration: Option<Duration>| duration.and_then(|d| prost_types::Duration::try_from(d).ok());
    let units = |units: Units| units.iter().map(|unit| i32::from(unit.number())).collect();
    OpenRequest {
        nonce: nonce.0.to_vec().into(),
        versions: offer.versions.clone(),
        units: units(offer.units),
        required_units: units(offer.required),
        lease: duration(offer.lease),
        linger: duration(offer.linger),
        slots: offer.slots.unwrap_or_default(),
        reply_bytes_max: offer.reply_bytes.unwrap_or_default(),
        window_bytes: offer.window_bytes.unwrap_or_default(),
        services: offer.services.iter().map(service).collect(),
        first_turn: match offer.first_turn {
            FirstTurnProposal::Fixed(FirstTurn::Initiator) => pb::FirstTurn::Initiator,
            FirstTurnProposal::Fixed(FirstTurn::Acceptor) => pb::FirstTurn::Acceptor,
            FirstTurnProposal::AcceptorChooses => pb::FirstTurn::AcceptorChooses,
        }
        .into(),
        slots_min: offer.slots_min.unwrap_or_default(),
        lease_min: duration(offer.lease_min),
        linger_min: duration(offer.linger_min),
        client: client.to_owned(),
    }
}

fn service(request: &ServiceRequest) -> pb::ServiceRequest {
    pb::ServiceRequest {
        name: request.name.clone(),
        version: request.version,
        policy_hash: request.policy_hash,
    }
}

/// `units` with those that the declared methods can use.
pub(crate) fn usable(policies: &Policies, units: Units) -> Units {
    let methods = policies.services().iter().flat_map(|service| service.methods);
    let streams = methods.filter(|method| method.checkpoint.is_some());
    streams.fold(units, |units, method| {
        let dialog: &[Unit] = if method.dialog { &DIALOG_UNITS } else { &[] };
        let turns: &[Unit] = if method.half_duplex { &TURN_UNITS } else { &[] };
        STREAM_UNITS.iter().chain(dialog).chain(turns).copied().fold(units, Units::with)
    })
}

/// What a program needs of each service that it declares.
pub(crate) fn needed(policies: &Policies) -> Vec<ServiceRequest> {
    let needed = |policy: &&'static rpc_core::policy::ServicePolicy| ServiceRequest {
        name: policy.name.to_owned(),
        version: policy.version,
        policy_hash: policy.hash,
    };
    policies.services().iter().map(needed).collect()
}

#[cfg(test)]
mod tests {
    use rpc_core::policy::{Checkpoint, Delivery, MethodKind, MethodPolicy, Secure, ServicePolicy};

    use super::*;

    const EVERY: Checkpoint =
        Checkpoint { every_messages: Some(1), every_bytes: None, every: None, secure: Secure::Automatic };
    const CALL: MethodPolicy = MethodPolicy {
        delivery: Delivery::AtMostOnce,
        ..MethodPolicy::plain("/s.S/Call", MethodKind::Bidirectional)
    };
    const UPLOAD: MethodPolicy = MethodPolicy {
        checkpoint: Some(EVERY),
        ..MethodPolicy::plain("/s.S/Upload", MethodKind::ClientStreaming)
    };
    const TALK: MethodPolicy = MethodPolicy {
        checkpoint: Some(EVERY),
        dialog: true,
        ..MethodPolicy::plain("/s.S/Talk", MethodKind::Bidirectional)
    };
    const IN_TURN: MethodPolicy = MethodPolicy { half_duplex: true, ..TALK };

    fn service(methods: &'static [MethodPolicy]) -> Policies {
        Policies::new(vec![Box::leak(Box::new(ServicePolicy { name: "s.S", version: 0, hash: 0, methods }))])
    }

    #[test]
    fn what_declared_methods_can_use_is_proposed_and_nothing_else() {
        let base = Offer::default().units;
        let added = |methods| usable(&service(methods), base).except(base).iter().collect::<Vec<_>>();
        assert_eq!(added(&[CALL]), []);
        let stream = [Unit::Resume, Unit::Durable, Unit::MinorSynchronize, Unit::Activity];
        assert_eq!(added(&[UPLOAD]), stream);
        let dialog = [
            Unit::Resume,
            Unit::Durable,
            Unit::TypedData,
            Unit::ExpeditedData,
            Unit::MinorSynchronize,
            Unit::MajorSynchronize,
            Unit::Resynchronize,
            Unit::Activity,
        ];
        assert_eq!(added(&[CALL, TALK]), dialog);
        // All but what costs something unasked, or excludes another.
        let left = [Unit::Digest, Unit::DataSeparation, Unit::NegotiatedRelease];
        let all = Units::ALL.except(base).except(left.into_iter().collect());
        assert_eq!(added(&[UPLOAD, TALK, IN_TURN]), all.iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_answer_with_other_units_than_were_proposed_is_none() {
        let offer = Offer { required: Units::KERNEL.with(Unit::ExactlyOnce), ..Offer::default() };
        assert_eq!(check_units(&offer, offer.units), Ok(()));
        assert_eq!(check_units(&offer, offer.required), Ok(()));
        let more = offer.units.with(Unit::Digest);
        assert_eq!(check_units(&offer, more), Err("a unit is on that was not proposed"));
        assert_eq!(check_units(&offer, Units::KERNEL), Err("a required unit is off"));
    }
}
