//! How a server goes on after a crash, with a client that lives on.

use std::time::Duration;

use bytes::Bytes;

use super::crash::{Call, NOW, at, config, part, read};
use super::messages;
use crate::frame::{At, Credit, Frame, Received};
use crate::id::Attempt;
use crate::policy::{Checkpoint, Secure};
use crate::stream::Config;
use crate::stream::error::{AttemptError, StreamError, SyncError, Violation};
use crate::stream::flow::{Flow, Side, Step, Take};
use crate::stream::position::{Generation, Position, Serial};
use crate::stream::resume::Resume;
use crate::stream::run::Run;
use crate::stream::secured::Resumption;

/// Of the 6 responses that the client has, 2 are stored. It has seen the points after 2 and 4.
fn ahead() -> (Call, Resumption) {
    let mut call = Call::new();
    for (from, to, state) in [(0, 2, "2"), (2, 4, "4"), (4, 6, "6")] {
        call.server.app_sends(part(from, to));
        call.server.app_syncs(state.into()).unwrap();
    }
    call.down();
    assert_eq!(read(&mut call.client).1, ["2", "4", "6"]);
    call.client.secure(Serial(1), "got 2".into()).unwrap();
    call.up();
    let stored = call.server.unstored().unwrap();
    call.server.stored(&stored);
    call.client.secure(Serial(2), "got 4".into()).unwrap();
    call.up();
    (call, stored)
}

/// The stored point is the first of three, and the handler places those after it once more.
//= test S-20, S-28, S-34, D-11
#[test]
fn a_restored_sender_sends_nothing_until_it_is_where_its_peer_is() {
    let (mut call, stored) = ahead();
    call.crash(&stored);
    assert_eq!(call.server.resumption(), stored);
    call.server.app_sends(part(2, 3));
    call.reconnect();
    let resume = call.client.resume();
    assert_eq!((resume.received.position, resume.received.next), (at(6), Serial(4)));
    call.server.app_sends(part(3, 4));
    call.server.app_syncs("4".into()).unwrap();
    call.server.app_syncs_at(5, "5".into()).unwrap();
    let long = Bytes::from(vec![0; (64 << 10) + 1]);
    assert_eq!(call.server.app_syncs_at(5, long), Err(SyncError::StateTooLong((64 << 10) + 1)));
    call.talk();
    call.server.app_sends(part(4, 5));
    assert!(
        !call
            .down()
            .iter()
            .any(|step| matches!(step, Step::Data(_) | Step::Control(Frame::At(_) | Frame::Sync(_))))
    );
    assert_eq!(call.server.progress().sent, at(5));

    call.server.app_sends(part(5, 7));
    call.server.app_syncs_at(6, "6".into()).unwrap_err();
    let steps = call.down();
    let Step::Control(Frame::At(At { generation, position, .. })) = steps[0] else { panic!("{steps:?}") };
    assert_eq!((generation, position), (Generation(1), at(6)));
    assert_eq!(steps[1], Step::Data(part(6, 7)));
    call.server.app_syncs("7".into()).unwrap();
    call.talk();
    assert_eq!(read(&mut call.client), (1, vec!["7".into()]));
    call.client.secure(Serial(4), "got 7".into()).unwrap();
    call.talk();
    let responses = call.server.unstored().unwrap().responses.unwrap();
    assert_eq!(
        (responses.serial, responses.position, &responses.sender_state[..]),
        (Serial(4), at(7), &b"7"[..])
    );
}

/// Whether the point at the end was sent before the crash is not known to the server that comes after it.
//= test S-9, S-35
#[test]
fn a_point_where_the_stream_goes_on_is_shown_once_and_secured_with_its_older_self() {
    for is_secured_before in [true, false] {
        let (mut call, stored) = ahead();
        if is_secured_before {
            call.client.secure(Serial(3), "got 6".into()).unwrap();
        }
        call.crash(&stored);
        call.server.app_sends(part(2, 6));
        call.server.app_syncs("6".into()).unwrap();
        call.reconnect();
        call.talk();
        assert_eq!(read(&mut call.client), (0, vec![]), "known");
        if !is_secured_before {
            call.client.secure(Serial(3), "got 6".into()).unwrap();
        }
        call.talk();
        let responses = call.server.unstored().unwrap().responses.unwrap();
        let [sender, receiver] = [&responses.sender_state[..], &responses.receiver_state[..]];
        assert_eq!((responses.position, sender, receiver), (at(6), &b"6"[..], &b"got 6"[..]));
        assert_eq!(responses.serial, Serial(4));
    }
}

