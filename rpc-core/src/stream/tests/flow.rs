//! One flow, or two in step: what the shells rely on.

use std::time::Duration;

use bytes::Bytes;

use super::messages;
use crate::error::Reason;
use crate::frame::{At, Frame, Head, Received};
use crate::id::Attempt;
use crate::stream::Config;
use crate::stream::error::{AttemptError, Fenced, StreamError, Violation};
use crate::stream::flow::{Flow, Side, Step, Take};
use crate::stream::position::{Generation, Position, Serial};
use crate::stream::resume::Resume;
use crate::stream::run::Run;
use crate::stream::splitter::{Piece, Splitter};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::ORIGIN;
const FIRST: Attempt = Attempt(0);
const SECOND: Attempt = Attempt(1);

fn flow(side: Side) -> Flow {
    let mut flow = Flow::new(side, &Config::default());
    flow.attempt(NOW, FIRST, None).unwrap();
    flow
}

fn run(message: &[(usize, u8)]) -> Run {
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(messages(message));
    let Some(Piece::Messages(run)) = splitter.next().unwrap() else { panic!("messages") };
    run
}

/// Everything that `from` writes now, given to `to`.
fn pass(from: &mut Flow, to: &mut Flow, attempt: Attempt) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = from.poll(NOW, attempt).unwrap();
        match step.clone() {
            Step::Data(bytes) => {
                let mut splitter = Splitter::new(1 << 20);
                splitter.push(bytes);
                while let Some(Piece::Messages(run)) = splitter.next().unwrap() {
                    to.data_in(attempt, run).unwrap();
                }
            }
            Step::Control(frame) => to.control_in(attempt, frame).unwrap(),
            Step::Idle { .. } | Step::Failed(_) => return steps,
        }
        steps.push(step);
    }
}

//= test S-14
#[test]
fn an_older_attempt_says_and_hears_nothing_more() {
    let mut flow = flow(Side::Server);
    flow.attempt(NOW, SECOND, None).unwrap();
    let fenced = Err(Fenced { attempt: FIRST });
    assert_eq!(flow.attempt(NOW, FIRST, None), Err(Fenced { attempt: FIRST }.into()));
    assert_eq!(flow.data_in(FIRST, run(&[(1, 1)])), fenced);
    assert_eq!(flow.control_in(FIRST, Frame::Cancel), fenced);
    assert_eq!(flow.transport_ended(FIRST), Err(Fenced { attempt: FIRST }));
    assert_eq!(flow.poll(NOW, FIRST), Err(Fenced { attempt: FIRST }));
    flow.detached(FIRST);
    assert_eq!(flow.current(), Some(SECOND));
    assert_eq!(flow.failed(), None);
    flow.detached(SECOND);
    assert_eq!(flow.poll(NOW, SECOND), Err(Fenced { attempt: SECOND }));
    assert_eq!(
        flow.attempt(NOW, SECOND, None),
        Err(Fenced { attempt: SECOND }.into()),
        "an attempt is made once"
    );
}

//= test S-12
#[test]
fn an_attempt_with_impossible_positions_is_refused_and_the_older_one_goes_on() {
    let mut server = flow(Side::Server);
    server.data_in(FIRST, run(&[(10, 1)])).unwrap();
    server.app_sends(messages(&[(10, 1)]));
    let far = Position { messages: 9, bytes: 900 };
    let ahead = Resume { send_from: far, ..Resume::default() };
    let beyond = Resume { received: Received { position: far, ..Received::default() }, ..Resume::default() };
    let unplaced =
        Resume { received: Received { secured: Serial(1), ..Received::default() }, ..Resume::default() };
    for resume in [ahead, beyond, unplaced] {
        let refused = server.attempt(NOW, SECOND, Some(&resume));
        assert!(matches!(refused, Err(AttemptError::Refused(_))), "{refused:?}");
        assert_eq!((server.current(), server.failed()), (Some(FIRST), None));
    }
    server.attempt(NOW, SECOND, Some(&Resume::default())).unwrap();
}

