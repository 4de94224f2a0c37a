//! Frames and positions, message by message.

use bytes::Bytes;
use rpc_core::frame::{At, Credit, Frame, Head, PointKind, Received, STATE_BYTES_MAX, SyncAck, SyncPoint};
use rpc_core::stream::digest::Digest;
use rpc_core::stream::position::{Generation, Position, Serial};

use super::{Malformed, dialog};
use crate::pb::session::v1::control_frame::{self as wire, Frame as Kind, head};
use crate::pb::session::v1::{self as pb, ControlFrame};

pub(super) fn to_wire(frame: &Frame) -> ControlFrame {
    let kind = match frame {
        Frame::Head(Head { entries }) => {
            let entries = entries.iter().cloned().map(|(name, value)| head::Entry { name, value }).collect();
            Kind::Head(wire::Head { entries })
        }
        Frame::At(At { generation, position, crc }) => Kind::At(wire::At {
            generation: generation.0,
            position: Some(position_to_wire(*position)),
            crc32c: *crc,
        }),
        Frame::Received(received) => Kind::Received(received_to_wire(received)),
        Frame::Sync(SyncPoint { serial, position, digest, state, kind }) => Kind::Sync(wire::Sync {
            serial: serial.0,
            position: Some(position_to_wire(*position)),
            crc32c: digest.crc,
            blake3: blake3_to_wire(digest.blake3),
            state: state.clone(),
            kind: point_kind_to_wire(*kind).into(),
        }),
        Frame::SyncAck(SyncAck { serial, state }) => {
            Kind::SyncAck(wire::SyncAck { serial: serial.0, state: state.clone() })
        }
        Frame::Credit(Credit { received, limit }) => Kind::Credit(wire::Credit {
            received: Some(position_to_wire(*received)),
            limit: Some(position_to_wire(*limit)),
        }),
        Frame::Keepalive => Kind::Keepalive(wire::Alive {}),
        Frame::Cancel => Kind::Cancel(wire::Cancel {}),
        Frame::End(position) => Kind::End(wire::End { position: Some(position_to_wire(*position)) }),
        Frame::Dialog(numbered) => Kind::Dialog(dialog::numbered_to_wire(numbered)),
        Frame::DialogAck(ack) => Kind::DialogAck(dialog::ack_to_wire(ack)),
    };
    ControlFrame { frame: Some(kind) }
}

pub(super) fn from_wire(kind: Kind) -> Result<Frame, Malformed> {
    Ok(match kind {
        Kind::Head(wire::Head { entries }) => {
            let head = Head {
                entries: entries.into_iter().map(|head::Entry { name, value }| (name, value)).collect(),
            };
            if !head.fits() {
                return Err(Malformed("HEAD"));
            }
            Frame::Head(head)
        }
        Kind::At(wire::At { generation, position, crc32c }) => Frame::At(At {
            generation: Generation(generation),
            position: position_from_wire(position)?,
            crc: crc32c,
        }),
        Kind::Received(received) => Frame::Received(received_from_wire(received)?),
        Kind::Sync(wire::Sync { serial, position, crc32c, blake3, state, kind }) => Frame::Sync(SyncPoint {
            serial: serial_from_wire(serial)?,
            position: position_from_wire(position)?,
            digest: Digest { crc: crc32c, blake3: blake3_from_wire(&blake3)? },
            state: state_from_wire(state)?,
            kind: point_kind_from_wire(kind)?,
        }),
        Kind::SyncAck(wire::SyncAck { serial, state }) => {
            Frame::SyncAck(SyncAck { serial: serial_from_wire(serial)?, state: state_from_wire(state)? })
        }
        Kind::Credit(wire::Credit { received, limit }) => Frame::Credit(Credit {
            received: position_from_wire(received)?,
            limit: position_from_wire(limit)?,
        }),
        Kind::Keepalive(wire::Alive {}) => Frame::Keepalive,
        Kind::Cancel(wire::Cancel {}) => Frame::Cancel,
        Kind::End(wire::End { position }) => Frame::End(position_from_wire(position)?),
        Kind::Dialog(numbered) => Frame::Dialog(dialog::numbered_from_wire(numbered)?),
        Kind::DialogAck(ack) => Frame::DialogAck(dialog::ack_from_wire(ack)?),
    })
}

fn point_kind_to_wire(kind: PointKind) -> wire::sync::Kind {
    match kind {
        PointKind::Minor => wire::sync::Kind::Minor,
        PointKind::Separating => wire::sync::Kind::Separating,
        PointKind::Major => wire::sync::Kind::Major,
        PointKind::MajorAnswer => wire::sync::Kind::MajorAnswer,
    }
}

fn point_kind_from_wire(kind: i32) -> Result<PointKind, Malformed> {
    Ok(match wire::sync::Kind::try_from(kind).map_err(|_| Malformed("kind of a sync point"))? {
        wire::sync::Kind::Minor => PointKind::Minor,
        wire::sync::Kind::Separating => PointKind::Separating,
        wire::sync::Kind::Major => PointKind::Major,
        wire::sync::Kind::MajorAnswer => PointKind::MajorAnswer,
    })
}

pub(super) fn position_to_wire(Position { messages, bytes }: Position) -> pb::Position {
    pb::Position { messages, bytes }
}

pub(super) fn position_from_wire(position: Option<pb::Position>) -> Result<Position, Malformed> {
    let pb::Position { messages, bytes } = position.ok_or(Malformed("position"))?;
    Ok(Position { messages, bytes })
}

pub(super) fn received_to_wire(received: &Received) -> wire::Received {
    let Received { generation, position, crc, secured, limit, next } = *received;
    wire::Received {
        generation: generation.0,
        position: Some(position_to_wire(position)),
        crc32c: crc,
        secured: secured.0,
        limit: Some(position_to_wire(limit)),
        next: next.0,
    }
}

pub(super) fn received_from_wire(received: wire::Received) -> Result<Received, Malformed> {
    let wire::Received { generation, position, crc32c, secured, limit, next } = received;
    Ok(Received {
        generation: Generation(generation),
        position: position_from_wire(position)?,
        crc: crc32c,
        secured: Serial(secured),
        limit: position_from_wire(limit)?,
        next: Serial(next),
    })
}

pub(super) fn serial_from_wire(serial: u64) -> Result<Serial, Malformed> {
    if serial == 0 { Err(Malformed("serial")) } else { Ok(Serial(serial)) }
}

pub(super) fn blake3_to_wire(value: Option<[u8; 32]>) -> Bytes {
    value.map_or_else(Bytes::new, |value| Bytes::copy_from_slice(&value))
}

pub(super) fn blake3_from_wire(value: &[u8]) -> Result<Option<[u8; 32]>, Malformed> {
    if value.is_empty() {
        return Ok(None);
    }
    value.try_into().map(Some).map_err(|_| Malformed("digest"))
}

pub(super) fn state_from_wire(state: Bytes) -> Result<Bytes, Malformed> {
    if state.len() > STATE_BYTES_MAX { Err(Malformed("state")) } else { Ok(state) }
}