#[test]
fn a_point_that_came_in_one_life_and_again_in_the_next_is_secured_once() {
    let (mut call, stored) = ahead();
    for _ in 0..2 {
        call.crash(&stored);
        call.server.app_sends(part(2, 6));
        call.server.app_syncs("6".into()).unwrap();
        call.server.app_syncs("new".into()).unwrap();
        call.reconnect();
        call.talk();
    }
    assert_eq!(read(&mut call.client), (0, vec!["new".into()]));
    call.client.secure(Serial(5), "got new".into()).unwrap();
    call.talk();
    let responses = call.server.unstored().unwrap().responses.unwrap();
    assert_eq!((responses.serial, &responses.sender_state[..]), (Serial(7), &b"new"[..]));
}

//= test S-20, S-35, I13
#[test]
fn what_follows_an_end_that_was_told_is_never_delivered() {
    let (mut call, stored) = ahead();
    call.server.app_ended();
    call.talk();
    assert!(matches!(call.client.take(), Take::End));
    call.crash(&stored);
    call.reconnect();
    call.server.app_sends(part(2, 6));
    call.server.app_ended();
    call.talk();
    assert_eq!(read(&mut call.client), (0, vec![Bytes::new()]), "the last point has another number");
    assert!(matches!(call.client.take(), Take::End));
    call.crash(&stored);
    call.reconnect();
    call.server.app_sends(part(2, 7));
    call.talk_until_failed();
    assert_eq!(call.client.failed(), Some(StreamError::Diverged(at(7))));
    assert_eq!(call.client.progress().received, at(6));
}

//= test S-12, S-34, D-11, I14
#[test]
fn what_the_peer_of_a_restored_sender_cannot_have_is_refused() {
    let (mut call, stored) = ahead();
    call.crash(&stored);
    call.client.attempt(NOW, Attempt(1), None).unwrap();
    let resume = call.client.resume();
    let received = resume.received;
    let wrong = [
        Received { position: at(1), ..received },
        Received { position: Position { messages: 3, bytes: 201 }, ..received },
        Received { secured: Serial(4), ..received },
        Received { next: Serial(u64::MAX), ..received },
        Received { generation: Generation(u32::MAX), ..received },
    ];
    for received in wrong {
        let refused = call.server.attempt(NOW, Attempt(1), Some(&Resume { received, ..resume }));
        assert!(matches!(refused, Err(AttemptError::Refused(_))), "{received:?}: {refused:?}");
    }
    call.server.attempt(NOW, Attempt(1), Some(&resume)).unwrap();
    let further = Resume { received: Received { position: at(7), ..received }, ..resume };
    let refused = call.server.attempt(NOW, Attempt(2), Some(&further));
    assert!(matches!(refused, Err(AttemptError::Refused(_))), "nothing came to it meanwhile");
    let credit = Credit { received: at(6), limit: at(9_000) };
    call.server.control_in(Attempt(1), Frame::Credit(credit)).unwrap();
    assert_eq!(call.server.failed(), None);

    call.server.app_sends(part(2, 8));
    call.server.control_in(Attempt(1), Frame::Received(received)).unwrap();
    assert_eq!(call.server.failed(), None, "it has not heard of the generation");
    let (stated, expected) = (Generation(0), Generation(1));
    let newer = Received { position: at(7), crc: 0, ..received };
    call.server.control_in(Attempt(1), Frame::Received(newer)).unwrap();
    assert_eq!(call.server.failed(), Some(Violation::Generation { stated, expected }.into()));
}

//= test D-11, I14
#[test]
fn an_older_generation_is_not_listened_to() {
    let (mut call, stored) = ahead();
    call.crash(&stored);
    call.reconnect();
    call.server.app_sends(part(2, 7));
    call.talk();
    let crc = call.client.resume().received.crc;
    let older = At { generation: Generation(0), position: at(7), crc };
    call.client.attempt(NOW, Attempt(2), None).unwrap();
    call.client.control_in(Attempt(2), Frame::At(older)).unwrap();
    let (stated, expected) = (Generation(0), Generation(1));
    assert_eq!(call.client.failed(), Some(Violation::Generation { stated, expected }.into()));
}

/// What the peer has and has not secured is no room for a message that travels alone.
//= test S-26
#[test]
fn a_restored_sender_waits_with_a_long_message_until_everything_before_it_is_secured() {
    let (mut call, stored) = ahead();
    call.crash(&stored);
    call.server.app_sends(part(2, 6));
    call.server.app_sends(messages(&[(4 << 20, 9)]));
    call.reconnect();
    call.up();
    let steps = call.down();
    let Some(Step::Control(Frame::Sync(point))) = steps.last() else { panic!("{steps:?}") };
    assert_eq!((point.position, point.serial), (at(6), Serial(4)));
}