/// Nobody takes the messages, and nothing but small frames comes: what arrived must be told all the same.
#[test]
fn small_messages_that_nobody_takes_arrive_up_to_the_credit() {
    let (mut client, mut server) = (flow(Side::Client), flow(Side::Server));
    for _ in 0..6_000 {
        client.app_sends(messages(&[(1, 1)]));
        pass(&mut client, &mut server, FIRST);
        pass(&mut server, &mut client, FIRST);
    }
    assert_eq!(server.progress().received.messages, 6_000);
    assert_eq!(server.progress().delivered.messages, 0);
}

//= test S-15
#[test]
fn a_resumed_attempt_begins_with_what_this_side_has() {
    let (mut client, mut server) = (flow(Side::Client), flow(Side::Server));
    client.app_sends(messages(&[(10, 1), (20, 2)]));
    pass(&mut client, &mut server, FIRST);
    server.take();
    client.attempt(NOW, SECOND, None).unwrap();
    let resume = client.resume();
    assert_eq!(resume.send_from, Position::ORIGIN);
    server.attempt(NOW, SECOND, Some(&resume)).unwrap();
    let received = Received { position: Position { messages: 2, bytes: 40 }, ..server.resume().received };
    assert_eq!(server.poll(NOW, SECOND), Ok(Step::Control(Frame::Received(received))));
    assert!(matches!(client.poll(NOW, SECOND), Ok(Step::Control(Frame::Received(_)))));
    assert!(matches!(client.poll(NOW, SECOND), Ok(Step::Control(Frame::At(_)))));
    assert_eq!(client.poll(NOW, SECOND), Ok(Step::Data(messages(&[(10, 1), (20, 2)]))), "at once");
    assert_eq!(client.progress().resumes, 1);
}

//= test W-20
#[test]
fn a_silent_direction_speaks_every_20_s() {
    let mut flow = flow(Side::Client);
    let later = NOW + Duration::from_secs(20);
    assert!(matches!(flow.poll(NOW, FIRST), Ok(Step::Control(Frame::Credit(_)))), "the rest of the window");
    assert_eq!(flow.poll(NOW, FIRST), Ok(Step::Idle { wake: later }));
    assert_eq!(flow.poll(later, FIRST), Ok(Step::Control(Frame::Keepalive)));
    assert_eq!(flow.poll(later, FIRST), Ok(Step::Idle { wake: later + Duration::from_secs(20) }));
}

//= test W-18, W-19
#[test]
fn the_head_comes_before_the_first_message_in_each_attempt() {
    let (mut client, mut server) = (flow(Side::Client), flow(Side::Server));
    let head = Head { entries: vec![(Bytes::from_static(b"name"), Bytes::from_static(b"value"))] };
    server.answer_head(head.clone());
    server.app_sends(messages(&[(1, 1)]));
    let steps = pass(&mut server, &mut client, FIRST);
    assert_eq!(steps[0], Step::Control(Frame::Head(head.clone())));
    assert_eq!(client.head(), Some(&head));
    server.attempt(NOW, SECOND, None).unwrap();
    server.poll(NOW, SECOND).unwrap();
    assert_eq!(server.poll(NOW, SECOND), Ok(Step::Control(Frame::Head(head))));
    let entries = vec![(Bytes::from_static(b"name"), Bytes::from(vec![0; 16 << 10]))];
    server.answer_head(Head { entries });
    assert!(matches!(server.failed(), Some(StreamError::Unsendable(_))));
}

//= test S-24
#[test]
fn cancel_goes_out_first_and_again_in_the_next_attempt() {
    let (mut client, mut server) = (flow(Side::Client), flow(Side::Server));
    client.app_sends(messages(&[(1, 1)]));
    client.cancel();
    assert_eq!(client.poll(NOW, FIRST), Ok(Step::Control(Frame::Cancel)));
    assert_eq!(client.poll(NOW, FIRST), Ok(Step::Failed(StreamError::Cancelled)));
    client.attempt(NOW, SECOND, None).unwrap();
    server.attempt(NOW, SECOND, Some(&client.resume())).unwrap();
    pass(&mut client, &mut server, SECOND);
    assert_eq!(server.take(), Take::Failed(StreamError::Cancelled));
    assert_eq!(server.poll(NOW, SECOND), Ok(Step::Failed(StreamError::Cancelled)));
    assert!(!server.wants_data());
}

