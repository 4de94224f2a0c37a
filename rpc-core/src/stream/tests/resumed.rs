//! Flows that go on from secured points, and what they go on from.

use bytes::Bytes;

use super::messages;
use crate::error::Reason;
use crate::frame::{At, Frame, Received, SyncPoint};
use crate::id::Attempt;
use crate::policy::Secure;
use crate::stream::Config;
use crate::stream::digest::{Digest, DigestKind};
use crate::stream::error::AttemptError;
use crate::stream::flow::{Flow, Side, Step, Take};
use crate::stream::position::{Generation, Position, Serial};
use crate::stream::resume::Resume;
use crate::stream::run::Run;
use crate::stream::secured::{Resumption, Secured};
use crate::stream::splitter::{Piece, Splitter};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::ORIGIN;
const FIRST: Attempt = Attempt(0);
const HERE: Position = Position { messages: 2, bytes: 30 };

fn config() -> Config {
    Config { secure: Secure::Explicit, digest: DigestKind::Blake3, ..Config::default() }
}

/// Two flows of one call, in their first attempt.
fn pair(mut client: Flow, mut server: Flow) -> [Flow; 2] {
    client.attempt(NOW, FIRST, None).unwrap();
    let resume = client.resume();
    server.attempt(NOW, FIRST, Some(&resume)).unwrap();
    [client, server]
}

/// Hands `to` what `from` writes; answers what that was.
fn pass(from: &mut Flow, to: &mut Flow) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = from.poll(NOW, FIRST).unwrap();
        match step.clone() {
            Step::Data(bytes) => to.data_in(FIRST, run(bytes)).unwrap(),
            Step::Control(frame) => to.control_in(FIRST, frame).unwrap(),
            Step::Idle { .. } | Step::Failed(_) => return steps,
        }
        steps.push(step);
    }
}

fn run(bytes: Bytes) -> Run {
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(bytes);
    let Ok(Some(Piece::Messages(run))) = splitter.next() else { panic!("messages") };
    run
}

/// A call of which both directions have one secured point.
fn secured() -> [Flow; 2] {
    let [mut client, mut server] =
        pair(Flow::new(Side::Client, &config()), Flow::new(Side::Server, &config()));
    for (flow, name) in [(&mut client, "client"), (&mut server, "server")] {
        flow.app_sends(messages(&[(10, 1), (10, 2)]));
        flow.app_syncs(name.into()).unwrap();
        flow.app_sends(messages(&[(10, 3)]));
    }
    pass(&mut client, &mut server);
    pass(&mut server, &mut client);
    for (flow, state) in [(&mut client, "of responses"), (&mut server, "of requests")] {
        assert!(matches!(flow.take(), Take::Messages(_)));
        assert!(matches!(flow.take(), Take::Point(_)));
        flow.secure(Serial(1), state.into()).unwrap();
        assert!(matches!(flow.take(), Take::Messages(_)));
    }
    [client, server]
}

//= test S-10, D-18
#[test]
fn a_call_goes_on_from_its_secured_points_with_both_states() {
    let [mut client, mut server] = secured();
    assert_eq!(client.resumption().requests, None, "not confirmed yet");
    pass(&mut client, &mut server);
    pass(&mut server, &mut client);
    let resumption = client.resumption();
    assert_eq!(resumption, server.resumption());
    let requests = resumption.requests.clone().unwrap();
    assert_eq!((requests.serial, requests.position), (Serial(1), HERE));
    assert_eq!(
        (&requests.sender_state[..], &requests.receiver_state[..]),
        (&b"client"[..], &b"of requests"[..])
    );

    let flows = [Side::Client, Side::Server].map(|side| Flow::resumed(side, &config(), &resumption));
    assert!(flows.iter().all(|flow| flow.resumption() == resumption));
    let [client, server] = flows;
    let [mut client, mut server] = pair(client, server);
    assert_eq!(client.resume().send_from, HERE);
    client.app_sends(messages(&[(10, 3)]));
    client.app_syncs(Bytes::new()).unwrap();
    let steps = pass(&mut client, &mut server);
    let crc = requests.digest.crc;
    let is_received = matches!(steps[0], Step::Control(Frame::Received(Received { secured: Serial(1), .. })));
    assert!(is_received, "{steps:?}");
    assert!(steps.contains(&Step::Control(Frame::At(At { generation: Generation(0), position: HERE, crc }))));
    assert!(steps.contains(&Step::Data(messages(&[(10, 3)]))));
    let first = pass(&mut server, &mut client).swap_remove(0);
    assert!(matches!(first, Step::Control(Frame::Received(_))), "{first:?}");
    assert!(matches!(server.take(), Take::Messages(_)));
    let Take::Point(point) = server.take() else { panic!("a point: {:?}", server.failed()) };
    assert_eq!((point.serial, point.position), (Serial(2), HERE.plus(1, 15)), "numbers and digests go on");
}

