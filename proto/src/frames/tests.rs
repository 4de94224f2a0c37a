//! Round trips, and what strangers may send.

use proptest::prelude::*;
use rpc_core::dialog::{Holding, ResyncKind, Token};
use rpc_core::frame::dialog::{
    Base, Cause, DialogAck, Exception, Numbered, Please, Primitive, Resync, ResyncAck, Wish,
};
use rpc_core::frame::{At, Credit, Head, PointKind, Received, STATE_BYTES_MAX, SyncAck, SyncPoint};
use rpc_core::stream::digest::Digest;
use rpc_core::stream::position::{Generation, Position, Serial};
use rpc_core::stream::resume::Resume;
use rpc_core::stream::splitter::CONTROL_BYTES_MAX;

use super::*;
use crate::pb::session::v1 as pb;

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(messages, bytes)| Position { messages, bytes })
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn received() -> impl Strategy<Value = Received> {
    (any::<u32>(), position(), any::<u32>(), any::<u64>(), position(), any::<u64>()).prop_map(
        |(generation, position, crc, secured, limit, next)| Received {
            generation: Generation(generation),
            position,
            crc,
            secured: Serial(secured),
            limit,
            next: Serial(next),
        },
    )
}

fn frame() -> impl Strategy<Value = Frame> {
    let entries = prop::collection::vec((bytes(20), bytes(50)), 0..10);
    let at = (any::<u32>(), position(), any::<u32>());
    let sync = (1..=u64::MAX, position(), any::<u32>(), any::<Option<[u8; 32]>>(), bytes(300));
    prop_oneof![
        entries.prop_map(|entries| Frame::Head(Head { entries })),
        at.prop_map(|(generation, position, crc)| Frame::At(At {
            generation: Generation(generation),
            position,
            crc
        })),
        received().prop_map(Frame::Received),
        sync.prop_map(|(serial, position, crc, blake3, state)| Frame::Sync(SyncPoint {
            serial: Serial(serial),
            position,
            digest: Digest { crc, blake3 },
            state,
            kind: [PointKind::Minor, PointKind::Separating, PointKind::Major, PointKind::MajorAnswer]
                [usize::from(crc as u8 & 3)],
        })),
        (1..=u64::MAX, bytes(300))
            .prop_map(|(serial, state)| Frame::SyncAck(SyncAck { serial: Serial(serial), state })),
        (position(), position()).prop_map(|(received, limit)| Frame::Credit(Credit { received, limit })),
        Just(Frame::Keepalive),
        Just(Frame::Cancel),
        position().prop_map(Frame::End),
        (1..=u64::MAX, position(), primitive())
            .prop_map(|(number, after, primitive)| Frame::Dialog(Numbered { number, after, primitive })),
        (any::<(u64, u64, u64, bool)>(), holdings()).prop_map(
            |((received, typed_taken, expedited_taken, anew), holdings)| {
                Frame::DialogAck(DialogAck {
                    received,
                    typed_taken,
                    expedited_taken,
                    holdings,
                    anew,
                    knows_anew: !anew,
                })
            }
        ),
    ]
}

fn holdings() -> impl Strategy<Value = Vec<Holding>> {
    let holding =
        |token| any::<(u64, bool)>().prop_map(move |(generation, mine)| Holding { token, generation, mine });
    let all = Token::ALL.map(holding).to_vec();
    prop::sample::subsequence(vec![0, 1, 2, 3], 0..=4)
        .prop_flat_map(move |some| some.into_iter().map(|index| all[index].clone()).collect::<Vec<_>>())
}

fn base() -> impl Strategy<Value = Base> {
    (1..=u64::MAX, position(), any::<u32>()).prop_map(|(serial, position, generation)| Base {
        serial: Serial(serial),
        position,
        generation: Generation(generation),
    })
}

