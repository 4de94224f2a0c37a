use std::time::Duration;

use super::*;
use crate::frame::STATE_BYTES_MAX;
use crate::policy::{Checkpoint, Secure};
use crate::stream::error::SyncError;
use crate::stream::tests::messages;

const NOW: Timestamp = Timestamp::ORIGIN;

fn config(window_bytes: u64) -> Config {
    Config { window_bytes, ..Config::default() }
}

/// A sender in its first attempt, whose peer has the same window.
fn sender(config: &Config) -> Sender {
    let mut sender = Sender::new(config);
    sender.attempt(false, None).unwrap();
    sender.credit(Credit { received: Position::ORIGIN, limit: config.window() }).unwrap();
    sender
}

/// What it writes until it waits: `100` for 100 bytes of data, `S3` for point 3, `AT100`, `END100`.
fn written(sender: &mut Sender) -> Vec<String> {
    written_at(sender, NOW)
}

fn written_at(sender: &mut Sender, now: Timestamp) -> Vec<String> {
    std::iter::from_fn(|| sender.step(now))
        .map(|out| match out {
            Out::Data(bytes) => bytes.len().to_string(),
            Out::Frame(Frame::At(at)) => format!("AT{}", at.position.bytes),
            Out::Frame(Frame::Sync(point)) => format!("S{}", point.serial),
            Out::Frame(Frame::End(end)) => format!("END{}", end.bytes),
            Out::Frame(other) => panic!("{other:?}"),
        })
        .collect()
}

fn batch(count: usize, length: usize) -> Bytes {
    messages(&vec![(length - 5, 9); count])
}

fn ack(serial: u64) -> SyncAck {
    SyncAck { serial: Serial(serial), state: Bytes::new() }
}

fn at(messages: u64, length: u64) -> Position {
    Position { messages, bytes: messages * length }
}

fn has(sender: &mut Sender, position: Position, secured: u64) -> Received {
    let limit = sender.limit;
    let mut whole = batch(1_000, 100);
    whole.truncate(usize::try_from(position.bytes).unwrap());
    let crc = crate::checksum::append(0, &whole);
    Received { position, crc, secured: Serial(secured), limit, ..Default::default() }
}

//= test S-1, S-2, S-11
#[test]
fn only_a_confirmation_frees_what_is_kept() {
    let mut sender = sender(&config(1_000));
    sender.push(batch(10, 100)).unwrap();
    assert_eq!(written(&mut sender), ["1000", "S1"]);
    assert!(!sender.has_room());
    sender.credit(Credit { received: at(10, 100), limit: at(1_000, 100) }).unwrap();
    sender.push(batch(1, 100)).unwrap();
    assert_eq!(written(&mut sender), [""; 0], "received is not secured: the window is full");
    assert!(!sender.has_room());
    sender.ack(ack(1)).unwrap();
    assert_eq!(written(&mut sender), ["100"]);
    assert!(sender.has_room());
    assert_eq!(sender.secured(), at(10, 100));
}

//= test S-12
#[test]
fn what_was_never_sent_is_neither_confirmed_nor_received() {
    let mut sender = sender(&config(1_000));
    sender.push(batch(4, 100)).unwrap();
    sender.sync(Bytes::new()).unwrap();
    let before = (sender.secured(), sender.kept_bytes());
    let refused = Violation::ConfirmedUnplaced { serial: Serial(1), next: Serial(1) };
    assert_eq!(sender.ack(ack(1)), Err(refused), "asked for, not sent");
    written(&mut sender);
    assert!(sender.credit(Credit { received: at(5, 100), limit: at(9, 100) }).is_err());
    for position in [at(5, 100), Position { messages: 2, bytes: 201 }, Position { messages: 3, bytes: 200 }] {
        sender.detached();
        let claim = Received { position, ..Default::default() };
        let refused = sender.attempt(true, Some(&claim));
        assert!(matches!(refused, Err(StreamError::Violation(Violation::ImpossiblePosition { .. }))));
    }
    assert!(sender.ack(ack(2)).is_err());
    assert_eq!((sender.secured(), sender.kept_bytes()), before);
    sender.ack(ack(1)).unwrap();
    sender.ack(ack(1)).unwrap();
    assert_eq!(sender.secured(), at(4, 100));
}

