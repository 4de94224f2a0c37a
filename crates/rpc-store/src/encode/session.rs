//! The records of sessions: one that lives, and what is remembered of one that has ended.

use std::sync::Arc;

use rpc_core::error::Reason;
use rpc_core::id::{Epoch, Nonce, SessionId, TicketHash};
use rpc_core::negotiate::{Agreement, FirstTurn, Grant, ServiceGrant, Unit, Units};
use rpc_core::principal::Principal;
use rpc_core::record::{End, Receipt, SessionRecord, Summary, TicketHashes, Tombstone};
use rpc_core::store::Stored;
use rpc_core::stream::position::Position;

use super::cursor::{FieldReader, FieldWriter};
use super::{DecodeError, EncodeError, Kind, open, seal, session_key};

pub(crate) fn encode_live(
    session: SessionId,
    epoch: Epoch,
    record: &SessionRecord,
) -> Result<Vec<u8>, EncodeError> {
    // A record that gains a field does not compile here until the format has a place for it.
    let SessionRecord { principal, nonce, agreement, tickets, authority_unix_s, scopes } = record;
    let mut fields = FieldWriter::default();
    fields.u64(epoch.0);
    write_principal(&mut fields, principal)?;
    fields.raw(&nonce.0);
    write_tickets(&mut fields, tickets);
    fields.u8(u8::from(authority_unix_s.is_some()));
    if let Some(seconds) = authority_unix_s {
        fields.u64(*seconds);
    }
    fields.length("scopes", scopes.len())?;
    for scope in &**scopes {
        fields.text("scope", scope)?;
    }
    write_agreement(&mut fields, agreement)?;
    seal(&session_key(session), Kind::Live, &fields.into_bytes())
}

pub(crate) fn encode_ended(
    session: SessionId,
    epoch: Epoch,
    tombstone: &Tombstone,
) -> Result<Vec<u8>, EncodeError> {
    let Tombstone { principal, nonce, end, receipt } = tombstone;
    let mut fields = FieldWriter::default();
    fields.u64(epoch.0);
    write_principal(&mut fields, principal)?;
    fields.raw(&nonce.0);
    fields.u8(match (end, receipt) {
        (End::Released, None) => 1,
        (End::Aborted, _) => 2,
        (End::Expired, _) => 3,
        (End::Released, Some(_)) => 4,
    });
    if let (End::Released, Some(receipt)) = (end, receipt) {
        write_receipt(&mut fields, receipt);
    }
    seal(&session_key(session), Kind::Ended, &fields.into_bytes())
}

fn write_receipt(fields: &mut FieldWriter, receipt: &Receipt) {
    let Receipt { tickets, summary } = receipt;
    let Summary { calls, done, failed, unknown, requests, responses } = *summary;
    write_tickets(fields, tickets);
    for count in [calls, done, failed, unknown] {
        fields.u64(count);
    }
    for Position { messages, bytes } in [requests, responses] {
        fields.u64(messages);
        fields.u64(bytes);
    }
}

fn read_receipt(fields: &mut FieldReader<'_>) -> Result<Receipt, DecodeError> {
    let tickets = read_tickets(fields)?;
    let mut count = |field| fields.u64(field);
    let summary = Summary {
        calls: count("calls")?,
        done: count("calls done")?,
        failed: count("calls failed")?,
        unknown: count("calls unknown")?,
        requests: Position { messages: count("requests")?, bytes: count("request bytes")? },
        responses: Position { messages: count("responses")?, bytes: count("response bytes")? },
    };
    Ok(Receipt { tickets, summary })
}

fn write_tickets(fields: &mut FieldWriter, tickets: &TicketHashes) {
    fields.raw(&tickets.current.0);
    fields.u8(u8::from(tickets.pending.is_some()));
    if let Some(pending) = &tickets.pending {
        fields.raw(&pending.0);
    }
}

fn read_tickets(fields: &mut FieldReader<'_>) -> Result<TicketHashes, DecodeError> {
    Ok(TicketHashes {
        current: TicketHash(fields.raw("current ticket")?),
        pending: match fields.presence("pending ticket")? {
            true => Some(Box::new(TicketHash(fields.raw("pending ticket")?))),
            false => None,
        },
    })
}

/// Whether a session lives, and under which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Live(Epoch),
    Ended(Epoch),
}

/// What the writes of a session rest on, without the rest of its record. The checksum is verified.
pub(crate) fn decode_life(session: SessionId, value: &[u8]) -> Result<Life, DecodeError> {
    let (kind, body) = open(&session_key(session), value)?;
    read_life(kind, &mut FieldReader::new(body))
}

/// The session without what its slots remember: those are records of their own.
pub(crate) fn decode_session(session: SessionId, value: &[u8]) -> Result<Stored, DecodeError> {
    let (kind, body) = open(&session_key(session), value)?;
    let mut fields = FieldReader::new(body);
    let stored = match read_life(kind, &mut fields)? {
        Life::Live(epoch) => Stored::Live(epoch, Arc::new(read_record(&mut fields)?), Vec::new()),
        Life::Ended(epoch) => Stored::Ended(epoch, Box::new(read_tombstone(&mut fields)?)),
    };
    fields.finish()?;
    Ok(stored)
}

