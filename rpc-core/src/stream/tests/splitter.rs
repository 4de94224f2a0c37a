//! The splitter against a parser that has everything at once.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use crate::stream::splitter::{CONTROL_BYTES_MAX, CONTROL_KEY, Piece, Splitter, TooLong};

/// What a message of a body is.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    User(u8, Vec<u8>),
    Control(Vec<u8>),
}

fn kind() -> impl Strategy<Value = Kind> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    let like_a_frame = bytes(8).prop_map(|rest| [&CONTROL_KEY[..], &rest].concat());
    prop_oneof![
        4 => (0..2_u8, bytes(40)).prop_map(|(flag, message)| Kind::User(flag, message)),
        1 => (1..2_u8, like_a_frame).prop_map(|(flag, message)| Kind::User(flag, message)),
        2 => bytes(200).prop_map(Kind::Control),
    ]
}

fn body(kinds: &[Kind]) -> Bytes {
    let mut body = BytesMut::new();
    for kind in kinds {
        let (flag, message) = match kind {
            Kind::User(flag, message) => (*flag, message.clone()),
            Kind::Control(frame) => {
                let mut message = CONTROL_KEY.to_vec();
                if frame.len() > 127 {
                    message.push(frame.len() as u8 & 0x7F | 0x80);
                    message.push((frame.len() >> 7) as u8);
                } else {
                    message.push(frame.len() as u8);
                }
                message.extend(frame);
                (0, message)
            }
        };
        body.put_u8(flag);
        body.put_u32(message.len() as u32);
        body.put_slice(&message);
    }
    body.freeze()
}

/// Everything that the splitter finds in `body`, cut at the given lengths.
fn split(body: &Bytes, cuts: &[usize]) -> (Vec<Kind>, Splitter) {
    let mut splitter = Splitter::new(1 << 20);
    let (mut found, mut rest) = (Vec::new(), body.clone());
    for cut in cuts.iter().copied().chain([body.len()]) {
        splitter.push(rest.split_to(cut.min(rest.len())));
        while let Some(piece) = splitter.next().unwrap() {
            match piece {
                Piece::Control(frame) => found.push(Kind::Control(frame.to_vec())),
                Piece::Messages(run) => {
                    let (mut messages, bytes) = (run.messages(), run.bytes());
                    let whole = run.into_bytes();
                    assert_eq!(whole.len() as u64, bytes);
                    let mut rest = &whole[..];
                    while messages > 0 {
                        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
                        found.push(Kind::User(rest[0], rest[5..5 + length].to_vec()));
                        rest = &rest[5 + length..];
                        messages -= 1;
                    }
                    assert!(rest.is_empty());
                }
            }
        }
    }
    (found, splitter)
}

proptest! {
    //= test W-15, S-21
    #[test]
    fn it_finds_what_was_written_however_it_is_cut(
        kinds in prop::collection::vec(kind(), 0..20),
        cuts in prop::collection::vec(1..60_usize, 0..40),
    ) {
        let (found, splitter) = split(&body(&kinds), &cuts);
        prop_assert_eq!(found, kinds);
        prop_assert!(splitter.is_whole());
    }

    #[test]
    fn half_a_message_stays_behind(
        kinds in prop::collection::vec(kind(), 1..10),
        cuts in prop::collection::vec(1..30_usize, 0..20),
        missing in 1..5_usize,
    ) {
        let mut body = body(&kinds);
        body.truncate(body.len() - missing);
        let (found, splitter) = split(&body, &cuts);
        prop_assert_eq!(found, &kinds[..kinds.len() - 1]);
        prop_assert!(!splitter.is_whole());
    }

    #[test]
    fn strangers_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
        let mut splitter = Splitter::new(1 << 10);
        for chunk in chunks {
            splitter.push(chunk.into());
            while let Ok(Some(_)) = splitter.next() {}
        }
    }
}

//= test W-15
#[test]
fn only_exactly_the_one_field_is_a_frame() {
    let frame = |flag: u8, message: &[u8]| {
        let mut body = vec![flag];
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
        let (found, _) = split(&body.into(), &[]);
        matches!(found[..], [Kind::Control(_)])
    };
    assert!(frame(0, b"\xFA\xFF\xFF\xFF\x0F\x02ab"));
    assert!(frame(0, b"\xFA\xFF\xFF\xFF\x0F\x00"));
    assert!(frame(0, b"\xFA\xFF\xFF\xFF\x0F\x82\x00ab"), "a varint may be longer than it needs to be");
    assert!(!frame(1, b"\xFA\xFF\xFF\xFF\x0F\x02ab"), "compressed");
    assert!(!frame(0, b"\xFA\xFF\xFF\xFF\x0F\x02abc"), "something after it");
    assert!(!frame(0, b"\xFA\xFF\xFF\xFF\x0F\x03ab"), "too short");
    assert!(!frame(0, b"\xFA\xFF\xFF\xFF\x0F"), "no length");
    assert!(!frame(0, b"\x08\x01\xFA\xFF\xFF\xFF\x0F\x00"), "something before it");
}

#[test]
fn messages_in_one_chunk_are_slices_of_it() {
    let chunk = super::messages(&[(10, 1), (20, 2)]);
    let mut splitter = Splitter::new(100);
    splitter.push(chunk.clone());
    let Some(Piece::Messages(run)) = splitter.next().unwrap() else { panic!("two messages") };
    assert_eq!(run.parts()[0].as_ptr(), chunk.as_ptr(), "not copied");
    assert_eq!(run.messages(), 2);
}

#[test]
fn a_message_over_the_bound_is_refused_before_it_arrives() {
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(super::messages(&[(3, 1)]));
    splitter.push(Bytes::from_static(b"\0\0\x10\0\x01"));
    assert!(matches!(splitter.next(), Ok(Some(Piece::Messages(_)))));
    let bytes = (1 << 20) + 6;
    assert_eq!(splitter.next(), Err(TooLong { bytes, bytes_max: bytes - 1 }));
}

#[test]
fn a_frame_over_the_bound_is_refused() {
    let mut message = CONTROL_KEY.to_vec();
    message.extend([0x81, 0x80, 0x05]);
    message.extend(vec![0; CONTROL_BYTES_MAX + 1]);
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(body.into());
    assert!(splitter.next().is_err());
}

/// A stranger who sends a long message byte by byte must not make us keep a buffer for each byte.
#[test]
fn tiny_pieces_are_put_together() {
    let message = super::messages(&[(50_000, 7)]);
    let mut splitter = Splitter::new(1 << 20);
    let mut found = None;
    for at in 0..message.len() {
        splitter.push(message.slice(at..=at));
        if let Some(piece) = splitter.next().unwrap() {
            found = Some(piece);
        }
    }
    let Some(Piece::Messages(run)) = found else { panic!("a message") };
    assert!(run.parts().len() <= 128, "{} pieces", run.parts().len());
    assert_eq!(run.into_bytes(), message);
}
