//! `Open` on the wire: the proposal read, the agreement written.

use std::collections::BTreeSet;

use rpc_core::error::Reason;
use rpc_core::id::Nonce;
use rpc_core::negotiate::{FirstTurn, FirstTurnProposal, Grant, Offer, ServiceRequest, Unit, Units};
use rpc_proto::pb::session::v1::{self as pb, OpenRequest, OpenResponse, ServiceGrant};
use rpc_proto::status::Refusal;

use super::{TEXT_BYTES_MAX, wire};
use crate::sessions::OpenSession;

/// Entries of `versions`, `units` and `required_units`.
const LIST_MAX: usize = 64;
/// Services asked for at once.
const SERVICES_MAX: usize = 256;
/// Bytes of a service's name.
const NAME_BYTES_MAX: usize = 255;

/// Reads a proposal.
//= O-1
//= O-11
pub(super) fn parse(request: OpenRequest) -> Result<(Nonce, Offer), Refusal> {
    let first_turn = first_turn(request.first_turn)?;
    let nonce = <[u8; Nonce::BYTES]>::try_from(&*request.nonce)
        .map_err(|_| invalid(format!("nonce has {} bytes, not {}", request.nonce.len(), Nonce::BYTES)))?;
    at_most("client", request.client.len(), TEXT_BYTES_MAX)?;
    at_most("versions", request.versions.len(), LIST_MAX)?;
    at_most("units", request.units.len(), LIST_MAX)?;
    at_most("required_units", request.required_units.len(), LIST_MAX)?;
    at_most("services", request.services.len(), SERVICES_MAX)?;
    let offer = Offer {
        versions: if request.versions.is_empty() { vec![1] } else { request.versions },
        units: units(&request.units),
        required: required_units(&request.required_units)?,
        lease: wire::optional_duration("lease", request.lease)?,
        lease_min: wire::optional_duration("lease_min", request.lease_min)?,
        linger: wire::optional_duration("linger", request.linger)?,
        linger_min: wire::optional_duration("linger_min", request.linger_min)?,
        slots: (request.slots != 0).then_some(request.slots),
        slots_min: (request.slots_min != 0).then_some(request.slots_min),
        reply_bytes: (request.reply_bytes_max != 0).then_some(request.reply_bytes_max),
        window_bytes: (request.window_bytes != 0).then_some(request.window_bytes),
        services: services(request.services)?,
        first_turn,
    };
    Ok((Nonce(nonce), offer))
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(Reason::FieldInvalid, text)
}

fn at_most(field: &str, size: usize, max: usize) -> Result<(), Refusal> {
    if size > max { Err(invalid(format!("{field} has size {size}, {max} is the bound"))) } else { Ok(()) }
}

/// Units that this version does not know are never on, so wanting them is harmless.
fn units(numbers: &[i32]) -> Units {
    numbers.iter().filter_map(|number| Unit::from_number(*number)).collect()
}

/// Units that this version does not know cannot be had.
fn required_units(numbers: &[i32]) -> Result<Units, Refusal> {
    match numbers.iter().find(|number| Unit::from_number(**number).is_none()) {
        Some(number) => {
            Err(Refusal::new(Reason::UnitUnsupported, format!("required unit {number} is not known here")))
        }
        None => Ok(units(numbers)),
    }
}

fn first_turn(number: i32) -> Result<FirstTurnProposal, Refusal> {
    match pb::FirstTurn::try_from(number) {
        Ok(pb::FirstTurn::Unspecified | pb::FirstTurn::Initiator) => {
            Ok(FirstTurnProposal::Fixed(FirstTurn::Initiator))
        }
        Ok(pb::FirstTurn::Acceptor) => Ok(FirstTurnProposal::Fixed(FirstTurn::Acceptor)),
        Ok(pb::FirstTurn::AcceptorChooses) => Ok(FirstTurnProposal::AcceptorChooses),
        Err(_) => Err(invalid(format!("first_turn {number} is not known here"))),
    }
}

fn services(requests: Vec<pb::ServiceRequest>) -> Result<Vec<ServiceRequest>, Refusal> {
    let mut names = BTreeSet::new();
    for request in &requests {
        if request.name.is_empty() || request.name.len() > NAME_BYTES_MAX {
            return Err(invalid(format!("a service's name has {} bytes", request.name.len())));
        }
        if !names.insert(&request.name) {
            return Err(invalid("a service is named twice"));
        }
    }
    Ok(requests
        .into_iter()
        .map(|pb::ServiceRequest { name, version, policy_hash }| ServiceRequest {
            name,
            version,
            policy_hash,
        })
        .collect())
}

