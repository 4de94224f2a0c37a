use super::*;
use crate::checksum::append;
use crate::dialog::ResyncKind;
use crate::frame::dialog::Base;
use crate::policy::Secure;
use crate::stream::digest::Digest;
use crate::stream::tests::messages;

fn receiver(config: &Config) -> Receiver {
    let mut receiver = Receiver::new(config);
    receiver.attempt(Some(Position::ORIGIN)).unwrap();
    receiver
}

/// Messages `from..to` of a stream in which message `i` has 100 bytes filled with `i`.
fn part(from: u8, to: u8) -> Bytes {
    messages(&(from..to).map(|fill| (95, fill)).collect::<Vec<_>>())
}

fn run(from: u8, to: u8) -> Run {
    Run::contiguous(part(from, to), u64::from(to - from))
}

fn at(messages: u8) -> Position {
    Position { messages: messages.into(), bytes: u64::from(messages) * 100 }
}

fn place(messages: u8) -> At {
    At { generation: Generation(0), position: at(messages), crc: append(0, &part(0, messages)) }
}

fn point(serial: u64, messages: u8) -> SyncPoint {
    let digest = Digest { crc: place(messages).crc, blake3: None };
    SyncPoint {
        serial: Serial(serial),
        position: at(messages),
        digest,
        state: Bytes::new(),
        kind: Default::default(),
    }
}