//= test S-8
#[test]
fn a_full_window_always_has_a_point_in_it() {
    for batches in [1, 3, 10] {
        let mut sender = sender(&config(4_000));
        while sender.has_room() {
            sender.push(batch(batches, 100)).unwrap();
        }
        let written = written(&mut sender);
        assert!(written.contains(&"S1".to_owned()), "{written:?}");
        assert!(sender.cadence.last().bytes >= 2_000, "half of it: {written:?}");
    }
}

/// Found by random calls with tiny windows: what it costs to keep short messages filled the window long before their
/// bytes did, and no point was placed that could have emptied it.
//= test S-8
#[test]
fn a_window_full_of_a_few_short_messages_has_a_point_in_it() {
    let mut sender = sender(&config(1_000));
    while sender.has_room() {
        sender.push(batch(1, 10)).unwrap();
        written(&mut sender);
    }
    assert!(sender.sent().bytes < 250, "a quarter of the window would be reason enough: {:?}", sender.sent());
    let serial = sender.cadence.last();
    assert_eq!(serial, sender.sent());
}

//= test S-9
#[test]
fn points_of_the_policy_come_at_ends_of_batches_and_asked_ones_exactly() {
    let policy =
        Checkpoint { every_messages: Some(4), every_bytes: None, every: None, secure: Secure::Automatic };
    let mut sender = sender(&Config { checkpoint: Some(policy), ..Config::default() });
    sender.push(batch(3, 5_000)).unwrap();
    sender.push(batch(3, 5_000)).unwrap();
    sender.push(batch(1, 5_000)).unwrap();
    assert_eq!(written(&mut sender), ["15000", "15000", "S1", "5000"]);
    sender.sync(Bytes::from_static(b"state")).unwrap();
    sender.sync(Bytes::new()).unwrap();
    sender.push(batch(9, 5_000)).unwrap();
    assert_eq!(written(&mut sender), ["S2", "S3", "45000", "S4"]);
    assert_eq!(&sender.points.waiting(Serial(2)).unwrap().state[..], b"state");
}

//= test S-9
#[test]
fn a_point_comes_after_its_time() {
    let second = Duration::from_secs(1);
    let policy = Checkpoint {
        every_messages: None,
        every_bytes: None,
        every: Some(second),
        secure: Secure::Automatic,
    };
    let mut sender = sender(&Config { checkpoint: Some(policy), ..Config::default() });
    assert_eq!(sender.wake(), None);
    sender.push(batch(1, 100)).unwrap();
    assert_eq!(written(&mut sender), ["100"]);
    assert_eq!(sender.wake(), Some(NOW + second));
    assert_eq!(written_at(&mut sender, NOW + second / 2), [""; 0]);
    assert_eq!(written_at(&mut sender, NOW + second), ["S1"]);
    assert_eq!(sender.wake(), None);
}

//= test S-15, S-16, S-17
#[test]
fn a_resumed_attempt_sends_64_kib_and_then_goes_where_the_peer_is() {
    let mut sender = sender(&config(1 << 20));
    sender.push(batch(1_000, 100)).unwrap();
    assert_eq!(written(&mut sender), ["100000"]);
    sender.attempt(true, None).unwrap();
    assert_eq!(written(&mut sender), ["AT0", "65500"]);
    let received = has(&mut sender, at(900, 100), 0);
    sender.peer_has(&received).unwrap();
    assert_eq!(written(&mut sender), ["AT90000", "10000"]);
    let received = has(&mut sender, at(910, 100), 0);
    sender.attempt(true, Some(&received)).unwrap();
    assert_eq!(written(&mut sender), ["AT91000", "9000"], "known for certain: no bound");
}

#[test]
fn a_peer_that_only_says_what_it_had_before_this_attempt_is_no_reason_to_jump() {
    let mut sender = sender(&config(1 << 20));
    sender.push(batch(100, 100)).unwrap();
    written(&mut sender);
    sender.attempt(true, None).unwrap();
    assert_eq!(written(&mut sender), ["AT0", "10000"]);
    let received = has(&mut sender, at(40, 100), 0);
    sender.peer_has(&received).unwrap();
    sender.push(batch(1, 100)).unwrap();
    assert_eq!(written(&mut sender), ["100"], "the rest is under way");
}

