use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rpc_core::error::Reason;
use rpc_core::id::{Epoch, Fingerprint, Nonce, Sequence, SessionId, SlotId, TicketHash};
use rpc_core::negotiate::{Agreement, FirstTurn, Grant, ServiceGrant, Unit, Units};
use rpc_core::principal::Principal;
use rpc_core::record::{
    ActivityRecord, CallRecord, End, Receipt, Reply, SessionRecord, SlotRecord, Summary, TicketHashes,
    Tombstone,
};
use rpc_core::session::Kept;
use rpc_core::store::operations::StoreId;
use rpc_core::store::{Stored, suite};
use rpc_core::stream::position::Position;
use rpc_core::transaction::{Version, Versioned};

use super::*;

fn session() -> SessionId {
    SessionId::new(4711).unwrap()
}

/// Each field is set here: the golden bytes must not change with a default.
fn record(n: u8) -> Arc<SessionRecord> {
    Arc::new(SessionRecord {
        principal: Principal::new("https://issuer.example", format!("subject-{n}")),
        nonce: Nonce([n; 16]),
        agreement: Arc::new(Agreement {
            version: 1,
            units: Units::from_iter([Unit::ExactlyOnce, Unit::Duplex, Unit::NegotiatedRelease]),
            lease: Duration::from_secs(30),
            linger: Duration::new(90, 5),
            slots: 16,
            reply_bytes: 65_536,
            window_bytes: 1 << 20,
            first_turn: if n.is_multiple_of(2) { FirstTurn::Initiator } else { FirstTurn::Acceptor },
            services: vec![
                ServiceGrant { name: "bank.v1.Ledger".into(), result: Grant::Granted },
                ServiceGrant { name: "bank.v1.Admin".into(), result: Grant::Refused(Reason::ScopeMissing) },
            ],
        }),
        tickets: TicketHashes {
            current: TicketHash([n; 32]),
            pending: (n % 2 == 1).then(|| Box::new(TicketHash([!n; 32]))),
        },
        authority_unix_s: n.is_multiple_of(3).then_some(1_800_000_000),
        scopes: Arc::from([Box::from("ledger.read"), Box::from("ledger.write")]),
    })
}

fn tombstone(end: End) -> Box<Tombstone> {
    let record = record(1);
    Box::new(Tombstone { principal: record.principal.clone(), nonce: record.nonce, end, receipt: None })
}

fn released(n: u8) -> Box<Tombstone> {
    let (requests, responses) = (Position { messages: 4, bytes: 40 }, Position { messages: 5, bytes: 50 });
    let summary = Summary { calls: 6, done: 3, failed: 2, unknown: 1, requests, responses };
    let receipt = Receipt { tickets: record(n).tickets.clone(), summary };
    Box::new(Tombstone { receipt: Some(Box::new(receipt)), ..*tombstone(End::Released) })
}

fn encode(stored: &Stored) -> Vec<u8> {
    match stored {
        Stored::Live(epoch, record, _) => encode_live(session(), *epoch, record).unwrap(),
        Stored::Ended(epoch, tombstone) => encode_ended(session(), *epoch, tombstone).unwrap(),
    }
}

