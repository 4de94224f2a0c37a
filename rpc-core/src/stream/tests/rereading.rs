//! Senders that keep no bytes of what they sent.

use std::time::Duration;

use bytes::Bytes;

use super::link::{Forged, Plan, World};
use super::seeds::{crashing, cut_after_every_byte, ended, interrupted, plan as any_plan};
use super::{Random, messages};
use crate::dialog::Terms;
use crate::frame::{Credit, Frame, Received};
use crate::id::Attempt;
use crate::negotiate::Unit;
use crate::policy::{Checkpoint, Secure};
use crate::stream::Config;
use crate::stream::digest::Digest;
use crate::stream::error::{KeepError, StreamError};
use crate::stream::flow::{Flow, Side, Step};
use crate::stream::position::{Position, Serial};
use crate::stream::resume::Resume;
use crate::stream::secured::{Resumption, Secured};
use crate::time::Timestamp;

use super::talk;

const SEEDS: u64 = 2_000;
const NOW: Timestamp = Timestamp::ORIGIN;

fn plan(seed: u64) -> Plan {
    let mut plan = any_plan(seed);
    plan.configs.iter_mut().for_each(|config| config.dialog = None);
    plan.rereads = [[true, true], [true, false], [false, true]][Random::new(seed).below(3)];
    plan
}

//= test I6, I9, I10, I11, S-1, S-11, S-12, S-20
#[test]
fn every_call_ends_with_every_message_once_although_nothing_is_kept() {
    let (mut deaths, mut rereads) = (0, 0);
    for seed in 0..SEEDS {
        let world = ended(plan(seed));
        deaths += world.deaths;
        rereads += world.rereads;
    }
    assert!(deaths > 4_000 && rereads > 1_000, "{deaths} deaths, {rereads} sources read again");
}

//= test S-10, D-18
#[test]
fn interrupted_calls_whose_sources_are_read_again_go_on_from_their_secured_points() {
    let (mut interruptions, mut rereads) = (0, 0);
    for seed in 0..SEEDS / 2 {
        let world = ended(interrupted(plan(seed)));
        interruptions += world.interruptions;
        rereads += world.rereads;
    }
    assert!(interruptions > 2_000 && rereads > 150, "{interruptions} interruptions, {rereads} rereads");
}

//= test S-20, S-28, S-34
#[test]
fn durable_calls_whose_sources_are_read_again_survive_crashes() {
    let (mut crashes, mut rereads) = (0, 0);
    for seed in 0..SEEDS {
        let world = ended(crashing(plan(seed)));
        crashes += world.crashes;
        rereads += world.rereads;
    }
    assert!(crashes > 4_000 && rereads > 500, "{crashes} crashes, {rereads} sources read again");
}

#[test]
fn a_call_of_each_kind_survives_a_cut_after_every_byte() {
    cut_after_every_byte(|bytes| Plan { explicit: bytes % 2 == 0, rereads: [true; 2], ..plan(5) });
}

/// A byte of a message that is given again is another one, or there are fewer messages.
//= test S-20, I13
#[test]
fn a_source_that_gives_something_else_the_second_time_is_found_out() {
    let (mut skipped, mut sent_again) = (0, 0);
    for seed in 0..SEEDS {
        let mut plan = plan(seed);
        plan.rereads = [false, true];
        let mut world = World::new(plan);
        while !world.is_done() && !world.peers[1].flow.is_reread_due() {
            world.turn();
        }
        let sent = world.peers[1].flow.sender().sent().messages;
        let Some(from) = world.peers[1].flow.reread().filter(|from| *from < sent) else { continue };
        world.begin_again_at(1, from);
        let lie = from + world.below(sent - from);
        world.plan.forged = Some(if seed % 3 == 0 { Forged::End(lie) } else { Forged::Byte(lie) });
        let had = world.peers[0].flow.receiver().received().messages;
        let secured = world.peers[0].flow.receiver().secured();
        let mut turns = 0;
        while world.peers.iter().all(|peer| peer.flow.failed().is_none()) {
            world.turn();
            turns += 1;
            assert!(turns < 60_000, "not found out: {:?}", world.plan);
        }
        let found = world.peers.iter().find_map(|peer| peer.flow.failed());
        assert!(matches!(found, Some(StreamError::Diverged(_))), "{found:?}: {:?}", world.plan);
        if lie < had {
            assert_eq!(world.peers[0].flow.receiver().received().messages, had, "nothing new was sent");
        }
        assert!(world.peers[0].flow.receiver().secured() >= secured);
        skipped += u32::from(lie < had);
        sent_again += u32::from(lie >= had);
    }
    assert!(skipped > 50 && sent_again > 50, "{skipped} lies in what the peer had, {sent_again} behind that");
}