#[test]
fn a_peer_that_lost_what_it_had_not_secured_gets_it_again() {
    let mut sender = sender(&config(1 << 20));
    sender.push(batch(100, 100)).unwrap();
    sender.sync(Bytes::new()).unwrap();
    sender.push(batch(100, 100)).unwrap();
    written(&mut sender);
    sender.credit(Credit { received: at(150, 100), limit: at(1_000, 100) }).unwrap();
    sender.attempt(true, None).unwrap();
    assert_eq!(written(&mut sender), ["AT15000", "5000"]);
    let received = has(&mut sender, at(100, 100), 1);
    sender.peer_has(&received).unwrap();
    assert_eq!(written(&mut sender), ["AT10000", "5000", "5000"]);
}

/// A confirmation that came while messages before its point were sent again freed them, and what came next had a hole
/// before it that the receiver took for a repetition.
//= test S-17
#[test]
fn a_confirmation_in_the_middle_of_a_repetition_is_a_jump() {
    let mut sender = sender(&Config { window_bytes: 1 << 20, ..Config::default() });
    for _ in 0..3 {
        sender.push(batch(400, 100)).unwrap();
        sender.sync(Bytes::new()).unwrap();
    }
    written(&mut sender);
    sender.attempt(true, None).unwrap();
    assert_eq!(sender.step(NOW).map(|_| sender.step(NOW)).map(|_| sender.cursor().bytes), Some(40_000));
    sender.ack(ack(2)).unwrap();
    assert_eq!(written(&mut sender)[0], "AT80000");
}

//= test S-16
#[test]
fn a_link_too_short_for_an_answer_gets_less_each_time() {
    let mut sender = sender(&config(1 << 20));
    sender.push(batch(1_000, 100)).unwrap();
    written(&mut sender);
    let mut sent = Vec::new();
    for _ in 0..9 {
        sender.attempt(true, None).unwrap();
        written(&mut sender);
        sent.push(sender.cursor().bytes);
    }
    assert_eq!(sent, [65_500, 32_700, 16_300, 8_100, 4_000, 2_000, 1_000, 0, 0]);
    let received = has(&mut sender, at(0, 100), 0);
    sender.peer_has(&received).unwrap();
    written(&mut sender);
    sender.attempt(true, None).unwrap();
    assert_eq!(written(&mut sender), ["AT0", "1000"]);
}

#[test]
fn a_message_longer_than_the_window_travels_alone() {
    let mut sender = sender(&config(1_000));
    sender.push(batch(1, 500)).unwrap();
    sender.push(batch(1, 3_000)).unwrap();
    assert_eq!(written(&mut sender), ["500", "S1"], "not before everything is secured");
    sender.ack(ack(1)).unwrap();
    assert_eq!(written(&mut sender), ["3000", "S2"], "whatever the credit is");
}

//= test S-26
#[test]
fn before_the_first_credit_64_kib_and_1024_messages_are_sent() {
    for (length, messages) in [(100, 655), (50, 1_024)] {
        let mut sender = Sender::new(&config(1 << 20));
        sender.attempt(false, None).unwrap();
        sender.push(batch(2_000, length)).unwrap();
        written(&mut sender);
        assert_eq!(sender.sent().messages, messages);
        let limit = sender.limit.plus(10, 1_000);
        sender.credit(Credit { received: Position::ORIGIN, limit }).unwrap();
        written(&mut sender);
        assert_eq!(sender.sent().messages, messages + 10);
    }
}

/// The sender's window was larger than the receiver's, whose whole window of credit it waited for.
//= test S-26
#[test]
fn a_message_longer_than_the_credit_travels_alone() {
    let mut sender = Sender::new(&config(1 << 20));
    sender.attempt(false, None).unwrap();
    sender.push(batch(1, 100_000)).unwrap();
    sender.push(batch(1, 100_000)).unwrap();
    assert_eq!(written(&mut sender), ["100000", "S1"], "nothing is before it");
    sender.credit(Credit { received: at(1, 100_000), limit: at(1, 100_000).plus(9, 1_000) }).unwrap();
    assert_eq!(written(&mut sender), [""; 0]);
    sender.ack(ack(1)).unwrap();
    assert_eq!(written(&mut sender), ["100000"]);
}