fn examples() -> Vec<Stored> {
    let live = (0..6).map(|n| Stored::Live(Epoch(u64::from(n)), record(n), Vec::new()));
    let ended = [End::Released, End::Aborted, End::Expired].map(tombstone);
    let ended = ended.into_iter().chain([released(2), released(3)]);
    live.chain(ended.map(|tombstone| Stored::Ended(Epoch(9), tombstone))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn slots() -> Vec<SlotRecord> {
    let reply = Reply {
        code: 7,
        head: Bytes::from_static(b"h"),
        message: Bytes::from_static(b"message"),
        trailer: Bytes::from_static(b"tr"),
    };
    let calls = [
        CallRecord::Begun(Fingerprint(7)),
        CallRecord::Done(Fingerprint(u128::MAX), reply.clone()),
        CallRecord::ReplyDropped(Fingerprint(1 << 100), reply),
        CallRecord::Unknown(Some(Fingerprint(0))),
        CallRecord::Unknown(None),
        CallRecord::Settled,
        CallRecord::Streaming(Fingerprint(9), Box::new(suite::resumption())),
        CallRecord::Streamed(Fingerprint(9), Kept::Whole(suite::reply(3)), Box::default()),
        CallRecord::Streamed(Fingerprint(9), Kept::StatusOnly(suite::reply(3)), Box::default()),
        CallRecord::Working(Fingerprint(9), suite::key(1, "dump").name),
    ];
    let record = |call| SlotRecord { slot: SlotId(258), sequence: Sequence(5), call };
    calls.map(record).into()
}

/// Every kind of activity, under one key.
fn activities() -> Vec<ActivityRecord> {
    let key = suite::key(1, "dump");
    (0..4).map(|n| suite::activity(&key, session(), n)).collect()
}

fn decode_dump(value: &[u8]) -> Result<ActivityRecord, DecodeError> {
    let bytes = activity_key(&suite::key(1, "dump")).unwrap();
    let Some(Key::Activity(key)) = Key::parse(&bytes) else { panic!("no key of an activity") };
    decode_activity(&bytes, key, value)
}

fn decode_258(value: &[u8]) -> Result<SlotRecord, DecodeError> {
    decode_slot(session(), SlotId(258), value)
}

fn value() -> Versioned {
    Versioned { version: Version(9), value: Bytes::from_static(b"value") }
}

/// Whether a decoder takes these bytes.
type Takes = fn(&[u8]) -> bool;

/// A record of every kind, with its decoder.
fn records() -> Vec<(Vec<u8>, Takes)> {
    let mut all: Vec<(Vec<u8>, Takes)> = Vec::new();
    all.extend(
        examples().iter().map(|stored| -> (_, Takes) {
            (encode(stored), |bytes| decode_session(session(), bytes).is_ok())
        }),
    );
    all.extend(slots().iter().map(|slot| -> (_, Takes) {
        (encode_slot(session(), slot).unwrap(), |bytes| decode_258(bytes).is_ok())
    }));
    all.extend(activities().iter().map(|activity| -> (_, Takes) {
        (encode_activity(activity).unwrap(), |bytes| decode_dump(bytes).is_ok())
    }));
    all.push((encode_value(b"key", value().version, &value().value).unwrap(), |bytes| {
        decode_value(b"key", bytes).is_ok()
    }));
    all
}

#[test]
fn what_was_encoded_is_decoded() {
    for slot in slots() {
        assert_eq!(decode_258(&encode_slot(session(), &slot).unwrap()), Ok(slot));
    }
    for activity in activities() {
        assert_eq!(decode_dump(&encode_activity(&activity).unwrap()), Ok(activity));
    }
    let bytes = encode_value(b"key", value().version, &value().value).unwrap();
    assert_eq!(decode_value(b"key", &bytes), Ok(value()));
    let empty = encode_value(b"key", Version(1), b"").unwrap();
    assert_eq!(decode_value(b"key", &empty).unwrap().value, Bytes::new());
    for stored in examples() {
        assert_eq!(decode_session(session(), &encode(&stored)), Ok(stored));
    }
    let header = Header { id: StoreId([7; 16]) };
    assert_eq!(decode_header(&encode_header(header).unwrap()), Ok(header));
    assert_eq!(decode_counter(NUMBERS_KEY, &encode_counter(NUMBERS_KEY, u64::MAX).unwrap()), Ok(u64::MAX));
}

/// These bytes are on the disks of users: a change here needs a new format version and a way to read this one.
#[test]
fn the_format_is_this_to_the_byte() {
    let header = encode_header(Header { id: StoreId([0xa5; 16]) }).unwrap();
    assert_eq!(hex(&header), HEADER);
    assert_eq!(hex(&encode_counter(COMMITS_KEY, 258).unwrap()), COUNTER);
    assert_eq!(hex(&session_key(session())), "010000000000001267");
    assert_eq!(hex(&encode(&Stored::Live(Epoch(2), record(3), Vec::new()))), LIVE);
    assert_eq!(hex(&encode(&Stored::Ended(Epoch(2), tombstone(End::Expired)))), ENDED);
    assert_eq!(hex(&encode(&Stored::Ended(Epoch(2), released(3)))), RELEASED);
    assert_eq!(hex(&slot_key(session(), SlotId(258))), "01000000000000126700000102");
    let encoded: Vec<_> = slots().iter().map(|slot| hex(&encode_slot(session(), slot).unwrap())).collect();
    assert_eq!(encoded, SLOTS);
    let key = activity_key(&activities()[2].key).unwrap();
    assert_eq!(hex(&key), ACTIVITY_KEY);
    let encoded: Vec<_> = activities()[1..3].iter().map(|it| hex(&encode_activity(it).unwrap())).collect();
    assert_eq!(encoded, ACTIVITIES);
    assert_eq!(hex(&value_key(b"key")), "026b6579");
    assert_eq!(hex(&encode_value(b"key", Version(9), b"value").unwrap()), VALUE);
}

const HEADER: &str = "020110000000a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5c35f5cf0";
const COUNTER: &str = "02020800000002010000000000000f754bf4";
const LIVE: &str = concat!(
    "0210050100000200000000000000160068747470733a2f2f6973737565722e6578616d706c6509007375626a6563742d",
    "330303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303",
    "0301fcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfc0100d2496b0000000002000b006c",
    "65646765722e726561640c006c65646765722e777269746501000000228000001e00000000000000000000005a000000",
    "0000000005000000100000000000010000001000000000000102000e0062616e6b2e76312e4c6564676572000d006261",
    "6e6b2e76312e41646d696e010d0053434f50455f4d495353494e4766a19cd7",
);
const RELEASED: &str = concat!(
    "0211bd0000000200000000000000160068747470733a2f2f6973737565722e6578616d706c6509007375626a6563742d",
    "310101010101010101010101010101010104030303030303030303030303030303030303030303030303030303030303",
    "030301fcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfc06000000000000000300000000",
    "000000020000000000000001000000000000000400000000000000280000000000000005000000000000003200000000",
    "00000030c062b6",
);

const ENDED: &str = concat!(
    "02113c0000000200000000000000160068747470733a2f2f6973737565722e6578616d706c6509007375626a6563742d",
    "310101010101010101010101010101010103e610513b",
);
const ACTIVITY_KEY: &str = "03001668747470733a2f2f6973737565722e6578616d706c6500097375626a6563742d3164756d70";
const ACTIVITIES: [&str; 2] = [
    concat!(
        "0213c90000001a002f617263686976652e76312e417263686976652f55706c6f61646712000000000000010000000200",
        "000000000000010700000000000000280000000000000000000000000100000500000001090909090909090909090909",
        "09090909090909090909090909090909090909090500000073746174650f000000737461746573746174657374617465",
        "01070000000000000028000000000000000000000000010000ffffffff00000000000000000002010100000001090000",
        "000101010101010101010100000001b39d78aa",
    ),
    concat!(
        "0213b10000001a002f617263686976652e76312e417263686976652f55706c6f61646712000000000000020000000300",
        "000000000000010700000000000000280000000000000000000000000100000500000001090909090909090909090909",
        "09090909090909090909090909090909090909090500000073746174650f000000737461746573746174657374617465",
        "01070000000000000028000000000000000000000000010000ffffffff00000000000000000000fae37d9d",
    ),
];
const SLOTS: [&str; 10] = [
    "02121900000005000000000000000107000000000000000000000000000000dc4cb9a4",
    concat!(
        "021230000000050000000000000002ffffffffffffffffffffffffffffffff070100000068070000006d657373616765",
        "020000007472f61f8b2c",
    ),
    concat!(
        "02123000000005000000000000000300000000000000000000000010000000070100000068070000006d657373616765",
        "02000000747285f040cf",
    ),
    "02121a0000000500000000000000040100000000000000000000000000000000c9b2ff05",
    "02120a000000050000000000000004008d91a043",
    "0212090000000500000000000000054d0ef425",
    concat!(
        "021299000000050000000000000006090000000000000000000000000000000107000000000000002800000000000000",
        "000000000001000005000000010909090909090909090909090909090909090909090909090909090909090909050000",
        "0073746174650f0000007374617465737461746573746174650107000000000000002800000000000000000000000001",
        "0000ffffffff0000000000000000009a175e91",
    ),
    concat!(
        "021232000000050000000000000007090000000000000000000000000000000300000000090000000303030303030303",
        "0301000000030000d9c16ffc",
    ),
    concat!(
        "021232000000050000000000000008090000000000000000000000000000000300000000090000000303030303030303",
        "03010000000300009cc9a8ab",
    ),
    "021221000000050000000000000009090000000000000000000000000000000400000064756d70eaeb7f6c",
];
const VALUE: &str = "02200d000000090000000000000076616c75651c337421";

#[test]
fn every_truncation_is_an_error() {
    for (value, is_taken) in records() {
        for length in 0..value.len() {
            assert!(!is_taken(&value[..length]), "{length} of {}", value.len());
        }
        assert!(!is_taken(&[value.as_slice(), &[0]].concat()));
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    for (mut value, is_taken) in records() {
        for bit in 0..value.len() * 8 {
            value[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_taken(&value), "bit {bit} of {}", hex(&value));
            value[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_record_belongs_to_its_key() {
    let value = encode(&examples()[0]);
    let other = SessionId::new(4712).unwrap();
    assert_eq!(decode_session(other, &value), Err(DecodeError::Checksum));
    let counter = encode_counter(NUMBERS_KEY, 1).unwrap();
    assert_eq!(decode_counter(COMMITS_KEY, &counter), Err(DecodeError::Checksum));
    let slot = encode_slot(session(), &slots()[0]).unwrap();
    assert_eq!(decode_slot(other, SlotId(258), &slot), Err(DecodeError::Checksum));
    assert_eq!(decode_slot(session(), SlotId(2), &slot), Err(DecodeError::Checksum));
    let value = encode_value(b"key", Version(1), b"").unwrap();
    assert_eq!(decode_value(b"yek", &value), Err(DecodeError::Checksum));
}

#[test]
fn a_life_is_read_without_the_rest() {
    for stored in examples() {
        let expected = match &stored {
            Stored::Live(epoch, ..) => Life::Live(*epoch),
            Stored::Ended(epoch, _) => Life::Ended(*epoch),
        };
        let mut value = encode(&stored);
        assert_eq!(decode_life(session(), &value), Ok(expected));
        value[40] ^= 1;
        assert_eq!(decode_life(session(), &value), Err(DecodeError::Checksum));
    }
}

#[test]
fn a_later_format_is_named() {
    let mut value = encode(&examples()[0]);
    value[0] = 3;
    let error = decode_session(session(), &value).unwrap_err();
    assert_eq!(error.to_string(), "format version 3, this program reads 2");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut long = SessionRecord::clone(&record(1));
    long.scopes = std::iter::repeat_n(Box::from("x"), 65_536).collect();
    let error = encode_live(session(), Epoch(1), &long).unwrap_err();
    assert_eq!(error.to_string(), "scopes has 65536 bytes or items, 65535 is the most");
    long.scopes = std::iter::repeat_n(Box::from("x".repeat(64)), 65_535).collect();
    assert!(matches!(
        encode_live(session(), Epoch(1), &long),
        Err(EncodeError::TooLong { field: "record", max: BODY_BYTES_MAX, .. })
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode_session(session(), &bytes);
        let _ = decode_258(&bytes);
        let _ = decode_value(b"key", &bytes);
        let _ = decode_header(&bytes);
        let _ = decode_counter(NUMBERS_KEY, &bytes);
    }

    /// Random bytes never pass the checksum; with a fitting one the fields themselves are tried.
    #[test]
    fn any_body_is_refused_or_has_this_one_spelling(
        body in prop::collection::vec(any::<u8>(), 0..600),
        keep in 0..600_usize,
        live in any::<bool>(),
    ) {
        let valid = encode(&Stored::Live(Epoch(1), record(1), Vec::new()));
        let (_, valid) = open(&session_key(session()), &valid).unwrap();
        let body = [&valid[..keep.min(valid.len())], body.as_slice()].concat();
        let kind = if live { Kind::Live } else { Kind::Ended };
        let value = seal(&session_key(session()), kind, &body).unwrap();
        if let Ok(stored) = decode_session(session(), &value) {
            prop_assert_eq!(encode(&stored), value);
        }
    }

    #[test]
    fn any_body_of_a_slot_is_refused_or_has_this_one_spelling(
        body in prop::collection::vec(any::<u8>(), 0..60),
        keep in 0..60_usize,
        of in 0..6_usize,
    ) {
        let key = slot_key(session(), SlotId(258));
        let valid = encode_slot(session(), &slots()[of]).unwrap();
        let (_, valid) = open(&key, &valid).unwrap();
        let body = [&valid[..keep.min(valid.len())], body.as_slice()].concat();
        let value = seal(&key, Kind::Slot, &body).unwrap();
        if let Ok(slot) = decode_258(&value) {
            prop_assert_eq!(encode_slot(session(), &slot).unwrap(), value);
        }
    }
}