fn read_life(kind: Kind, fields: &mut FieldReader<'_>) -> Result<Life, DecodeError> {
    let epoch = Epoch(fields.u64("epoch")?);
    match kind {
        Kind::Live => Ok(Life::Live(epoch)),
        Kind::Ended => Ok(Life::Ended(epoch)),
        Kind::Header | Kind::Counter | Kind::Slot | Kind::Activity | Kind::Value => {
            Err(DecodeError::Field("kind"))
        }
    }
}

fn read_record(fields: &mut FieldReader<'_>) -> Result<SessionRecord, DecodeError> {
    Ok(SessionRecord {
        principal: read_principal(fields)?,
        nonce: Nonce(fields.raw("nonce")?),
        tickets: read_tickets(fields)?,
        authority_unix_s: match fields.presence("authority")? {
            true => Some(fields.u64("authority")?),
            false => None,
        },
        scopes: read_scopes(fields)?,
        agreement: Arc::new(read_agreement(fields)?),
    })
}

fn read_tombstone(fields: &mut FieldReader<'_>) -> Result<Tombstone, DecodeError> {
    let principal = read_principal(fields)?;
    let nonce = Nonce(fields.raw("nonce")?);
    let (end, receipt) = match fields.u8("end")? {
        // By a version that kept no answers.
        1 => (End::Released, None),
        2 => (End::Aborted, None),
        3 => (End::Expired, None),
        4 => (End::Released, Some(Box::new(read_receipt(fields)?))),
        _ => return Err(DecodeError::Field("end")),
    };
    Ok(Tombstone { principal, nonce, end, receipt })
}

fn write_principal(fields: &mut FieldWriter, principal: &Principal) -> Result<(), EncodeError> {
    fields.text("issuer", principal.issuer())?;
    fields.text("subject", principal.subject())
}

fn read_principal(fields: &mut FieldReader<'_>) -> Result<Principal, DecodeError> {
    Ok(Principal::new(fields.text("issuer")?, fields.text("subject")?))
}

fn read_scopes(fields: &mut FieldReader<'_>) -> Result<Arc<[Box<str>]>, DecodeError> {
    let count = fields.length("scopes")?;
    (0..count).map(|_| fields.text("scope").map(Box::from)).collect()
}

fn write_agreement(fields: &mut FieldWriter, agreement: &Agreement) -> Result<(), EncodeError> {
    let Agreement { version, units, lease, linger, slots, reply_bytes, window_bytes, first_turn, services } =
        agreement;
    fields.u32(*version);
    fields.u32(units.iter().fold(0, |bits, unit| bits | 1 << unit.number()));
    fields.duration(*lease);
    fields.duration(*linger);
    fields.u32(*slots);
    fields.u32(*reply_bytes);
    fields.u64(*window_bytes);
    fields.u8(match first_turn {
        FirstTurn::Initiator => 0,
        FirstTurn::Acceptor => 1,
    });
    fields.length("services", services.len())?;
    for ServiceGrant { name, result } in services {
        fields.text("service", name)?;
        match result {
            Grant::Granted => fields.u8(0),
            Grant::Refused(reason) => {
                fields.u8(1);
                // By name: the name is stable, the place in the enum is not.
                fields.text("reason", reason.name())?;
            }
        }
    }
    Ok(())
}

fn read_agreement(fields: &mut FieldReader<'_>) -> Result<Agreement, DecodeError> {
    Ok(Agreement {
        version: fields.u32("version")?,
        units: read_units(fields)?,
        lease: fields.duration("lease")?,
        linger: fields.duration("linger")?,
        slots: fields.u32("slots")?,
        reply_bytes: fields.u32("reply bytes")?,
        window_bytes: fields.u64("window bytes")?,
        first_turn: match fields.u8("first turn")? {
            0 => FirstTurn::Initiator,
            1 => FirstTurn::Acceptor,
            _ => return Err(DecodeError::Field("first turn")),
        },
        services: read_services(fields)?,
    })
}

/// Bit n is the unit with the number n. A bit that names no unit is an error: to drop a unit would change what the
/// session was promised.
fn read_units(fields: &mut FieldReader<'_>) -> Result<Units, DecodeError> {
    let bits = fields.u32("units")?;
    (0..32)
        .filter(|number| bits & (1 << number) != 0)
        .map(|number| Unit::from_number(number).ok_or(DecodeError::Field("units")))
        .collect()
}

fn read_services(fields: &mut FieldReader<'_>) -> Result<Vec<ServiceGrant>, DecodeError> {
    let count = fields.length("services")?;
    (0..count)
        .map(|_| {
            let name = fields.text("service")?.to_owned();
            let result = match fields.presence("grant")? {
                false => Grant::Granted,
                true => {
                    let reason = Reason::from_name(fields.text("reason")?);
                    Grant::Refused(reason.ok_or(DecodeError::Field("reason"))?)
                }
            };
            Ok(ServiceGrant { name, result })
        })
        .collect()
}