//= test S-26
#[test]
fn credit_is_kept_in_messages_and_in_bytes() {
    let config = Config { window_messages: 7, ..config(1 << 20) };
    let mut sender = sender(&config);
    sender.push(batch(10, 100)).unwrap();
    assert_eq!(written(&mut sender), ["700", "S1"]);
    sender.credit(Credit { received: at(7, 100), limit: at(9, 100) }).unwrap();
    assert_eq!(written(&mut sender), ["200"]);
}

/// A receiver that took one message at a time got a point with each, and synced its disk for it.
//= test S-8
#[test]
fn a_sender_that_is_stopped_waits_for_the_point_that_is_on_its_way() {
    let mut sender = sender(&Config { window_messages: 100, ..config(1 << 20) });
    sender.push(batch(110, 100)).unwrap();
    let first = written(&mut sender);
    assert_eq!(first.last().map(String::as_str), Some("S1"), "{first:?}");
    let credit = |sender: &mut Sender, received: u64| {
        let limit = at(received + 1, 100);
        sender.credit(Credit { received: at(received, 100), limit }).unwrap();
    };
    for message in 100..103 {
        credit(&mut sender, message);
        assert_eq!(written(&mut sender), ["100"], "{message}");
    }
    sender.ack(ack(1)).unwrap();
    assert_eq!(written(&mut sender), ["S2"], "none is on its way");
    credit(&mut sender, 103);
    assert_eq!(written(&mut sender), ["100"]);
    let wake = sender.wake().unwrap();
    assert_eq!(written_at(&mut sender, wake), ["S3"], "the receiver may have passed the other one over");
    assert_eq!(sender.wake(), None);
}

/// h2 closes a connection over a few thousand DATA frames of less than 256 bytes that nobody reads.
#[test]
fn small_frames_that_nobody_takes_in_are_held_back_and_joined() {
    let mut sender = sender(&config(1 << 20));
    let mut frames = Vec::new();
    for _ in 0..2_000 {
        sender.push(batch(1, 10)).unwrap();
        frames.append(&mut written(&mut sender));
    }
    let lengths: Vec<u64> = frames.iter().filter_map(|frame| frame.parse().ok()).collect();
    assert_eq!(lengths.iter().filter(|length| **length < 256).count(), 512);
    assert!(lengths.contains(&260), "together they are no small frame");
    let received = sender.sent();
    sender.credit(Credit { received, limit: at(9_999, 10) }).unwrap();
    sender.push(batch(1, 10)).unwrap();
    assert_eq!(written(&mut sender), ["70"], "what was held back goes at once");
}

//= test S-22
#[test]
fn the_end_is_a_point_and_a_position() {
    let mut sender = sender(&config(1_000));
    sender.push(batch(2, 100)).unwrap();
    sender.end().unwrap();
    assert_eq!(written(&mut sender), ["200", "S1", "END200"]);
    assert!(sender.is_finished() && !sender.is_secured());
    sender.attempt(true, None).unwrap();
    assert_eq!(written(&mut sender), ["AT0", "200", "S1", "END200"], "once in each attempt");
    sender.ack(ack(1)).unwrap();
    assert!(sender.is_secured());
    let mut empty = Sender::new(&config(1_000));
    empty.attempt(false, None).unwrap();
    empty.end().unwrap();
    assert_eq!(written(&mut empty), ["END0"]);
    assert!(empty.is_secured());
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let mut sender = sender(&config(1_000));
    let frame = Bytes::from_static(b"\0\0\0\0\x06\xFA\xFF\xFF\xFF\x0F\0");
    assert_eq!(sender.push(frame), Err(Unsendable::LooksLikeControl.into()));
    let mut sender = self::sender(&config(1_000));
    sender.push(batch(1, 100).slice(..50)).unwrap();
    assert_eq!(sender.sync(Bytes::new()), Err(SyncError::WithinMessage));
    assert_eq!(sender.end(), Err(Unsendable::HalfMessage.into()));
    sender.push(batch(1, 100).slice(50..)).unwrap();
    assert_eq!(sender.sync(vec![0; STATE_BYTES_MAX + 1].into()), Err(SyncError::StateTooLong(65_537)));
    for _ in 0..16 {
        sender.sync(vec![0; STATE_BYTES_MAX].into()).unwrap();
    }
    assert_eq!(sender.sync(Bytes::from_static(b"1")), Err(SyncError::TooManyPoints));
    sender.end().unwrap();
    assert_eq!(sender.sync(Bytes::new()), Err(SyncError::AfterEnd));
    assert_eq!(sender.push(Bytes::new()), Err(Unsendable::AfterEnd.into()));
}