/// Writes an agreement.
//= O-12
pub(super) fn answer(opened: &OpenSession, authority: Option<prost_types::Duration>) -> OpenResponse {
    let agreement = opened.live.agreement();
    OpenResponse {
        number: opened.live.id().value(),
        ticket: opened.ticket.0.to_vec().into(),
        epoch: opened.live.with(|session, _| session.epoch()).0,
        version: agreement.version,
        units: agreement.units.iter().map(|unit| i32::from(unit.number())).collect(),
        lease: Some(wire::duration(agreement.lease)),
        linger: Some(wire::duration(agreement.linger)),
        slots: agreement.slots,
        reply_bytes_max: agreement.reply_bytes,
        window_bytes: agreement.window_bytes,
        services: agreement.services.iter().map(grant).collect(),
        first_turn: match agreement.first_turn {
            FirstTurn::Initiator => pb::FirstTurn::Initiator.into(),
            FirstTurn::Acceptor => pb::FirstTurn::Acceptor.into(),
        },
        authority,
        existing: opened.existing,
    }
}

fn grant(grant: &rpc_core::negotiate::ServiceGrant) -> ServiceGrant {
    let (granted, reason) = match grant.result {
        Grant::Granted => (true, String::new()),
        Grant::Refused(reason) => (false, reason.name().to_owned()),
    };
    ServiceGrant { name: grant.name.clone(), granted, reason }
}

#[cfg(test)]
mod tests {
    use rpc_proto::status::Details;

    use super::*;

    fn request() -> OpenRequest {
        OpenRequest { nonce: vec![7; 16].into(), ..OpenRequest::default() }
    }

    fn refused(change: impl FnOnce(&mut OpenRequest)) -> Reason {
        let mut request = request();
        change(&mut request);
        Details::of(&parse(request).unwrap_err().into_status()).reason.unwrap()
    }

    fn service(name: &str) -> pb::ServiceRequest {
        pb::ServiceRequest { name: name.into(), ..Default::default() }
    }

    #[test]
    fn what_is_unset_is_left_to_the_acceptor() {
        let (nonce, offer) = parse(request()).unwrap();
        assert_eq!(nonce, Nonce([7; 16]));
        assert_eq!(offer, Offer { units: Units::KERNEL, ..Offer::default() });
    }

    //= test O-1
    //= test O-11
    #[test]
    fn a_proposal_that_is_not_well_formed_is_refused() {
        assert_eq!(refused(|request| request.nonce = vec![7; 15].into()), Reason::FieldInvalid);
        assert_eq!(refused(|request| request.nonce = vec![7; 17].into()), Reason::FieldInvalid);
        assert_eq!(refused(|request| request.client = "x".repeat(129)), Reason::FieldInvalid);
        assert_eq!(refused(|request| request.versions = vec![1; 65]), Reason::FieldInvalid);
        assert_eq!(refused(|request| request.units = vec![1; 65]), Reason::FieldInvalid);
        assert_eq!(refused(|request| request.required_units = vec![1; 65]), Reason::FieldInvalid);
        assert_eq!(refused(|request| request.required_units = vec![99]), Reason::UnitUnsupported);
        assert_eq!(refused(|request| request.first_turn = 9), Reason::FieldInvalid);
        assert_eq!(refused(|request| request.services = vec![service("")]), Reason::FieldInvalid);
        assert_eq!(
            refused(|request| request.services = vec![service(&"x".repeat(256))]),
            Reason::FieldInvalid
        );
        assert_eq!(refused(|request| request.services = vec![service("a"); 2]), Reason::FieldInvalid);
        let many = (0..257).map(|n| service(&n.to_string())).collect();
        assert_eq!(refused(|request| request.services = many), Reason::FieldInvalid);
        let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        assert_eq!(refused(|request| request.linger_min = negative), Reason::FieldInvalid);
    }

    #[test]
    fn wanted_units_that_nobody_knows_are_off() {
        let (_, offer) = parse(OpenRequest { units: vec![1, 99, 0, -3], ..request() }).unwrap();
        assert_eq!(offer.units, Units::from_iter([Unit::ExactlyOnce]));
    }
}