fn primitive() -> impl Strategy<Value = Primitive> {
    let serial = || prop::option::of((1..=u64::MAX).prop_map(Serial));
    let tokens = (0..=15_u8)
        .prop_map(|bits| Token::ALL.into_iter().filter(|token| bits & (1 << *token as u8) != 0).collect());
    let kind = prop_oneof![Just(ResyncKind::Restart), Just(ResyncKind::Set), Just(ResyncKind::Abandon)];
    let wish = prop_oneof![Just(Wish::Mine), Just(Wish::Yours), Just(Wish::Choose)];
    let cause = prop_oneof![Just(Cause::Unspecified), Just(Cause::Sequence), Just(Cause::DemandDataToken)];
    let resync = (kind, prop::option::of(base()), serial(), prop::option::of(wish), bytes(300));
    let ack = (prop::option::of(base()), serial(), holdings(), bytes(300));
    prop_oneof![
        holdings().prop_map(Primitive::Give),
        (tokens, any::<u32>(), any::<u64>()).prop_map(|(tokens, priority, within_ms)| {
            Primitive::Please(Please { tokens, priority, within_ms })
        }),
        bytes(300).prop_map(Primitive::Typed),
        bytes(300).prop_map(Primitive::Expedited),
        (cause, "[a-z ]{0,512}")
            .prop_map(|(cause, detail)| Primitive::Exception(Exception { cause, detail })),
        resync.prop_map(|(kind, own, other, wish, state)| {
            let wishes = wish.map(|wish| (Token::Data, wish)).into_iter().collect();
            Primitive::Resync(Resync { kind, own, other, wishes, state })
        }),
        ack.prop_map(|(own, other, holdings, state)| {
            Primitive::ResyncAck(ResyncAck { own, other, holdings, state })
        }),
    ]
}

/// The whole body at once, cut into what it holds.
fn arrived(body: Bytes) -> Result<Vec<Arrived>, Violation> {
    let mut incoming = Incoming::new(1 << 20);
    incoming.push(body);
    std::iter::from_fn(|| incoming.next().transpose()).collect()
}