//= test S-9, S-10
#[test]
fn points_lie_exactly_where_they_were_asked_for_before_their_messages_were_given() {
    let mut sender = sender(&config(1 << 20));
    sender.push(batch(2, 100)).unwrap();
    for messages in [7, 3, 12, 3] {
        sender.sync_at(messages, messages.to_string().into()).unwrap();
    }
    assert_eq!(sender.sync_at(1, Bytes::new()), Err(SyncError::Passed { after: 1, given: 2 }));
    assert_eq!(written(&mut sender), ["200"]);
    sender.push(batch(10, 100)).unwrap();
    assert_eq!(written(&mut sender), ["100", "S1", "S2", "400", "S3", "500", "S4"]);
    assert_eq!(&sender.points.waiting(Serial(3)).unwrap().state[..], b"7");
    sender.attempt(true, None).unwrap();
    assert_eq!(written(&mut sender), ["AT0", "300", "S1", "S2", "400", "S3", "500", "S4"], "again");
    sender.sync_at(99, Bytes::new()).unwrap();
    sender.end().unwrap();
    assert_eq!(written(&mut sender), ["END1200"], "there is no such place");
    assert_eq!(sender.sync_at(99, Bytes::new()), Err(SyncError::AfterEnd));
}

/// As many points as there may be lie before messages that are not given yet.
//= test S-33
#[test]
fn points_that_lie_ahead_do_not_keep_their_messages_out() {
    let mut sender = sender(&config(1 << 20));
    let most = crate::stream::POINTS_UNCONFIRMED_MAX as u64 - 1;
    let mut asked = 0;
    while sender.sync_at(10 + asked, Bytes::new()).is_ok() {
        asked += 1;
    }
    assert!(asked >= most, "{asked}");
    assert!(sender.has_room());
    sender.push(batch(2_000, 100)).unwrap();
    assert!(!sender.has_room());
    written(&mut sender);
    assert!(!sender.has_room(), "only a confirmation makes room");
    sender.ack(ack(most)).unwrap();
    assert!(sender.has_room());
}

/// A receiver that secures nothing before it has seen the last point.
//= test S-8, S-33
#[test]
fn a_place_is_left_for_the_point_before_the_end() {
    let policy =
        Checkpoint { every_messages: Some(1), every_bytes: None, every: None, secure: Secure::Explicit };
    let mut sender = sender(&Config { checkpoint: Some(policy), ..Config::default() });
    for _ in 0..1_500 {
        sender.push(batch(1, 300)).unwrap();
        written(&mut sender);
    }
    sender.end().unwrap();
    assert_eq!(written(&mut sender), ["S1024", "END450000"]);
}

//= test S-10
#[test]
fn the_peers_state_arrives_even_if_its_confirmation_was_lost() {
    let mut sender = sender(&config(1_000));
    sender.push(batch(1, 100)).unwrap();
    sender.sync(Bytes::new()).unwrap();
    written(&mut sender);
    let received = has(&mut sender, at(1, 100), 1);
    sender.attempt(true, Some(&received)).unwrap();
    assert_eq!(sender.secured(), at(1, 100));
    sender.ack(SyncAck { serial: Serial(1), state: Bytes::from_static(b"mine") }).unwrap();
    assert_eq!(&sender.confirmed().unwrap().state[..], b"mine");
}

//= test S-20
#[test]
fn a_peer_with_other_messages_has_diverged() {
    let mut sender = sender(&config(1_000));
    sender.push(batch(4, 100)).unwrap();
    written(&mut sender);
    let received = Received { crc: 1, ..has(&mut sender, at(2, 100), 0) };
    assert_eq!(sender.attempt(true, Some(&received)), Err(StreamError::Diverged(at(2, 100))));
}