fn frames(receiver: &mut Receiver) -> Vec<String> {
    std::iter::from_fn(|| receiver.step())
        .map(|frame| match frame {
            Frame::SyncAck(ack) => format!("ack {}", ack.serial),
            Frame::Credit(credit) => format!("credit {} {}", credit.received.bytes, credit.limit.bytes),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn explicit() -> Config {
    Config { secure: Secure::Explicit, ..Config::default() }
}

//= test S-3
#[test]
fn a_point_is_secured_when_the_application_asks_for_what_follows() {
    let mut receiver = receiver(&Config::default());
    assert_eq!(frames(&mut receiver), ["credit 0 4194304"], "more than a direction begins with");
    receiver.messages(run(0, 4)).unwrap();
    assert_eq!(frames(&mut receiver), [""; 0]);
    receiver.sync(point(1, 4)).unwrap();
    assert_eq!(frames(&mut receiver), ["credit 400 4194304"], "a point is answered with what arrived");
    assert_eq!(receiver.take(), Taken::Messages(run(0, 4)));
    assert_eq!(frames(&mut receiver), [""; 0], "given, not used up");
    assert_eq!(receiver.secured(), Position::ORIGIN);
    assert_eq!(receiver.take(), Taken::Wait);
    assert_eq!(receiver.secured(), at(4));
    assert_eq!(frames(&mut receiver), ["ack 1", "credit 400 4194704"]);
}

//= test S-3, S-10, S-21
#[test]
fn the_application_secures_points_that_it_was_given() {
    let mut receiver = receiver(&explicit());
    receiver.messages(run(0, 2)).unwrap();
    receiver.sync(point(1, 2)).unwrap();
    receiver.messages(run(2, 4)).unwrap();
    receiver.sync(point(2, 4)).unwrap();
    let early = SecureError::NotDelivered { serial: Serial(1), delivered: Serial(0) };
    assert_eq!(receiver.secure(Serial(1), Bytes::new()), Err(early));
    assert_eq!(receiver.take(), Taken::Messages(run(0, 2)));
    assert_eq!(receiver.take(), Taken::Point(point(1, 2)));
    assert_eq!(receiver.take(), Taken::Messages(run(2, 4)));
    assert_eq!(receiver.take(), Taken::Point(point(2, 4)));
    assert_eq!(receiver.take(), Taken::Wait);
    assert_eq!(receiver.secured(), Position::ORIGIN);
    assert!(receiver.secure(Serial(3), Bytes::new()).is_err());
    assert!(receiver.secure(Serial(2), vec![0; STATE_BYTES_MAX + 1].into()).is_err());
    receiver.secure(Serial(2), Bytes::from_static(b"state")).unwrap();
    receiver.secure(Serial(1), Bytes::from_static(b"older")).unwrap();
    let Some(Frame::SyncAck(ack)) = receiver.step() else { panic!("a confirmation") };
    assert_eq!((ack.serial, &ack.state[..]), (Serial(2), &b"state"[..]), "one for both");
    receiver.attempt(None).unwrap();
    assert_eq!(receiver.step(), Some(Frame::SyncAck(ack)), "again: it may have been lost");
}

//= test S-18
#[test]
fn what_is_there_is_dropped_in_whole_messages() {
    let mut receiver = receiver(&Config::default());
    receiver.messages(run(0, 6)).unwrap();
    for begin in 0..=6 {
        receiver.attempt(None).unwrap();
        receiver.at(place(begin)).unwrap();
        if begin < 3 {
            receiver.messages(run(begin, 3)).unwrap();
            receiver.messages(run(3, 4)).unwrap();
            receiver.messages(run(4, 8)).unwrap();
        } else {
            receiver.messages(run(begin, 8)).unwrap();
        }
        assert_eq!(receiver.received(), at(8));
        assert_eq!(receiver.take(), Taken::Messages(run(0, 6)));
        assert_eq!(receiver.take(), Taken::Messages(run(6, 8)));
        assert_eq!(receiver.take(), Taken::Wait);
        receiver = self::receiver(&Config::default());
        receiver.messages(run(0, 6)).unwrap();
    }
}

//= test S-17, S-19
#[test]
fn gaps_and_places_that_are_not_stated_are_refused() {
    let mut receiver = receiver(&Config::default());
    receiver.messages(run(0, 4)).unwrap();
    receiver.attempt(None).unwrap();
    assert_eq!(receiver.messages(run(4, 5)), Err(Violation::Unplaced.into()));
    assert_eq!(receiver.sync(point(1, 4)), Err(Violation::Unplaced.into()));
    receiver.at(place(5)).unwrap();
    receiver.messages(run(5, 6)).unwrap();
    assert_eq!(receiver.received(), at(4), "a sender that did not know better is not listened to");
    let gap = Violation::Gap { received: at(4), at: at(5) };
    assert_eq!(receiver.at(place(5)), Err(gap.into()), "once");
    receiver.at(place(4)).unwrap();
    receiver.messages(run(4, 5)).unwrap();
    assert_eq!(receiver.attempt(Some(at(6))), Err(Violation::Gap { received: at(5), at: at(6) }));
}

//= test S-20, I13
#[test]
fn a_sender_that_repeats_itself_wrongly_is_found_out_before_anything_new_is_delivered() {
    let mut receiver = receiver(&Config::default());
    receiver.messages(run(0, 4)).unwrap();
    receiver.attempt(None).unwrap();
    receiver.at(place(1)).unwrap();
    receiver.messages(run(1, 2)).unwrap();
    let mut other = part(7, 8).to_vec();
    other.extend(part(3, 6));
    let diverged = Err(StreamError::Diverged(at(4)));
    assert_eq!(receiver.messages(Run::contiguous(other.into(), 4)), diverged);
    assert_eq!(receiver.received(), at(4));
    receiver.attempt(None).unwrap();
    assert_eq!(receiver.at(At { crc: 7, ..place(4) }), diverged, "where it goes on");
    receiver.attempt(None).unwrap();
    receiver.at(place(2)).unwrap();
    let shifted = Run::contiguous(messages(&[(105, 2), (85, 3), (95, 4)]), 3);
    assert_eq!(receiver.messages(shifted), diverged, "same places, other messages");
    receiver.attempt(None).unwrap();
    receiver.at(place(2)).unwrap();
    let longer = Run::contiguous(messages(&[(195, 2), (95, 4), (95, 5)]), 3);
    assert_eq!(receiver.messages(longer), diverged, "other places");
}

//= test S-20, I13
#[test]
fn damage_is_found_at_the_next_point_and_nothing_after_it_is_delivered() {
    let mut receiver = receiver(&Config::default());
    receiver.messages(run(0, 2)).unwrap();
    receiver.messages(run(7, 9)).unwrap();
    assert_eq!(receiver.sync(point(1, 4)), Err(StreamError::Diverged(at(4))));
}

//= test I13
#[test]
fn held_messages_wait_until_a_point_has_vouched_for_them() {
    let mut receiver = receiver(&Config { verify: Verify::Held, ..Config::default() });
    receiver.messages(run(0, 2)).unwrap();
    receiver.messages(run(2, 4)).unwrap();
    assert_eq!(receiver.take(), Taken::Wait);
    receiver.sync(point(1, 4)).unwrap();
    receiver.messages(run(9, 10)).unwrap();
    assert_eq!(receiver.take(), Taken::Messages(run(0, 2)));
    assert_eq!(receiver.take(), Taken::Messages(run(2, 4)));
    assert_eq!(receiver.sync(point(2, 5)), Err(StreamError::Diverged(at(5))));
    assert_eq!(receiver.take(), Taken::Wait, "the damaged one is never delivered");
}

#[test]
fn points_have_their_number_their_place_and_their_digest() {
    let mut receiver = receiver(&explicit());
    receiver.messages(run(0, 4)).unwrap();
    let serial = Violation::Serial { serial: Serial(2), expected: Serial(1) };
    assert_eq!(receiver.sync(point(2, 4)), Err(serial.into()));
    let misplaced = Violation::Misplaced { stated: at(3), is: at(4) };
    assert_eq!(receiver.sync(point(1, 3)), Err(misplaced.into()));
    receiver.sync(point(1, 4)).unwrap();
    receiver.sync(point(1, 4)).unwrap();
    let other = SyncPoint { digest: Digest { crc: 1, blake3: None }, ..point(1, 4) };
    assert_eq!(receiver.sync(other), Err(StreamError::Diverged(at(4))));
    receiver.messages(run(4, 5)).unwrap();
    assert_eq!(receiver.sync(point(1, 5)), Err(StreamError::Diverged(at(4))), "moved");
}

#[test]
fn points_and_their_state_are_bounded() {
    let mut receiver = receiver(&explicit());
    for serial in 1..=POINTS_UNCONFIRMED_MAX as u64 {
        receiver.sync(point(serial, 0)).unwrap();
    }
    let last = point(POINTS_UNCONFIRMED_MAX as u64 + 1, 0);
    assert_eq!(receiver.sync(last), Err(Violation::TooManyPoints.into()));
}

//= test S-26
#[test]
fn more_than_the_credit_is_refused_but_for_one_message_longer_than_the_window() {
    let config = Config { window_bytes: 300, window_messages: 3, ..Config::default() };
    let mut receiver = receiver(&config);
    receiver.messages(run(0, 3)).unwrap();
    let over = Violation::OverCredit { end: at(4), limit: at(3) };
    assert_eq!(receiver.messages(run(3, 4)), Err(over.into()));
    let mut receiver = self::receiver(&config);
    receiver.messages(Run::contiguous(messages(&[(995, 1)]), 1)).unwrap();
    let mut receiver = self::receiver(&config);
    receiver.messages(run(0, 1)).unwrap();
    assert!(receiver.messages(Run::contiguous(messages(&[(995, 1)]), 1)).is_err(), "not alone");
    let mut receiver = self::receiver(&config);
    assert!(receiver.messages(Run::contiguous(messages(&[(0, 1); 4]), 4)).is_err(), "in messages");
}

/// The sender, whose window may be the larger one, sends it when everything before it is secured.
//= test S-26
#[test]
fn a_message_longer_than_the_credit_is_taken_when_everything_before_it_is_secured() {
    for is_used_up in [false, true] {
        let mut receiver = receiver(&Config { window_bytes: 300, ..Config::default() });
        receiver.messages(run(0, 2)).unwrap();
        receiver.sync(point(1, 2)).unwrap();
        receiver.take();
        if is_used_up {
            receiver.take();
        }
        let long = receiver.messages(Run::contiguous(messages(&[(995, 9)]), 1));
        assert_eq!((long.is_ok(), receiver.kept_bytes()), (is_used_up, if is_used_up { 1_000 } else { 200 }));
    }
}

//= test S-26
#[test]
fn what_a_window_has_beyond_the_first_credit_is_granted_at_once() {
    for (config, granted) in [
        (Config::default(), Position { messages: 16 << 10, bytes: 4 << 20 }),
        (
            Config { window_bytes: 64 << 10, ..Config::default() },
            Position { messages: 16 << 10, bytes: 64 << 10 },
        ),
    ] {
        let mut receiver = receiver(&config);
        let credit = Credit { received: Position::ORIGIN, limit: granted };
        assert_eq!(receiver.step(), Some(Frame::Credit(credit)));
        assert_eq!(receiver.step(), None);
    }
    let small = Config { window_bytes: 1_000, window_messages: 10, ..Config::default() };
    assert_eq!(receiver(&small).step(), None, "it is what the direction begins with");
}

#[test]
fn credit_comes_in_quarters() {
    let config = Config { window_bytes: 1_000, ..Config::default() };
    let mut receiver = receiver(&config);
    frames(&mut receiver);
    receiver.messages(run(0, 2)).unwrap();
    receiver.messages(run(2, 4)).unwrap();
    receiver.take();
    receiver.take();
    assert_eq!(frames(&mut receiver), [""; 0]);
    receiver.take();
    assert_eq!(frames(&mut receiver), ["credit 400 1400"]);
}

//= test S-22, S-23
#[test]
fn only_end_at_the_place_reached_is_an_end() {
    let mut receiver = receiver(&Config::default());
    receiver.messages(run(0, 2)).unwrap();
    assert!(receiver.end(at(3)).is_err());
    receiver.attempt(None).unwrap();
    receiver.at(place(1)).unwrap();
    assert!(receiver.end(at(1)).is_err(), "not where it has come to");
    assert!(!receiver.is_complete());
    receiver.messages(run(1, 2)).unwrap();
    receiver.end(at(2)).unwrap();
    assert_eq!(receiver.sync(point(1, 2)), Err(Violation::AfterEnd { end: at(2) }.into()));
    assert_eq!(receiver.messages(run(2, 3)), Err(Violation::AfterEnd { end: at(2) }.into()));
    assert!(receiver.is_complete() && !receiver.is_finished());
    assert_eq!(receiver.take(), Taken::Messages(run(0, 2)));
    assert_eq!(receiver.take(), Taken::End);
    receiver.attempt(None).unwrap();
    receiver.at(place(0)).unwrap();
    receiver.messages(run(0, 2)).unwrap();
    receiver.end(at(2)).unwrap();
    assert_eq!(receiver.take(), Taken::End, "once more in a later attempt");
}

/// A point was confirmed although the application had left before it: a call resumed from there had lost what lay before.
//= test S-3
#[test]
fn what_nobody_wants_is_dropped_and_not_secured() {
    let config = Config { window_bytes: 300, ..Config::default() };
    let mut receiver = receiver(&config);
    receiver.messages(run(0, 2)).unwrap();
    receiver.unwanted();
    receiver.messages(run(2, 3)).unwrap();
    receiver.sync(point(1, 3)).unwrap();
    assert_eq!(receiver.kept_bytes(), 0);
    assert_eq!(frames(&mut receiver), ["credit 300 600"]);
    assert_eq!(receiver.resumption(), None);
}

/// It would secure the next one of its number.
//= test D-16, I14
#[test]
fn a_point_that_was_kept_from_before_a_base_is_told_from_one_behind_it() {
    let mut receiver = receiver(&explicit());
    let kept = SyncPoint { kind: PointKind::Separating, ..point(1, 2) };
    receiver.messages(run(0, 2)).unwrap();
    receiver.sync(kept.clone()).unwrap();
    receiver.messages(run(2, 3)).unwrap();
    let base = Base { serial: Serial(1), position: at(3), generation: Generation(1) };
    receiver.reset(ResyncKind::Set, &base, &base.secured(Bytes::new(), Bytes::new()));
    assert_eq!(receiver.take(), Taken::Messages(run(0, 2)));
    assert_eq!(receiver.take(), Taken::Point(kept));
    assert!(receiver.is_before_base());
    let void = SecureError::NotDelivered { serial: Serial(1), delivered: Serial(0) };
    assert_eq!(receiver.secure(Serial(1), Bytes::new()), Err(void));
    assert_eq!(receiver.take(), Taken::Wait);
    assert!(!receiver.is_before_base());
}

/// What it has is not behind a base, although a higher generation arrives: its points count.
//= test S-35
#[test]
fn a_point_from_before_the_sender_was_restored_is_before_no_base() {
    let mut receiver = receiver(&explicit());
    receiver.messages(run(0, 2)).unwrap();
    receiver.sync(point(1, 2)).unwrap();
    receiver.attempt(None).unwrap();
    receiver.at(At { generation: Generation(1), ..place(2) }).unwrap();
    assert_eq!(receiver.take(), Taken::Messages(run(0, 2)));
    assert_eq!(receiver.take(), Taken::Point(point(1, 2)));
    assert!(receiver.delivers() < receiver.generation() && !receiver.is_before_base());
    receiver.secure(Serial(1), Bytes::new()).unwrap();
}