proptest! {
    //= test W-15
    #[test]
    fn a_frame_makes_the_round_trip(frame in frame()) {
        let encoded = encode(&frame);
        prop_assert_eq!(&encoded[5..10], &[0xFA, 0xFF, 0xFF, 0xFF, 0x0F]);
        prop_assert_eq!(arrived(encoded), Ok(vec![Arrived::Control(frame)]));
    }

    #[test]
    fn a_resume_makes_the_round_trip(
        generation in any::<u32>(), send_from in position(), received in received()
    ) {
        let resume = Resume { generation: Generation(generation), send_from, received };
        let value = resume_value(&resume);
        prop_assert!(value.len() <= 167);
        prop_assert_eq!(parse_resume(&value), Ok(resume));
    }

    #[test]
    fn random_bytes_are_an_error_or_a_frame_with_that_meaning(bytes in bytes(200)) {
        if let Ok(Some(frame)) = decode(bytes) {
            prop_assert_eq!(arrived(encode(&frame)), Ok(vec![Arrived::Control(frame)]));
        }
    }

    #[test]
    fn damaged_frames_never_panic(frame in frame(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut damaged = encode(&frame).to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let _ = arrived(damaged.into());
    }

    #[test]
    fn random_headers_never_panic(value in bytes(300)) {
        if let Ok(value) = http::HeaderValue::from_bytes(&value) {
            let _ = parse_resume(&value);
        }
    }
}

//= test W-11
#[test]
fn a_frame_that_is_not_known_is_ignored() {
    // Field 15, reserved, with two bytes.
    let body = Bytes::from_static(b"\0\0\0\0\x0A\xFA\xFF\xFF\xFF\x0F\x04\x7A\x02ab");
    assert_eq!(arrived(body), Ok(vec![]));
}

//= test W-15
#[test]
fn a_program_that_does_not_know_frames_sees_an_empty_message() {
    let encoded = encode(&Frame::Keepalive);
    assert_eq!(pb::ReleaseResponse::decode(&encoded[5..]), Ok(pb::ReleaseResponse::default()));
}

#[test]
fn frames_that_lack_something_or_are_over_a_bound_are_refused() {
    use pb::control_frame::{Frame as Kind, *};
    let zero = Some(pb::Position::default());
    let long = Bytes::from(vec![0; STATE_BYTES_MAX + 1]);
    let entry = head::Entry { name: Bytes::from_static(b"name"), value: Bytes::new() };
    for kind in [
        Kind::At(At::default()),
        Kind::End(End::default()),
        Kind::Received(Received { position: zero, ..Default::default() }),
        Kind::Credit(Credit { received: zero, limit: None }),
        Kind::SyncAck(SyncAck { serial: 0, state: Bytes::new() }),
        Kind::SyncAck(SyncAck { serial: 1, state: long.clone() }),
        Kind::Sync(Sync { serial: 1, position: zero, state: long, ..Default::default() }),
        Kind::Sync(Sync { serial: 0, position: zero, ..Default::default() }),
        Kind::Sync(Sync {
            serial: 1,
            position: zero,
            blake3: Bytes::from_static(&[1; 31]),
            ..Default::default()
        }),
        Kind::Head(Head { entries: vec![entry; 129] }),
    ] {
        let bytes = ControlFrame { frame: Some(kind) }.encode_to_vec();
        assert!(decode(bytes.into()).is_err());
    }
    assert!(parse_resume(&http::HeaderValue::from_static("")).is_err());
    assert!(parse_resume(&http::HeaderValue::from_str(&"A".repeat(1_028)).unwrap()).is_err());
}

#[test]
fn the_largest_frames_are_within_the_splitters_bound() {
    let state = Bytes::from(vec![7; STATE_BYTES_MAX]);
    let far = Position { messages: u64::MAX, bytes: u64::MAX };
    let digest = Digest { crc: u32::MAX, blake3: Some([9; 32]) };
    let sync = Frame::Sync(SyncPoint {
        serial: Serial(u64::MAX),
        position: far,
        digest,
        state,
        kind: PointKind::Minor,
    });
    let entries = (0..128).map(|_| (Bytes::from(vec![b'n'; 64]), Bytes::from(vec![b'v'; 64]))).collect();
    for frame in [sync, Frame::Head(Head { entries })] {
        let encoded = encode(&frame);
        assert!(encoded.len() <= CONTROL_BYTES_MAX);
        assert_eq!(arrived(encoded), Ok(vec![Arrived::Control(frame)]));
    }
}

#[test]
fn debug_shows_no_state_and_no_header() {
    let secret = Bytes::from_static(b"secret");
    let entry = pb::control_frame::head::Entry { name: secret.clone(), value: secret.clone() };
    let sync = pb::control_frame::Sync { state: secret.clone(), ..Default::default() };
    let ack = pb::control_frame::SyncAck { state: secret.clone(), ..Default::default() };
    let core = Frame::SyncAck(SyncAck { serial: Serial(1), state: secret.clone() });
    let head = Frame::Head(Head { entries: vec![(secret.clone(), secret.clone())] });
    let detail = "secret".to_owned();
    let dialog = [
        Primitive::Typed(secret.clone()),
        Primitive::Expedited(secret.clone()),
        Primitive::Exception(Exception { cause: Cause::Local, detail }),
        Primitive::Resync(Resync {
            kind: ResyncKind::Set,
            own: None,
            other: None,
            wishes: Vec::new(),
            state: secret.clone(),
        }),
        Primitive::ResyncAck(ResyncAck { own: None, other: None, holdings: Vec::new(), state: secret }),
    ]
    .map(|primitive| Frame::Dialog(Numbered { number: 1, after: Position::ORIGIN, primitive }));
    let dialog = dialog.iter().map(|frame| format!("{frame:?} {:?}", super::wire::to_wire(frame)));
    let frames =
        [format!("{entry:?}"), format!("{sync:?}"), format!("{ack:?}"), format!("{core:?} {head:?}")];
    for printed in frames.into_iter().chain(dialog) {
        assert!(!printed.contains("secret"), "{printed}");
    }
}

#[test]
fn a_dialog_frame_over_a_bound_or_without_what_it_needs_is_refused() {
    use crate::pb::session::v1::control_frame::{self as wire, dialog::Primitive as Kind};
    let holding = |token| wire::Holding { token, generation: 1, mine: true };
    let give =
        |tokens: &[i32]| Kind::Give(wire::Give { holdings: tokens.iter().copied().map(holding).collect() });
    let exception = |length| Kind::Exception(wire::Exception { cause: 0, detail: "x".repeat(length) });
    let resync = |kind| Kind::Resync(wire::Resync { kind, ..Default::default() });
    for (primitive, fits) in [
        (Some(Kind::Typed(vec![0; 64 << 10].into())), true),
        (Some(Kind::Typed(vec![0; (64 << 10) + 1].into())), false),
        (Some(Kind::Expedited(vec![0; 4 << 10].into())), true),
        (Some(Kind::Expedited(vec![0; (4 << 10) + 1].into())), false),
        (Some(exception(512)), true),
        (Some(exception(513)), false),
        (Some(give(&[1, 2, 3, 4])), true),
        (Some(give(&[1, 1])), false),
        (Some(give(&[0])), false),
        (Some(give(&[5])), false),
        (Some(resync(1)), true),
        (Some(resync(0)), false),
        (None, false),
    ] {
        let dialog = wire::Dialog { number: 1, after: None, primitive };
        let told = format!("{dialog:?}");
        assert_eq!(super::wire::from_wire(wire::Frame::Dialog(dialog)).is_ok(), fits, "{told}");
    }
    let unnumbered = wire::Dialog { number: 0, after: None, primitive: Some(give(&[])) };
    assert!(super::wire::from_wire(wire::Frame::Dialog(unnumbered)).is_err());
}
