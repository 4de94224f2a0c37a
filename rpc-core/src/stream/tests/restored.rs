//! Durable flows: what a server confirms when it is stored, and how it goes on after a crash with a client that lives on.

use bytes::Bytes;

use super::messages;
use crate::error::Reason;
use crate::frame::{At, Credit, Frame, Received};
use crate::id::Attempt;
use crate::policy::Secure;
use crate::stream::Config;
use crate::stream::digest::DigestKind;
use crate::stream::error::{AttemptError, StreamError, SyncError, Violation};
use crate::stream::flow::{Flow, Side, Step, Take};
use crate::stream::position::{Generation, Position, Serial};
use crate::stream::resume::Resume;
use crate::stream::run::Run;
use crate::stream::secured::Resumption;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::ORIGIN;

fn config(side: Side) -> Config {
    let durable = side == Side::Server;
    Config { secure: Secure::Explicit, digest: DigestKind::Blake3, durable, ..Config::default() }
}

/// Messages `from..to` of 100 bytes each.
fn part(from: u8, to: u8) -> Bytes {
    messages(&(from..to).map(|fill| (95, fill)).collect::<Vec<_>>())
}

fn at(messages: u64) -> Position {
    Position { messages, bytes: messages * 100 }
}

/// A client and a server that may crash.
struct Call {
    client: Flow,
    server: Flow,
    attempt: Attempt,
}

impl Call {
    fn new() -> Self {
        let [client, server] = [Side::Client, Side::Server].map(|side| Flow::new(side, &config(side)));
        let mut call = Self { client, server, attempt: Attempt(0) };
        call.client.attempt(NOW, call.attempt, None).unwrap();
        call.server.attempt(NOW, call.attempt, None).unwrap();
        call
    }

    /// The server dies, and another takes its place with what it had stored. They are not connected.
    fn crash(&mut self, stored: &Resumption) {
        self.server = Flow::restored(Side::Server, &config(Side::Server), stored);
    }

    fn reconnect(&mut self) {
        self.attempt = self.attempt.next();
        self.client.attempt(NOW, self.attempt, None).unwrap();
        let resume = self.client.resume();
        self.server.attempt(NOW, self.attempt, Some(&resume)).unwrap();
    }

    fn up(&mut self) -> Vec<Step> {
        pass(&mut self.client, &mut self.server, self.attempt)
    }

    fn down(&mut self) -> Vec<Step> {
        pass(&mut self.server, &mut self.client, self.attempt)
    }

    /// Back and forth until both are silent.
    fn talk(&mut self) {
        while self.up().len() + self.down().len() > 0 {}
        assert_eq!((self.client.failed(), self.server.failed()), (None, None));
    }
}

/// Hands `to` what `from` writes; answers what that was.
fn pass(from: &mut Flow, to: &mut Flow, attempt: Attempt) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = from.poll(NOW, attempt).unwrap();
        match step.clone() {
            Step::Data(bytes) => {
                let messages = bytes.len() as u64 / 100;
                to.data_in(attempt, Run::contiguous(bytes, messages)).unwrap();
            }
            Step::Control(frame) => to.control_in(attempt, frame).unwrap(),
            Step::Idle { .. } | Step::Failed(_) => return steps,
        }
        steps.push(step);
    }
}

/// What the application gets until it has to wait: the number of messages and the states of points.
fn read(flow: &mut Flow) -> (u64, Vec<Bytes>) {
    let (mut count, mut states) = (0, Vec::new());
    loop {
        match flow.take() {
            Take::Messages(run) => count += run.messages(),
            Take::Point(point) => states.push(point.state),
            Take::End | Take::Wait => return (count, states),
            Take::Failed(error) => panic!("{error}"),
        }
    }
}

fn acks(steps: &[Step]) -> Vec<Serial> {
    let serial = |step: &Step| match step {
        Step::Control(Frame::SyncAck(ack)) => Some(ack.serial),
        _ => None,
    };
    steps.iter().filter_map(serial).collect()
}

/// The client sends messages and a point, which the server's application secures.
fn upload(call: &mut Call, messages: Bytes, state: &'static str) {
    call.client.app_sends(messages);
    call.client.app_syncs("sent".into()).unwrap();
    call.up();
    read(&mut call.server);
    let serial = Serial(call.server.mark().declared.0 + 1);
    call.server.secure(serial, state.into()).unwrap();
}

//= test S-3
#[test]
fn a_point_is_confirmed_when_it_is_stored() {
    let mut call = Call::new();
    assert_eq!(call.server.unstored(), None);
    upload(&mut call, part(0, 2), "one");
    let first = call.server.unstored().unwrap();
    assert_eq!(first.requests.as_ref().unwrap().receiver_state, "one");
    assert_eq!(acks(&call.down()), [], "not stored");
    assert_eq!((call.server.resumption(), call.server.progress().received_secured), Default::default());

    upload(&mut call, part(2, 4), "two");
    upload(&mut call, part(4, 6), "three");
    call.server.stored(&first);
    assert_eq!(acks(&call.down()), [Serial(1)], "what was stored, and no more");
    let second = call.server.unstored().unwrap();
    assert_eq!(second.requests.as_ref().unwrap().serial, Serial(3), "one for both");
    call.reconnect();
    assert_eq!(acks(&call.down()), [Serial(1)], "again, and no more");
    call.server.stored(&second);
    call.server.stored(&first);
    assert_eq!(acks(&call.down()), [Serial(3)]);
    assert_eq!((call.server.unstored(), call.server.resumption()), (None, second.clone()));
    assert_eq!(call.client.resumption().requests, second.requests);

    let beyond = Resumption {
        requests: second.requests.map(|point| crate::stream::secured::Secured { serial: Serial(4), ..point }),
        responses: None,
    };
    call.server.stored(&beyond);
    assert_eq!(acks(&call.down()), [], "nobody declared that one secured");
}

#[test]
fn confirmations_of_the_peer_are_to_be_stored_and_hold_nothing_back() {
    let mut call = Call::new();
    call.server.app_sends(part(0, 2));
    call.server.app_syncs("here".into()).unwrap();
    call.down();
    read(&mut call.client);
    call.client.secure(Serial(1), "there".into()).unwrap();
    assert_eq!(acks(&call.up()), [Serial(1)]);
    assert_eq!(call.server.progress().sent_secured, at(2));
    let resumption = call.server.unstored().unwrap();
    assert_eq!(resumption, call.server.resumption());
    call.server.stored(&resumption);
    assert_eq!((call.server.unstored(), call.client.unstored()), (None, None));
}

//= test C-59
#[test]
fn a_failed_store_ends_the_stream_and_confirms_nothing() {
    let mut call = Call::new();
    upload(&mut call, part(0, 2), "one");
    call.server.store_failed();
    let error = call.server.failed().unwrap();
    assert_eq!((error, error.reason()), (StreamError::Unstored, Reason::StoreUnavailable));
    assert_eq!((call.down(), call.server.unstored()), (Vec::new(), None));
}

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

impl Call {
    fn talk_until_failed(&mut self) {
        while self.client.failed().is_none() && self.server.failed().is_none() {
            assert!(self.up().len() + self.down().len() > 0, "nobody has noticed");
        }
    }
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