/// The serial of a confirmation may come without its state, with RECEIVED. The states of a resumption belong together.
//= test S-10
#[test]
fn a_point_without_its_state_is_nothing_to_go_on_from() {
    let [mut client, mut server] = secured();
    let second = Attempt(1);
    client.attempt(NOW, second, None).unwrap();
    server.attempt(NOW, second, Some(&client.resume())).unwrap();
    let Step::Control(received) = server.poll(NOW, second).unwrap() else { panic!("RECEIVED") };
    client.control_in(second, received).unwrap();
    assert_eq!(client.progress().sent_secured, HERE);
    assert_eq!(client.resumption().requests, None);
    let Ok(Step::Control(ack @ Frame::SyncAck(_))) = server.poll(NOW, second) else { panic!("SYNC_ACK") };
    client.control_in(second, ack).unwrap();
    assert_eq!(client.resumption().requests, server.resumption().requests);
}

//= test S-12, S-19, S-20
#[test]
fn sides_that_go_on_from_different_points_are_told_apart() {
    let [_, server] = secured();
    let at = |resumption: Resumption| Flow::resumed(Side::Server, &config(), &resumption);
    let resumption = server.resumption();
    let mut client = Flow::resumed(Side::Client, &config(), &resumption);
    client.attempt(NOW, FIRST, None).unwrap();
    let resume = client.resume();
    let mut behind = at(Resumption::default());
    assert!(matches!(behind.attempt(NOW, FIRST, Some(&resume)), Err(AttemptError::Refused(_))), "a gap");
    let mut ahead = Flow::resumed(Side::Client, &config(), &Resumption::default());
    ahead.attempt(NOW, FIRST, None).unwrap();
    let behind = Resume { send_from: HERE, ..ahead.resume() };
    let mut freed = at(Resumption { responses: resumption.requests.clone(), ..resumption.clone() });
    assert!(matches!(freed.attempt(NOW, FIRST, Some(&behind)), Err(AttemptError::Refused(_))), "not kept");
    let requests = resumption
        .requests
        .map(|point| Secured { digest: Digest { crc: !point.digest.crc, ..point.digest }, ..point });
    let mut other = at(Resumption { requests, ..resumption });
    other.attempt(NOW, FIRST, Some(&resume)).unwrap();
    client.app_sends(messages(&[(10, 3)]));
    pass(&mut client, &mut other);
    let error = other.failed().expect("other messages before the point");
    assert_eq!(error.reason(), Reason::StreamDiverged);
}

#[test]
fn a_resumption_shows_no_state() {
    let point = SyncPoint {
        serial: Serial(3),
        position: HERE,
        digest: Digest { crc: 7, blake3: None },
        state: Bytes::from_static(b"secret"),
        kind: Default::default(),
    };
    let secured = Secured::new(&point, Bytes::from_static(b"other secret"));
    assert_eq!(format!("{secured:?}"), "Secured(3 at 2 messages, 30 bytes, <6 bytes>, <12 bytes>)");
}
