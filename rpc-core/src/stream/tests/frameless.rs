//! Callers without control frames.

use bytes::Bytes;

use super::messages;
use crate::error::Reason;
use crate::id::Attempt;
use crate::policy::{Checkpoint, Secure};
use crate::stream::flow::{Flow, Side, Take};
use crate::stream::position::{Position, Serial};
use crate::stream::run::Run;
use crate::stream::{Config, POINTS_UNCONFIRMED_MAX, Verify};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::ORIGIN;
const FIRST: Attempt = Attempt(0);
const SECOND: Attempt = Attempt(1);

fn policy(every_messages: u32) -> Checkpoint {
    Checkpoint {
        every_messages: Some(every_messages),
        every_bytes: None,
        every: None,
        secure: Secure::Automatic,
    }
}

fn server(config: &Config) -> Flow {
    let mut server = Flow::new(Side::Server, config);
    server.attempt_without_frames(NOW, FIRST, Position::ORIGIN).unwrap();
    server
}

/// Messages `from..to` of 100 bytes, as one of the stream's DATA.
fn part(from: u8, to: u8) -> Run {
    Run::contiguous(messages(&(from..to).map(|fill| (95, fill)).collect::<Vec<_>>()), u64::from(to - from))
}

fn at(messages: u64) -> Position {
    Position { messages, bytes: messages * 100 }
}

fn upload(server: &mut Flow, attempt: Attempt, run: Run) {
    server.data_in(attempt, run).unwrap();
    server.place_received_point(NOW);
}

fn secured(server: &Flow) -> Position {
    server.progress().received_secured
}

//= test S-29, S-8
#[test]
fn an_upload_without_frames_is_secured_by_the_policy_and_at_its_end() {
    let mut server = server(&Config { checkpoint: Some(policy(4)), ..Config::default() });
    upload(&mut server, FIRST, part(0, 3));
    assert!(matches!(server.take(), Take::Messages(_)));
    assert_eq!(server.take(), Take::Wait);
    assert_eq!(secured(&server), Position::ORIGIN);
    upload(&mut server, FIRST, part(3, 5));
    assert!(matches!(server.take(), Take::Messages(_)));
    assert_eq!(secured(&server), Position::ORIGIN, "given, not used up");
    assert_eq!(server.take(), Take::Wait);
    assert_eq!(secured(&server), at(5));
    assert_eq!(
        server.resumption().requests.map(|point| (point.serial, point.position)),
        Some((Serial(1), at(5)))
    );
    upload(&mut server, FIRST, part(5, 6));
    server.ended_without_frames(FIRST).unwrap();
    assert!(matches!(server.take(), Take::Messages(_)));
    assert_eq!(server.take(), Take::End);
    assert_eq!(secured(&server), at(6));
    assert!(server.is_received());
}

#[test]
fn the_window_and_time_place_points_too() {
    let mut windowed = server(&Config { window_bytes: 1_000, ..Config::default() });
    upload(&mut windowed, FIRST, part(0, 3));
    windowed.take();
    windowed.take();
    assert_eq!(secured(&windowed), at(3), "a quarter of it");
    let second = std::time::Duration::from_secs(1);
    let policy = Checkpoint { every_messages: None, every: Some(second), ..policy(1) };
    let mut timed = server(&Config { checkpoint: Some(policy), ..Config::default() });
    upload(&mut timed, FIRST, part(0, 1));
    timed.data_in(FIRST, part(1, 2)).unwrap();
    timed.place_received_point(NOW + second);
    while matches!(timed.take(), Take::Messages(_)) {}
    assert_eq!(secured(&timed), at(2));
}

/// It was never told how much it may send: what is in the connection's buffers when the handler stops is taken.
//= test S-31
#[test]
fn a_caller_without_frames_is_held_back_by_not_reading_on() {
    let mut server = server(&Config { window_bytes: 1_000, window_messages: 100, ..Config::default() });
    upload(&mut server, FIRST, part(0, 9));
    assert!(server.reads_without_frames());
    upload(&mut server, FIRST, part(9, 29));
    assert!(!server.reads_without_frames());
    assert_eq!(server.failed(), None);
    while matches!(server.take(), Take::Messages(_)) {}
    assert!(server.reads_without_frames());
}

//= test S-29, S-12, S-19
#[test]
fn a_later_attempt_begins_where_its_caller_says() {
    let mut server = server(&Config { checkpoint: Some(policy(4)), ..Config::default() });
    upload(&mut server, FIRST, part(0, 4));
    upload(&mut server, FIRST, part(4, 6));
    let half = Position { bytes: 450, ..at(4) };
    let too_near = Position { bytes: 398, ..at(3) };
    for wrong in [at(7), half, too_near, Position { messages: 0, bytes: 5 }] {
        let refused = server.attempt_without_frames(NOW, SECOND, wrong).unwrap_err();
        assert_eq!(refused.reason(), Reason::ProtocolViolated, "{wrong}");
        assert_eq!((server.current(), server.failed()), (Some(FIRST), None));
    }
    for (number, from) in [(1, 0), (2, 4), (3, 5), (4, 6)] {
        let attempt = Attempt(number);
        let received = server.progress().received;
        server.attempt_without_frames(NOW, attempt, at(from)).unwrap();
        upload(&mut server, attempt, part(from as u8, received.messages as u8 + 1));
        assert_eq!(server.failed(), None, "from {from}");
        assert_eq!(server.progress().received, received.plus(1, 100), "what was there is dropped");
    }
    let refused = server.attempt_without_frames(NOW, SECOND, at(4)).unwrap_err();
    assert_eq!(refused.reason(), Reason::AttemptFenced);
}

//= test S-20, S-23
#[test]
fn an_upload_that_is_repeated_wrongly_or_in_part_is_no_upload() {
    for (from, run, reason) in [
        (0, part(9, 15), Reason::StreamDiverged),
        (4, part(9, 12), Reason::StreamDiverged),
        (0, part(0, 3), Reason::ProtocolViolated),
    ] {
        let mut server = server(&Config { checkpoint: Some(policy(4)), ..Config::default() });
        upload(&mut server, FIRST, part(0, 4));
        upload(&mut server, FIRST, part(4, 6));
        server.attempt_without_frames(NOW, SECOND, at(from)).unwrap();
        upload(&mut server, SECOND, run);
        server.ended_without_frames(SECOND).unwrap();
        assert_eq!(server.failed().map(|error| error.reason()), Some(reason));
        assert!(!server.is_received());
    }
}

#[test]
fn a_handler_that_secures_points_itself_gets_the_last_one_however_many_wait() {
    let config = Config { checkpoint: Some(policy(1)), secure: Secure::Explicit, ..Config::default() };
    let mut server = server(&config);
    let count = POINTS_UNCONFIRMED_MAX as u64 + 10;
    for _ in 0..count {
        upload(&mut server, FIRST, part(0, 1));
    }
    server.ended_without_frames(FIRST).unwrap();
    let mut last = Serial::NONE;
    loop {
        match server.take() {
            Take::Messages(_) => {}
            Take::Point(point) => last = point.serial,
            Take::End => break,
            other => panic!("{other:?}"),
        }
    }
    server.secure(last, Bytes::new()).unwrap();
    assert_eq!(secured(&server), at(count));
}

#[test]
fn nothing_is_held_that_nobody_will_vouch_for() {
    let mut server = server(&Config { verify: Verify::Held, ..Config::default() });
    upload(&mut server, FIRST, part(0, 1));
    assert!(matches!(server.take(), Take::Messages(_)));
}