//= test W-23, S-23
#[test]
fn an_end_without_end_is_no_end() {
    let mut server = flow(Side::Server);
    server.data_in(FIRST, run(&[(10, 1)])).unwrap();
    assert_eq!(server.transport_ended(FIRST), Ok(false));
    assert!(matches!(server.take(), Take::Messages(_)));
    assert_eq!(server.take(), Take::Wait, "it may be resumed");
    server.abandon();
    let reached = Position { messages: 1, bytes: 15 };
    let error = StreamError::Incomplete(reached);
    assert_eq!(server.take(), Take::Failed(error));
    assert_eq!(error.reason(), Reason::StreamIncomplete);
}

#[test]
fn what_arrived_before_the_stream_broke_off_is_still_delivered() {
    let mut server = flow(Side::Server);
    server.data_in(FIRST, run(&[(10, 1)])).unwrap();
    server.abandon();
    assert!(matches!(server.take(), Take::Messages(_)));
    assert!(matches!(server.take(), Take::Failed(StreamError::Incomplete(_))));
}

#[test]
fn a_caller_without_frames_ends_with_its_body() {
    let mut server = flow(Side::Server);
    server.data_in(FIRST, run(&[(10, 1)])).unwrap();
    server.ended_without_frames(FIRST).unwrap();
    assert!(matches!(server.take(), Take::Messages(_)));
    assert_eq!(server.take(), Take::End);
}

/// A program that reads no control frames sends again from the place that `Query` told it.
//= test S-29
#[test]
fn a_caller_without_frames_goes_on_from_the_place_in_its_header() {
    let mut server = flow(Side::Server);
    server.data_in(FIRST, run(&[(10, 1), (10, 2)])).unwrap();
    let resume = Resume { send_from: Position { messages: 1, bytes: 15 }, ..Default::default() };
    server.attempt(NOW, SECOND, Some(&resume)).unwrap();
    server.data_in(SECOND, run(&[(10, 2), (10, 3)])).unwrap();
    assert_eq!(server.progress().received, Position { messages: 3, bytes: 45 });
}

#[test]
fn frames_of_the_other_side_or_of_another_generation_end_the_stream() {
    let mut server = flow(Side::Server);
    server.control_in(FIRST, Frame::Head(Head::default())).unwrap();
    assert_eq!(server.failed(), Some(Violation::WrongSide.into()));
    let mut client = flow(Side::Client);
    client.control_in(FIRST, Frame::Cancel).unwrap();
    assert_eq!(client.poll(NOW, FIRST), Ok(Step::Control(Frame::Cancel)), "a client tells the server");
    //= test I14
    let (stated, expected) = (Generation(1), Generation(0));
    let at = At { generation: stated, position: Position::ORIGIN, crc: 0 };
    let received = Received { generation: stated, ..Received::default() };
    for frame in [Frame::At(at), Frame::Received(received)] {
        let mut flow = flow(Side::Server);
        flow.control_in(FIRST, frame).unwrap();
        assert_eq!(flow.failed(), Some(Violation::Generation { stated, expected }.into()));
    }
}

/// The confirmations of an upload travel with the responses. If nobody reads those, the upload must go on all the same.
//= test S-25
#[test]
fn confirmations_pass_data_that_nobody_takes() {
    let (mut client, mut server) = (flow(Side::Client), flow(Side::Server));
    server.app_sends(messages(&[(100_000, 7); 30]));
    pass(&mut server, &mut client, FIRST);
    let message = messages(&[(60_000, 1)]);
    for _ in 0..500 {
        assert!(client.wants_data());
        client.app_sends(message.clone());
        pass(&mut client, &mut server, FIRST);
        while matches!(server.take(), Take::Messages(_)) {}
        pass(&mut server, &mut client, FIRST);
    }
    assert!(client.progress().sent_secured.messages > 400, "{:?}", client.progress());
    assert_eq!(client.progress().delivered, Position::ORIGIN);
}
