//! The bytes of a saved session.
//!
//! Numbers are little-endian. A *text* is its length in bytes as `u16`, and as many bytes of UTF-8. A *duration* is its
//! seconds as `u64` and its nanoseconds as `u32`.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `rpcsaved` |
//! | 4 | format, `u32`: 1 |
//! | 8 | number of the session, `u64` |
//! | 8 | epoch, `u64` |
//! | 32 | ticket in use |
//! | 1 | 1 if there is a ticket before it, else 0 |
//! | 32 | the ticket before it, or zeros |
//! | text | target |
//! | 4 | protocol version, `u32` |
//! | 4 | units, `u32`: bit *n* for the unit with the number *n* |
//! | 12 | lease, a duration |
//! | 12 | linger, a duration |
//! | 4 | slots, `u32` |
//! | 4 | largest reply, `u32` |
//! | 8 | window, `u64` |
//! | 1 | who begins: 0 the initiator, 1 the acceptor |
//! | 2 | granted services, `u16`: as many texts follow |
//! | 2 | compared services, `u16`: as many texts follow, each with version, `u32`, and policy hash, `u64` |
//! | 4 | CRC-32C of all bytes before it, `u32` |

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, TryGetError};
use rpc_core::checksum::crc32c;
use rpc_core::id::{Epoch, SessionId, Ticket};
use rpc_core::negotiate::{Agreement, FirstTurn, Grant, ServiceGrant, ServiceRequest, Unit, Units};

use super::{SavedError, SavedSession, Tickets};
use crate::open::SLOTS_MAX;

const MAGIC: &[u8; 8] = b"rpcsaved";
const FORMAT: u32 = 1;
const CHECKSUM_BYTES: usize = 4;

pub(super) fn encode(saved: &SavedSession) -> Vec<u8> {
    let SavedSession { target, number, epoch, tickets, agreement, services } = saved;
    let mut out = Vec::with_capacity(512);
    out.put_slice(MAGIC);
    out.put_u32_le(FORMAT);
    out.put_u64_le(number.value());
    out.put_u64_le(epoch.0);
    out.put_slice(&tickets.current.0);
    out.put_u8(u8::from(tickets.previous.is_some()));
    out.put_slice(&tickets.previous.as_ref().map_or([0; Ticket::BYTES], |ticket| ticket.0));
    put_text(&mut out, target);
    put_agreement(&mut out, agreement);
    put_count(&mut out, services.len());
    for ServiceRequest { name, version, policy_hash } in services.iter().take(usize::from(u16::MAX)) {
        put_text(&mut out, name);
        out.put_u32_le(*version);
        out.put_u64_le(*policy_hash);
    }
    let checksum = crc32c(&out);
    out.put_u32_le(checksum);
    out
}

fn put_agreement(out: &mut Vec<u8>, agreement: &Agreement) {
    out.put_u32_le(agreement.version);
    out.put_u32_le(unit_bits(agreement.units));
    for duration in [agreement.lease, agreement.linger] {
        out.put_u64_le(duration.as_secs());
        out.put_u32_le(duration.subsec_nanos());
    }
    out.put_u32_le(agreement.slots);
    out.put_u32_le(agreement.reply_bytes);
    out.put_u64_le(agreement.window_bytes);
    out.put_u8(match agreement.first_turn {
        FirstTurn::Initiator => 0,
        FirstTurn::Acceptor => 1,
    });
    let granted: Vec<_> = agreement.services.iter().filter(|grant| grant.result == Grant::Granted).collect();
    put_count(out, granted.len());
    granted.iter().take(usize::from(u16::MAX)).for_each(|grant| put_text(out, &grant.name));
}

/// No opening names more services than this holds (O-11).
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u16_le(u16::try_from(count).unwrap_or(u16::MAX));
}

/// A name is of at most 255 bytes (O-11), an authority of a few hundred; what is longer is cut off, and fits no target.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

pub(super) fn decode(bytes: &[u8]) -> Result<SavedSession, SavedError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(SavedError::NotASession)?;
    // The format first: another one may be checked in another way.
    let format = rest.try_get_u32_le().map_err(damaged)?;
    if format != FORMAT {
        return Err(SavedError::Version { found: format });
    }
    let (checked, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(SavedError::Damaged)?;
    if crc32c(checked) != u32::from_le_bytes(*checksum) {
        return Err(SavedError::Damaged);
    }
    let mut rest = rest.strip_suffix(checksum).ok_or(SavedError::Damaged)?;
    let saved = take_session(&mut rest)?;
    if rest.is_empty() { Ok(saved) } else { Err(SavedError::Damaged) }
}

