//! Control frames in the body of a stream: no frame, one that lacks something, one that cannot be true.

use bytes::{BufMut as _, BytesMut};
use prost::Message as _;
use rpc_core::stream::splitter::CONTROL_KEY;
use rpc_proto::pb::session::v1::control_frame::{self as wire, Frame as Kind};
use rpc_proto::pb::session::v1::{ControlFrame, Position};

use super::*;

/// The handler runs, so what became of it is the answer's to say.
const VIOLATED: Told = told(Reason::ProtocolViolated, Some(Outcome::Unknown));

pub(crate) fn all() -> Vec<Bad> {
    [framing(), incomplete(), impossible(), dialogs()].into_iter().flatten().collect()
}

fn bad(name: &str, body: impl Into<Bytes>) -> Bad {
    let name = format!("body: {name}");
    Bad { name, headers: Vec::new(), base: Base::Frames, path: STORE, body: body.into(), told: VIOLATED }
}

fn message(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes(), bytes].concat()
}

/// These bytes as the content of a control frame.
fn control(bytes: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    let mut field = BytesMut::from(&CONTROL_KEY[..]);
    prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    field.put_slice(bytes);
    framed.put_u8(0);
    framed.put_u32(field.len() as u32);
    framed.put_slice(&field);
    framed.freeze()
}

fn kind(kind: Kind) -> Bytes {
    control(&ControlFrame { frame: Some(kind) }.encode_to_vec())
}

fn at(messages: u64, bytes: u64) -> Option<Position> {
    Some(Position { messages, bytes })
}