/// Everything that it knows of is secured, and its peer has more.
//= test S-34
#[test]
fn a_restored_sender_is_not_done_before_its_peer_has_said_what_it_has() {
    let (mut call, stored) = ahead();
    call.crash(&stored);
    call.server.app_ended();
    assert!(!call.server.is_secured());
    call.reconnect();
    assert_eq!(call.server.failed(), Some(StreamError::Diverged(at(6))));
}

/// It has more to send than goes out before RECEIVED.
//= test S-16, S-34
#[test]
fn a_restored_sender_hears_from_the_frame_what_its_peer_has() {
    let (mut call, stored) = ahead();
    call.crash(&stored);
    call.server.app_sends(part(2, 6));
    call.server.app_sends(messages(&[(95, 7); 1_000]));
    call.reconnect_without_header();
    let told = |step: &Step| {
        matches!(step, Step::Control(Frame::Received(_) | Frame::SyncAck(_) | Frame::Credit(_)))
    };
    assert!(call.down().iter().all(told), "it knows nothing");
    call.talk();
    assert_eq!(call.client.progress().received, at(1_006));
}

/// Its peer may hold back what no point has vouched for, and the handler have nothing more for a long time.
//= test S-8
#[test]
fn what_the_peer_has_without_a_point_gets_one_in_time() {
    let (mut call, stored) = ahead();
    let second = Duration::from_secs(1);
    let policy =
        Checkpoint { every_messages: None, every_bytes: None, every: Some(second), secure: Secure::Explicit };
    let config = Config { checkpoint: Some(policy), ..config(Side::Server) };
    call.server = Flow::restored(Side::Server, &config, &stored);
    call.server.app_sends(part(2, 6));
    call.reconnect();
    call.talk();
    let later = NOW + second;
    assert_eq!(call.server.poll(NOW, Attempt(1)), Ok(Step::Idle { wake: later }));
    let Ok(Step::Control(Frame::Sync(point))) = call.server.poll(later, Attempt(1)) else {
        panic!("a point")
    };
    assert_eq!((point.position, point.serial), (at(6), Serial(4)));
}

/// It has no way to say what it has: what is not stored comes again.
#[test]
fn a_caller_without_frames_gets_the_response_from_where_it_is_stored() {
    let mut server = Flow::restored(Side::Server, &config(Side::Server), &Resumption::default());
    server.app_sends(part(0, 2));
    server.attempt_without_frames(NOW, Attempt(3), Position::ORIGIN).unwrap();
    assert!(matches!(server.poll(NOW, Attempt(3)), Ok(Step::Control(Frame::Credit(_)))));
    assert_eq!(server.poll(NOW, Attempt(3)), Ok(Step::Data(part(0, 2))));
    let (mut call, stored) = ahead();
    call.crash(&stored);
    call.reconnect();
    call.server.attempt_without_frames(NOW, Attempt(9), Position::ORIGIN).unwrap();
    assert!(matches!(call.server.failed(), Some(StreamError::Incomplete(_))), "it had frames before");
}

/// What it is told to be secured is stored, so no attempt of its leaves a gap.
//= test S-29, S-28
#[test]
fn an_upload_without_frames_goes_on_from_what_is_stored_or_from_its_beginning() {
    let run = |from: u8, to: u8| Run::contiguous(part(from, to), u64::from(to - from));
    let policy =
        Checkpoint { every_messages: Some(2), every_bytes: None, every: None, secure: Secure::Automatic };
    let config = Config { durable: true, checkpoint: Some(policy), ..Config::default() };
    for from in [0, 2] {
        let mut server = Flow::new(Side::Server, &config);
        server.attempt_without_frames(NOW, Attempt(0), Position::ORIGIN).unwrap();
        for (begin, end) in [(0, 2), (2, 4)] {
            server.data_in(Attempt(0), run(begin, end)).unwrap();
            server.place_received_point(NOW);
        }
        server.take();
        server.take();
        let stored = server.unstored().unwrap();
        server.stored(&stored);
        server.take();
        assert_eq!(server.resumption().requests.unwrap().position, at(2), "4 are not stored");

        let mut server = Flow::restored(Side::Server, &config, &stored);
        server.attempt_without_frames(NOW, Attempt(1), at(from)).unwrap();
        server.data_in(Attempt(1), run(from as u8, 5)).unwrap();
        server.ended_without_frames(Attempt(1)).unwrap();
        assert_eq!(server.take(), Take::Messages(run(2, 5)));
        assert_eq!((server.take(), server.failed()), (Take::End, None));
    }
}