fn take_session(from: &mut &[u8]) -> Result<SavedSession, SavedError> {
    let number = SessionId::new(from.try_get_u64_le().map_err(damaged)?).ok_or(SavedError::Damaged)?;
    let epoch = Epoch(from.try_get_u64_le().map_err(damaged)?);
    let current = take_ticket(from)?;
    let previous = match (from.try_get_u8().map_err(damaged)?, take_ticket(from)?) {
        (0, Ticket(bytes)) if bytes == [0; Ticket::BYTES] => None,
        (1, previous) => Some(previous),
        _ => return Err(SavedError::Damaged),
    };
    let tickets = Tickets { current, previous };
    let target = take_text(from)?;
    let agreement = take_agreement(from)?;
    let services = take_many(from, |from| {
        let name = take_text(from)?;
        let version = from.try_get_u32_le().map_err(damaged)?;
        let policy_hash = from.try_get_u64_le().map_err(damaged)?;
        Ok(ServiceRequest { name, version, policy_hash })
    })?;
    Ok(SavedSession { target, number, epoch, tickets, agreement, services })
}

fn take_agreement(from: &mut &[u8]) -> Result<Agreement, SavedError> {
    let version = from.try_get_u32_le().map_err(damaged)?;
    let units = take_units(from)?;
    let lease = take_duration(from)?;
    let linger = take_duration(from)?;
    let slots = from.try_get_u32_le().map_err(damaged)?;
    if lease.is_zero() || !(1..=SLOTS_MAX).contains(&slots) {
        return Err(SavedError::Damaged);
    }
    Ok(Agreement {
        version,
        units,
        lease,
        linger,
        slots,
        reply_bytes: from.try_get_u32_le().map_err(damaged)?,
        window_bytes: from.try_get_u64_le().map_err(damaged)?,
        first_turn: match from.try_get_u8().map_err(damaged)? {
            0 => FirstTurn::Initiator,
            1 => FirstTurn::Acceptor,
            _ => return Err(SavedError::Damaged),
        },
        services: take_many(from, |from| {
            Ok(ServiceGrant { name: take_text(from)?, result: Grant::Granted })
        })?,
    })
}

/// A bit that names no unit is damage: without the unit the session would not be what was agreed.
fn take_units(from: &mut &[u8]) -> Result<Units, SavedError> {
    let bits = from.try_get_u32_le().map_err(damaged)?;
    let units = Units::from_iter(Unit::ALL.into_iter().filter(|unit| bits >> unit.number() & 1 == 1));
    if unit_bits(units) == bits { Ok(units) } else { Err(SavedError::Damaged) }
}

fn unit_bits(units: Units) -> u32 {
    units.iter().fold(0, |bits, unit| bits | 1 << unit.number())
}

fn take_ticket(from: &mut &[u8]) -> Result<Ticket, SavedError> {
    let (ticket, rest) = from.split_first_chunk().ok_or(SavedError::Damaged)?;
    *from = rest;
    Ok(Ticket(*ticket))
}

fn take_text(from: &mut &[u8]) -> Result<String, SavedError> {
    let length = from.try_get_u16_le().map_err(damaged)?;
    let (text, rest) = from.split_at_checked(usize::from(length)).ok_or(SavedError::Damaged)?;
    *from = rest;
    String::from_utf8(text.to_vec()).map_err(|_| SavedError::Damaged)
}

fn take_duration(from: &mut &[u8]) -> Result<Duration, SavedError> {
    let seconds = from.try_get_u64_le().map_err(damaged)?;
    let nanos = from.try_get_u32_le().map_err(damaged)?;
    if nanos < 1_000_000_000 { Ok(Duration::new(seconds, nanos)) } else { Err(SavedError::Damaged) }
}

fn take_many<T>(
    from: &mut &[u8],
    take: impl Fn(&mut &[u8]) -> Result<T, SavedError>,
) -> Result<Vec<T>, SavedError> {
    let count = from.try_get_u16_le().map_err(damaged)?;
    (0..count).map(|_| take(from)).collect()
}

fn damaged(_: TryGetError) -> SavedError {
    SavedError::Damaged
}
