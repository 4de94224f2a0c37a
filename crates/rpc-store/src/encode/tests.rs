use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rpc_core::error::Reason;
use rpc_core::id::{Epoch, Nonce, SessionId, TicketHash};
use rpc_core::negotiate::{Agreement, FirstTurn, Grant, ServiceGrant, Unit, Units};
use rpc_core::principal::Principal;
use rpc_core::record::{End, SessionRecord, TicketHashes, Tombstone};
use rpc_core::store::Stored;

use super::*;

fn session() -> SessionId {
    SessionId::new(4711).unwrap()
}

/// Each field is set here: the golden bytes must not change with a default.
fn record(n: u8) -> Box<SessionRecord> {
    Box::new(SessionRecord {
        principal: Principal::new("https://issuer.example", format!("subject-{n}")),
        nonce: Nonce([n; 16]),
        agreement: Agreement {
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
        },
        tickets: TicketHashes {
            current: TicketHash([n; 32]),
            pending: (n % 2 == 1).then_some(TicketHash([!n; 32])),
        },
        authority_unix_s: n.is_multiple_of(3).then_some(1_800_000_000),
        scopes: Arc::from([Box::from("ledger.read"), Box::from("ledger.write")]),
    })
}

fn tombstone(end: End) -> Box<Tombstone> {
    let record = record(1);
    Box::new(Tombstone { principal: record.principal, nonce: record.nonce, end })
}

fn encode(stored: &Stored) -> Vec<u8> {
    match stored {
        Stored::Live(epoch, record) => encode_live(session(), *epoch, record).unwrap(),
        Stored::Ended(epoch, tombstone) => encode_ended(session(), *epoch, tombstone).unwrap(),
    }
}

fn examples() -> Vec<Stored> {
    let live = (0..6).map(|n| Stored::Live(Epoch(u64::from(n)), record(n)));
    let ended = [End::Released, End::Aborted, End::Expired];
    live.chain(ended.into_iter().map(|end| Stored::Ended(Epoch(9), tombstone(end)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_was_encoded_is_decoded() {
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
    assert_eq!(hex(&encode(&Stored::Live(Epoch(2), record(3)))), LIVE);
    assert_eq!(hex(&encode(&Stored::Ended(Epoch(2), tombstone(End::Expired)))), ENDED);
}

const HEADER: &str = "010110000000a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a51f6c6214";
const COUNTER: &str = "0102080000000201000000000000c58a4208";
const LIVE: &str = concat!(
    "0110050100000200000000000000160068747470733a2f2f6973737565722e6578616d706c6509007375626a6563742d",
    "330303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303",
    "0301fcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfcfc0100d2496b0000000002000b006c",
    "65646765722e726561640c006c65646765722e777269746501000000228000001e00000000000000000000005a000000",
    "0000000005000000100000000000010000001000000000000102000e0062616e6b2e76312e4c6564676572000d006261",
    "6e6b2e76312e41646d696e010d0053434f50455f4d495353494e476bd8fd49",
);
const ENDED: &str = concat!(
    "01113c0000000200000000000000160068747470733a2f2f6973737565722e6578616d706c6509007375626a6563742d",
    "31010101010101010101010101010101010375171690",
);

#[test]
fn every_truncation_is_an_error() {
    for stored in examples() {
        let value = encode(&stored);
        for length in 0..value.len() {
            assert!(decode_session(session(), &value[..length]).is_err(), "{length} of {}", value.len());
        }
        let longer = [value.as_slice(), &[0]].concat();
        assert!(decode_session(session(), &longer).is_err());
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    for stored in examples() {
        let mut value = encode(&stored);
        for bit in 0..value.len() * 8 {
            value[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_session(session(), &value).is_err(), "bit {bit} of {stored:?}");
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
}

#[test]
fn a_later_format_is_named() {
    let mut value = encode(&examples()[0]);
    value[0] = 2;
    let error = decode_session(session(), &value).unwrap_err();
    assert_eq!(error.to_string(), "format version 2, this program reads 1");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut long = record(1);
    long.scopes = std::iter::repeat_n(Box::from("x"), 65_536).collect();
    let error = encode_live(session(), Epoch(1), &long).unwrap_err();
    assert_eq!(error.to_string(), "scopes has 65536 bytes or items, 65535 is the most");
    long.scopes = std::iter::repeat_n(Box::from("x".repeat(32)), 65_535).collect();
    assert!(matches!(
        encode_live(session(), Epoch(1), &long),
        Err(EncodeError::TooLong { field: "record", max: BODY_BYTES_MAX, .. })
    ));
}

#[test]
fn keys_are_ordered_like_numbers() {
    let numbers = [1, 2, 255, 256, 65_535, 65_536, u64::MAX];
    let keys = numbers.map(|number| session_key(SessionId::new(number).unwrap()));
    assert!(keys.is_sorted());
    assert!(keys.iter().all(|key| key.as_slice() > COMMITS_KEY && key.as_slice() > NUMBERS_KEY));
    for (key, number) in keys.iter().zip(numbers) {
        assert_eq!(session_of(key), SessionId::new(number));
    }
    assert_eq!(session_of(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(session_of(HEADER_KEY), None);
    assert_eq!(session_of(&[]), None);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode_session(session(), &bytes);
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
        let valid = encode(&Stored::Live(Epoch(1), record(1)));
        let (_, valid) = open(&session_key(session()), &valid).unwrap();
        let body = [&valid[..keep.min(valid.len())], body.as_slice()].concat();
        let kind = if live { Kind::Live } else { Kind::Ended };
        let value = seal(&session_key(session()), kind, &body).unwrap();
        if let Ok(stored) = decode_session(session(), &value) {
            prop_assert_eq!(encode(&stored), value);
        }
    }
}