fn framing() -> Vec<Bad> {
    let huge = message(u32::MAX, &[]);
    let over = message((4 << 20) + 1, &[0; 10]);
    let good = ControlFrame { frame: Some(Kind::Keepalive(wire::Alive {})) }.encode_to_vec();
    vec![
        bad("a message of 4 GiB", huge),
        bad("a message over the bound", over),
        bad("a frame over the bound", control(&vec![0; 81 << 10])),
        bad("a frame of 200 KiB", control(&vec![0x4a; 200 << 10])),
        bad("a frame of zeros", control(&[0; 10])),
        bad("a frame of ones", control(&[0xff; 20])),
        bad("a frame of text", control(b"hello, server")),
        bad("a frame cut short", control(&[0x12, 0x7f, 0x08])),
        bad(
            "a varint without an end",
            control(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        bad("a wire type that there is not", control(&[0x0f])),
        bad("a field without a number", control(&[0x02, 0x00])),
        bad("END as a number", control(&[0x48, 0x01])),
        bad("the end of a group", control(&[0x0c])),
        bad("a frame and half of another", control(&[&good[..], &[0x4a]].concat())),
    ]
}

/// Frames that parse, and lack what they must have or have too much of it.
fn incomplete() -> Vec<Bad> {
    let sync = wire::Sync { serial: 1, position: at(0, 0), ..wire::Sync::default() };
    let received =
        wire::Received { position: at(0, 0), limit: at(0, 0), next: 1, ..wire::Received::default() };
    let large = Bytes::from(vec![7; (64 << 10) + 1]);
    let entry =
        |name: &'static [u8], value: Vec<u8>| wire::head::Entry { name: name.into(), value: value.into() };
    vec![
        bad("AT without position", kind(Kind::At(wire::At::default()))),
        bad("END without position", kind(Kind::End(wire::End::default()))),
        bad("SYNC without position", kind(Kind::Sync(wire::Sync { position: None, ..sync.clone() }))),
        bad("SYNC without serial", kind(Kind::Sync(wire::Sync { serial: 0, ..sync.clone() }))),
        bad("SYNC of a kind that there is not", kind(Kind::Sync(wire::Sync { kind: 9, ..sync.clone() }))),
        bad("SYNC of a negative kind", kind(Kind::Sync(wire::Sync { kind: -1, ..sync.clone() }))),
        bad(
            "SYNC with half a digest",
            kind(Kind::Sync(wire::Sync { blake3: vec![1; 16].into(), ..sync.clone() })),
        ),
        bad(
            "SYNC with a long digest",
            kind(Kind::Sync(wire::Sync { blake3: vec![1; 33].into(), ..sync.clone() })),
        ),
        bad("SYNC with too much state", kind(Kind::Sync(wire::Sync { state: large.clone(), ..sync }))),
        bad("SYNC_ACK without serial", kind(Kind::SyncAck(wire::SyncAck::default()))),
        bad("SYNC_ACK with too much state", kind(Kind::SyncAck(wire::SyncAck { serial: 1, state: large }))),
        bad("CREDIT without position", kind(Kind::Credit(wire::Credit { received: None, limit: at(9, 9) }))),
        bad("CREDIT without limit", kind(Kind::Credit(wire::Credit { received: at(0, 0), limit: None }))),
        bad("RECEIVED without position", kind(Kind::Received(wire::Received { position: None, ..received }))),
        bad("RECEIVED without limit", kind(Kind::Received(wire::Received { limit: None, ..received }))),
        bad("HEAD to a server", kind(Kind::Head(wire::Head::default()))),
        bad(
            "HEAD with 129 entries",
            kind(Kind::Head(wire::Head { entries: vec![entry(b"a", vec![]); 129] })),
        ),
        bad(
            "HEAD of 20 KiB",
            kind(Kind::Head(wire::Head { entries: vec![entry(b"a", vec![b'x'; 20 << 10])] })),
        ),
    ]
}

/// Whole frames that say what cannot be.
fn impossible() -> Vec<Bad> {
    let first = frame(&chunk(0, PAYLOAD_BYTES));
    let bytes = first.len() as u64;
    let after = |frames: &[Bytes]| [std::slice::from_ref(&first), frames].concat().concat();
    let sync = |serial, position| {
        kind(Kind::Sync(wire::Sync { serial, position, crc32c: 0xdead_beef, ..wire::Sync::default() }))
    };
    let end = |position| kind(Kind::End(wire::End { position }));
    let received = |generation, position, secured, next| {
        let limit = at(1_000, 1 << 20);
        kind(Kind::Received(wire::Received { generation, position, crc32c: 0, secured, limit, next }))
    };
    let credit = |received, limit| kind(Kind::Credit(wire::Credit { received, limit }));
    let mut all = vec![
        bad("END before what came", after(&[end(at(0, 0))])),
        bad("END behind what came", after(&[end(at(2, 2 * bytes))])),
        bad("END within a message", after(&[end(at(1, bytes - 1))])),
        bad("END at the end of numbers", after(&[end(at(u64::MAX, u64::MAX))])),
        bad("a message after END", after(&[end(at(1, bytes)), first.clone()])),
        bad("END again, at another place", after(&[end(at(1, bytes)), end(at(0, 0))])),
        bad("SYNC with a serial left out", after(&[sync(2, at(1, bytes))])),
        bad("SYNC at the end of numbers", after(&[sync(u64::MAX, at(1, bytes))])),
        bad("SYNC at another place", after(&[sync(1, at(0, 0))])),
        bad("SYNC at a place to come", after(&[sync(1, at(9, 9 * bytes))])),
        bad(
            "SYNC_ACK of no point",
            after(&[kind(Kind::SyncAck(wire::SyncAck { serial: 1, state: Bytes::new() }))]),
        ),
        bad(
            "SYNC_ACK at the end of numbers",
            after(&[kind(Kind::SyncAck(wire::SyncAck { serial: u64::MAX, state: Bytes::new() }))]),
        ),
        bad("CREDIT for what was not sent", after(&[credit(at(1, 10), at(1_000, 1 << 20))])),
        bad("CREDIT at the end of numbers", after(&[credit(at(u64::MAX, u64::MAX), at(u64::MAX, u64::MAX))])),
        bad("AT with a gap", kind(Kind::At(wire::At { generation: 0, position: at(1, bytes), crc32c: 0 }))),
        bad(
            "AT of another generation",
            kind(Kind::At(wire::At { generation: 7, position: at(0, 0), crc32c: 0 })),
        ),
        bad("RECEIVED of what was not sent", after(&[received(0, at(5, 500), 0, 1)])),
        bad("RECEIVED of another generation", after(&[received(9, at(0, 0), 0, 1)])),
        bad("RECEIVED with a secured point that there is not", after(&[received(0, at(0, 0), 3, 4)])),
    ];
    let diverged = told(Reason::StreamDiverged, Some(Outcome::Unknown));
    let wrong = bad("SYNC with another digest", after(&[sync(1, at(1, bytes))]));
    all.push(Bad { told: diverged, ..wrong });
    all
}

/// Primitives of units that were not agreed on, and some that are none.
fn dialogs() -> Vec<Bad> {
    use wire::dialog::Primitive;
    let said = |number, primitive| kind(Kind::Dialog(wire::Dialog { number, after: None, primitive }));
    let give = wire::Give { holdings: vec![wire::Holding { token: 1, generation: 1, mine: false }] };
    let please = wire::Please { tokens: vec![1], priority: 1, within_ms: 0 };
    let exception = wire::Exception { cause: 1, detail: String::new() };
    let base = Some(wire::Base { serial: 1, position: at(0, 0), generation: 1 });
    let resync = wire::Resync { kind: 1, own: base, ..wire::Resync::default() };
    let holding = wire::Holding { token: 99, generation: 1, mine: true };
    vec![
        bad("DIALOG without a primitive", said(1, None)),
        bad("DIALOG without a number", said(0, Some(Primitive::Typed(Bytes::from_static(b"x"))))),
        bad("typed data without the unit", said(1, Some(Primitive::Typed(Bytes::from_static(b"x"))))),
        bad("expedited data without the unit", said(1, Some(Primitive::Expedited(Bytes::from_static(b"x"))))),
        bad("typed data over the bound", said(1, Some(Primitive::Typed(vec![0; 70 << 10].into())))),
        bad("expedited data over the bound", said(1, Some(Primitive::Expedited(vec![0; 60 << 10].into())))),
        bad("a token given that there is not", said(1, Some(Primitive::Give(give)))),
        bad("a token asked for that there is not", said(1, Some(Primitive::Please(please)))),
        bad("an exception without the unit", said(1, Some(Primitive::Exception(exception)))),
        bad("a resynchronization without the unit", said(1, Some(Primitive::Resync(resync)))),
        bad(
            "an answer that nobody asked for",
            said(1, Some(Primitive::ResyncAck(wire::ResyncAck::default()))),
        ),
        bad(
            "DIALOG_ACK of nothing",
            kind(Kind::DialogAck(wire::DialogAck { received: 5, ..wire::DialogAck::default() })),
        ),
        bad(
            "DIALOG_ACK with a token that there is not",
            kind(Kind::DialogAck(wire::DialogAck { holdings: vec![holding], ..wire::DialogAck::default() })),
        ),
    ]
}