fn part(from: u8, to: u8) -> Bytes {
    messages(&(from..to).map(|fill| (95, fill)).collect::<Vec<_>>())
}

fn at(messages: u64) -> Position {
    Position { messages, bytes: messages * 100 }
}

/// A server that has sent 6 messages, with points after 2 and 4 that its application asked for.
fn server() -> Flow {
    let mut server = Flow::new(Side::Server, &Config::default());
    server.keep_positions().unwrap();
    server.attempt(NOW, Attempt(0), None).unwrap();
    for (from, to) in [(0, 2), (2, 4), (4, 6)] {
        server.app_sends(part(from, to));
        if to < 6 {
            server.app_syncs(Bytes::from(vec![to])).unwrap();
        }
    }
    written(&mut server, 0);
    server
}

/// What it writes: `D2` for messages of 200 bytes, `S1` for point 1, `AT4` for the place after 4.
fn written(flow: &mut Flow, attempt: u32) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match flow.poll(NOW, Attempt(attempt)).unwrap() {
            Step::Data(bytes) => all.push(format!("D{}", bytes.len() / 100)),
            Step::Control(Frame::Sync(point)) => all.push(format!("S{}", point.serial)),
            Step::Control(Frame::At(at)) => all.push(format!("AT{}", at.position.messages)),
            Step::Control(Frame::End(at)) => all.push(format!("END{}", at.messages)),
            Step::Control(_) => {}
            Step::Idle { .. } => return all,
            Step::Failed(error) => panic!("{error}"),
        }
    }
}

/// What the peer says that has so many messages.
fn has(messages: u64) -> Resume {
    let limit = Position { messages: 10_000, bytes: 1 << 20 };
    let crc = crate::checksum::append(0, &part(0, messages as u8));
    Resume {
        received: Received { position: at(messages), crc, limit, ..Default::default() },
        ..Default::default()
    }
}

#[test]
fn nothing_is_kept_of_what_was_sent() {
    let server = server();
    assert_eq!((server.sender().kept_bytes(), server.progress().sent), (0, at(6)));
}

#[test]
fn what_the_peer_lacks_is_given_again_from_the_last_point_that_it_has() {
    let mut server = server();
    server.app_sends(part(6, 7));
    server.attempt(NOW, Attempt(1), Some(&has(3))).unwrap();
    assert_eq!(written(&mut server, 1), [""; 0], "it has not come to where the peer is");
    server.app_sends(part(8, 9));
    server.app_syncs_at(7, Bytes::from_static(b"of before")).unwrap();
    assert_eq!((server.reread(), server.reread()), (Some(2), None));
    server.app_sends(part(2, 3));
    assert_eq!(written(&mut server, 1), ["AT3"]);
    server.app_syncs_at(4, Bytes::from_static(b"4")).unwrap();
    server.app_sends(part(3, 5));
    assert_eq!(written(&mut server, 1), ["D1", "S2", "D1"], "the point is where it was, and once");
    server.app_sends(part(5, 7));
    assert_eq!(written(&mut server, 1), ["D1", "D1"]);
    assert_eq!((server.progress().sent, server.progress().sent_again), (at(7), 300));
    assert_eq!(server.sender().kept_bytes(), 0);
}

/// As many points wait as may, and none is confirmed unless what lies before them comes again.
//= test S-33
#[test]
fn a_direction_full_of_points_is_read_again_all_the_same() {
    let mut server = Flow::new(Side::Server, &Config::default());
    server.keep_positions().unwrap();
    server.attempt(NOW, Attempt(0), None).unwrap();
    let limit = Position { messages: 10_000, bytes: 1 << 20 };
    let credit = Frame::Credit(Credit { received: Position::ORIGIN, limit });
    server.control_in(Attempt(0), credit).unwrap();
    let mut messages = 0;
    while server.wants_data() {
        server.app_sends(part(0, 1));
        messages += 1;
        server.app_syncs_at(messages, Bytes::new()).unwrap();
        written(&mut server, 0);
    }
    let sent = server.progress().sent;
    assert!(sent.messages >= 1_022 && !server.sender().is_rereading(), "{sent}");
    server.attempt(NOW, Attempt(1), Some(&has(0))).unwrap();
    assert_eq!(server.reread(), Some(0));
    for messages in 1..=messages {
        assert!(server.wants_data());
        server.app_sends(part(0, 1));
        server.app_syncs_at(messages, Bytes::new()).unwrap();
    }
    let all = written(&mut server, 1);
    let given: u64 = all.iter().filter_map(|out| out.strip_prefix('D')?.parse::<u64>().ok()).sum();
    assert_eq!((given, server.progress().sent), (sent.messages, sent));
    assert!(!server.wants_data(), "full again");
}

/// A source begins with the point at which it begins, or behind it.
#[test]
fn a_point_where_the_source_begins_is_not_placed_twice() {
    for is_given in [true, false] {
        let mut server = server();
        server.app_sends(part(6, 7));
        server.attempt(NOW, Attempt(1), Some(&has(4))).unwrap();
        assert_eq!(server.reread(), Some(4));
        if is_given {
            server.app_syncs_at(4, Bytes::from_static(b"4")).unwrap();
        }
        server.app_sends(part(4, 7));
        assert_eq!(written(&mut server, 1), ["AT4", "S2", "D2", "D1"], "{is_given}");
    }
    let state = Bytes::from_static(b"4");
    for (left, placed) in [(&b"4"[..], "D1"), (b"", "S3")] {
        let digest = Digest { crc: crate::checksum::append(0, &part(0, 4)), blake3: None };
        let [sender_state, receiver_state] = [Bytes::from_static(left), Bytes::new()];
        let secured = Secured { serial: Serial(2), position: at(4), digest, sender_state, receiver_state };
        let resumption = Resumption { requests: None, responses: Some(secured) };
        let mut server = Flow::resumed(Side::Server, &Config::default(), &resumption);
        server.keep_positions().unwrap();
        server.attempt(NOW, Attempt(0), Some(&has(4))).unwrap();
        server.app_syncs_at(4, state.clone()).unwrap();
        server.app_sends(part(4, 5));
        assert_eq!(written(&mut server, 0)[..2], ["AT4", placed]);
    }
}

#[test]
fn a_peer_that_has_everything_asks_for_nothing() {
    let mut server = server();
    server.attempt(NOW, Attempt(1), Some(&has(6))).unwrap();
    assert_eq!(server.reread(), None);
    server.app_sends(part(6, 7));
    assert_eq!(written(&mut server, 1), ["AT6", "D1"]);
}

/// Whether a point right at the end was placed is known by its count.
#[test]
fn a_point_at_the_end_of_what_was_sent_is_placed_once() {
    for is_placed in [true, false] {
        let mut server = server();
        server.app_syncs(Bytes::from_static(b"6")).unwrap();
        if is_placed {
            assert_eq!(written(&mut server, 0), ["S3"]);
        }
        server.attempt(NOW, Attempt(1), Some(&has(5))).unwrap();
        assert_eq!(server.reread(), Some(4));
        server.app_sends(part(4, 6));
        server.app_syncs_at(6, Bytes::from_static(b"6")).unwrap();
        assert_eq!(written(&mut server, 1), ["AT5", "D1", "S3"], "{is_placed}");
        server.app_syncs_at(6, Bytes::from_static(b"new")).unwrap();
        assert_eq!(written(&mut server, 1), ["S4"]);
    }
}

/// A point is due by its time, and cannot be placed: asked when to come back, it must not say at once for ever.
#[test]
fn who_waits_for_its_source_sleeps() {
    let second = Duration::from_secs(1);
    let policy = Checkpoint {
        every_messages: None,
        every_bytes: None,
        every: Some(second),
        secure: Secure::Automatic,
    };
    let config = Config { checkpoint: Some(policy), ..Config::default() };
    let mut server = Flow::new(Side::Server, &config);
    server.keep_positions().unwrap();
    server.attempt(NOW, Attempt(0), None).unwrap();
    server.app_sends(part(0, 2));
    written(&mut server, 0);
    let later = NOW + second * 5;
    server.attempt(later, Attempt(1), Some(&has(1))).unwrap();
    let step = std::iter::from_fn(|| server.poll(later, Attempt(1)).ok())
        .find(|step| !matches!(step, Step::Control(_)));
    assert_eq!(step, Some(Step::Idle { wake: later + config.keepalive }));
}

//= test S-22
#[test]
fn an_end_that_was_told_stays_where_it_was() {
    for lies in [false, true] {
        let mut server = server();
        server.app_ended();
        assert_eq!(written(&mut server, 0), ["S3", "END6"]);
        assert!(!server.wants_data());
        server.attempt(NOW, Attempt(1), Some(&has(5))).unwrap();
        assert!(server.wants_data() && server.needs_source());
        assert_eq!(server.reread(), Some(4));
        server.app_sends(if lies { part(4, 7) } else { part(4, 6) });
        assert_eq!(server.failed(), lies.then_some(StreamError::Diverged(at(6))));
        if !lies {
            server.app_ended();
            assert_eq!(written(&mut server, 1), ["AT5", "D1", "S3", "END6"]);
        }
    }
}

//= test S-12
#[test]
fn a_place_that_no_message_of_the_source_ends_at_is_told() {
    let mut server = server();
    let inside = Position { messages: 3, bytes: 301 };
    let claim = |position| Resume { received: Received { position, ..has(3).received }, ..has(3) };
    for impossible in [Position { messages: 3, bytes: 203 }, at(7), Position { messages: 4, bytes: 399 }] {
        assert!(server.attempt(NOW, Attempt(1), Some(&claim(impossible))).is_err(), "{impossible}");
    }
    server.attempt(NOW, Attempt(1), Some(&claim(inside))).unwrap();
    assert_eq!(server.reread(), Some(2));
    server.app_sends(part(2, 3));
    assert_eq!(server.failed(), Some(StreamError::Diverged(inside)));
}

#[test]
fn a_client_is_silent_until_its_peer_has_said_what_it_has() {
    let mut client = Flow::new(Side::Client, &Config::default());
    client.keep_positions().unwrap();
    client.attempt(NOW, Attempt(0), None).unwrap();
    client.app_sends(part(0, 2));
    client.app_syncs(Bytes::new()).unwrap();
    client.app_sends(part(2, 5));
    assert_eq!(written(&mut client, 0), ["D2", "S1", "D3"]);
    client.attempt(NOW, Attempt(1), None).unwrap();
    assert_eq!(client.resume().send_from, at(0));
    assert_eq!((written(&mut client, 1), client.reread()), (vec![], None));
    client.control_in(Attempt(1), Frame::Received(has(4).received)).unwrap();
    assert_eq!(client.reread(), Some(2));
    client.app_sends(part(2, 6));
    assert_eq!(written(&mut client, 1), ["AT4", "D1", "D1"]);
}

/// It has no way to say what it has.
//= test S-29
#[test]
fn a_caller_without_frames_gets_it_again_from_what_counts_as_secured() {
    let mut server = server();
    server.attempt_without_frames(NOW, Attempt(1), Position::ORIGIN).unwrap();
    assert_eq!(server.reread(), Some(0));
    server.app_sends(part(0, 6));
    assert_eq!(written(&mut server, 1), ["D2", "S1", "D2", "S2", "D2"]);
}

#[test]
fn a_source_that_is_gone_is_told_when_it_is_missed() {
    let mut server = server();
    server.app_ended();
    server.source_gone();
    written(&mut server, 0);
    server.attempt(NOW, Attempt(1), Some(&has(6))).unwrap();
    assert_eq!(written(&mut server, 1), ["AT6", "S3", "END6"]);
    server.attempt(NOW, Attempt(2), Some(&has(5))).unwrap();
    let failed = std::iter::from_fn(|| server.poll(NOW, Attempt(2)).ok())
        .find(|step| !matches!(step, Step::Control(_)));
    assert_eq!(failed, Some(Step::Failed(StreamError::Incomplete(at(5)))));
}

#[test]
fn bytes_are_let_go_from_the_beginning_or_never_and_not_in_a_dialog() {
    let mut flow = Flow::new(Side::Client, &Config::default());
    flow.app_sends(part(0, 1));
    assert_eq!(flow.keep_positions(), Err(KeepError::Begun));
    let terms = Terms {
        side: Side::Client,
        units: talk::units(&[Unit::TypedData]),
        half_duplex: false,
        first_turn: Side::Client,
    };
    let mut flow = Flow::new(Side::Client, &Config { dialog: Some(terms), ..Config::default() });
    assert_eq!(flow.keep_positions(), Err(KeepError::Dialog));
}
