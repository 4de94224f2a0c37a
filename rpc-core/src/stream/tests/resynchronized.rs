//! Both sides go back to an agreed point.

use bytes::Bytes;

use super::talk::{Got, Pair, config, units};
use crate::dialog::{Answer, Answered, DialogError, Request, ResyncKind, TokenSet};
use crate::frame::PointKind;
use crate::negotiate::Unit;
use crate::stream::Config;
use crate::stream::digest::DigestKind;
use crate::stream::flow::{Flow, Side};
use crate::stream::position::{Generation, Serial};
use crate::stream::secured::Resumption;

const KINDS: [ResyncKind; 3] = [ResyncKind::Restart, ResyncKind::Set, ResyncKind::Abandon];

fn pair() -> Pair {
    Pair::with(units(&[Unit::Resynchronize, Unit::DataSeparation]))
}

/// Each side has sent three messages; a point lies after the first, which is secured, and the second.
fn spoken(mut pair: Pair) -> Pair {
    for side in [0, 1] {
        let ten = side as u64 * 10;
        for number in 1..4 {
            pair.give(side, [ten + number]);
            if number < 3 {
                pair.flows[side].app_syncs(Bytes::new()).unwrap();
            }
        }
    }
    pair
}

fn request(kind: ResyncKind, serial: u64, [requests, responses]: [bool; 2], by: usize) -> Request {
    let [own, other] = if by == 0 { [requests, responses] } else { [responses, requests] };
    let serial = |is_named: bool| is_named.then_some(Serial(serial));
    Request { kind, own: serial(own), other: serial(other), wishes: vec![], state: "asked".into() }
}

fn answer() -> Answer {
    Answer { state: "answered".into(), mine: TokenSet::NONE }
}

/// Answers what the peer asks for. Whether it did.
fn agree(pair: &mut Pair, side: usize) -> bool {
    let is_asked = pair.flows[side].resynchronization().is_some();
    if is_asked {
        pair.flows[side].answer_resynchronization(answer()).unwrap();
    }
    is_asked
}

/// Talks until the own request of `by` is answered.
#[track_caller]
fn until_answered(pair: &mut Pair, by: usize) -> Answered {
    for _ in 0..20 {
        pair.talk();
        agree(pair, 1 - by);
        pair.talk();
        if let Some(answered) = pair.flows[by].take_answered() {
            return answered;
        }
    }
    panic!("no answer: {:#?}", pair.story());
}

//= test D-11, D-12, D-13, D-14, D-16, I12, I14
#[test]
fn nothing_that_was_under_way_is_delivered_and_what_is_given_next_is() {
    for kind in KINDS {
        for by in [0, 1] {
            for touched in [[true, false], [false, true], [true, true]] {
                let mut pair = spoken(pair());
                pair.talk();
                let serial = if kind == ResyncKind::Restart { 2 } else { 7 };
                pair.flows[by].resynchronize(request(kind, serial, touched, by)).unwrap();
                let mut got = [Vec::new(), Vec::new()];
                got[by] = pair.messages(by);
                assert!(got[by].is_empty() || !touched[1 - by], "it is held");
                let answered = until_answered(&mut pair, by);
                let Answered::Confirmed(confirmation) = answered else { panic!("{answered:?}") };
                assert_eq!((confirmation.kind, &confirmation.state[..]), (kind, &b"answered"[..]));
                for side in [0, 1] {
                    pair.give(side, [side as u64 * 10 + 4]);
                    pair.flows[side].app_syncs(Bytes::new()).unwrap();
                }
                pair.talk();
                for (side, is_reset) in touched.into_iter().enumerate() {
                    let ten = side as u64 * 10;
                    let all = if is_reset { vec![ten + 4] } else { (ten + 1..=ten + 4).collect() };
                    let rest = pair.messages(1 - side);
                    got[1 - side].extend(rest);
                    assert_eq!(got[1 - side], all, "{kind:?} by {by} {touched:?}");
                    let own = pair.flows[side].sender();
                    assert_eq!(own.generation(), Generation(u32::from(is_reset)));
                    let restart = match (is_reset, kind) {
                        (true, ResyncKind::Abandon | ResyncKind::Set) => Serial::NONE,
                        (false, _) | (true, ResyncKind::Restart) => Serial::FIRST,
                    };
                    assert_eq!(own.serials().restart, restart);
                    let next = if is_reset { serial + 1 } else { 4 };
                    assert_eq!(own.serials().next, Serial(next));
                    assert_eq!(pair.flows[1 - side].receiver().serials().next, Serial(next));
                }
                pair.talk();
                assert_eq!(pair.flows.each_ref().map(Flow::resets), [1, 1]);
            }
        }
    }
}

/// The connection dies after each frame of the exchange, twice.
//= test D-11, D-16, I14, S-35
#[test]
fn a_resynchronization_is_done_once_whatever_the_connection_does() {
    for kind in KINDS {
        for touched in [[true, false], [false, true], [true, true]] {
            for by in [0, 1] {
                let mut cut = 1;
                loop {
                    let units = units(&[Unit::Resynchronize]);
                    let digest = if cut % 2 == 0 { DigestKind::Blake3 } else { DigestKind::Crc32c };
                    let mut pair = Pair::new([0, 1].map(|side| Config { digest, ..config(side, units) }));
                    pair.cuts = [cut, cut + 1 + cut % 4].into();
                    pair = spoken(pair);
                    pair.write(0);
                    let serial = if kind == ResyncKind::Restart { 1 } else { 9 };
                    pair.flows[by].resynchronize(request(kind, serial, touched, by)).unwrap();
                    let answered = until_answered(&mut pair, by);
                    assert!(matches!(answered, Answered::Confirmed(_)));
                    for side in [0, 1] {
                        pair.give(side, [side as u64 * 10 + 4]);
                        pair.flows[side].app_ended();
                    }
                    let mut got = [Vec::new(), Vec::new()];
                    while !pair.flows.iter().all(Flow::is_secured) {
                        pair.talk();
                        [0, 1].iter().for_each(|side| got[*side].extend(pair.messages(*side)));
                    }
                    for (side, is_reset) in touched.into_iter().enumerate() {
                        let ten = side as u64 * 10;
                        let all = if is_reset { vec![ten + 4] } else { (ten + 1..=ten + 4).collect() };
                        assert_eq!(got[1 - side], all, "{kind:?} by {by} {touched:?} cut after {cut}");
                    }
                    if pair.cuts.len() == 2 {
                        break;
                    }
                    cut += 1;
                }
                assert!(cut > 10, "{cut} frames are no exchange");
            }
        }
    }
}

/// Both ask. The order of X.215 decides, and the loser answers the winner's request.
//= test D-15, D-16, I20
#[test]
fn of_two_that_cross_one_is_done() {
    for first in KINDS {
        for second in KINDS {
            let mut cut = 1;
            loop {
                let mut pair = spoken(pair());
                pair.talk();
                pair.cuts = [pair.arrived + cut, pair.arrived + cut + 2].into();
                for (by, kind) in [first, second].into_iter().enumerate() {
                    let serial = if kind == ResyncKind::Restart { 2 } else { 8 };
                    pair.flows[by].resynchronize(request(kind, serial, [true; 2], by)).unwrap();
                }
                let mut answers = [None, None];
                while answers.iter().any(Option::is_none) {
                    pair.talk();
                    for side in [0, 1] {
                        agree(&mut pair, side);
                        answers[side] = answers[side].take().or_else(|| pair.flows[side].take_answered());
                    }
                }
                let [client, server] = answers.map(Option::unwrap);
                let is_won = |answered: &Answered| matches!(answered, Answered::Confirmed(_));
                assert_eq!([&client, &server].map(is_won), [first >= second, first < second]);
                pair.talk();
                assert_eq!(pair.flows.each_ref().map(Flow::resets), [1, 1]);
                pair.give(0, [4]);
                pair.talk();
                assert_eq!(pair.messages(1), [4]);
                if pair.cuts.len() == 2 {
                    break;
                }
                cut += 1;
            }
            assert!(cut > 4, "{cut} frames are no exchange");
        }
    }
}

//= test D-16, D-34
#[test]
fn what_lies_before_a_separating_point_is_delivered_first() {
    for by in [0, 1] {
        let mut cut = 1;
        loop {
            let mut pair = pair();
            pair.cuts = [cut, cut + 3].into();
            for side in [0, 1] {
                let ten = side as u64 * 10;
                pair.give(side, [ten + 1, ten + 2]);
                pair.flows[side].app_places(PointKind::Separating, "kept".into()).unwrap();
                pair.give(side, [ten + 3]);
            }
            pair.flows[by].resynchronize(request(ResyncKind::Abandon, 5, [true; 2], by)).unwrap();
            let mut got = [Vec::new(), Vec::new()];
            let mut answered = None;
            while answered.is_none() {
                pair.talk();
                if pair.flows[1 - by].resynchronization().is_some() {
                    let ten = by as u64 * 10;
                    assert_eq!(got[1 - by], [ten + 1, ten + 2], "before the indication");
                }
                agree(&mut pair, 1 - by);
                pair.talk();
                answered = pair.flows[by].take_answered();
                if answered.is_some() {
                    let ten = (1 - by) as u64 * 10;
                    assert_eq!(got[by], [ten + 1, ten + 2], "before the confirmation");
                }
                for side in [0, 1] {
                    got[side].extend(pair.messages(side));
                }
            }
            for side in [0, 1] {
                pair.give(side, [side as u64 * 10 + 4]);
            }
            pair.talk();
            for side in [0, 1] {
                got[side].extend(pair.messages(side));
            }
            assert_eq!(got, [vec![11, 12, 14], vec![1, 2, 4]], "cut after {cut}");
            if pair.cuts.len() == 2 {
                break;
            }
            cut += 1;
        }
        assert!(cut > 10, "{cut} frames are no exchange");
    }
}

/// A side that was shown a point may secure it after the resynchronization: nothing of the new generation is confirmed by
/// that.
//= test I14
#[test]
fn a_point_of_an_older_generation_secures_nothing() {
    let mut pair = spoken(pair());
    pair.talk();
    let shown = std::iter::from_fn(|| Some(pair.take(1))).take_while(|got| !got.is_empty()).flatten();
    let points: Vec<Serial> = shown
        .filter_map(|got| match got {
            Got::Point(point) => Some(point.serial),
            Got::Message(_) | Got::End => None,
        })
        .collect();
    assert_eq!(points, [Serial(1), Serial(2)]);
    pair.flows[0].resynchronize(request(ResyncKind::Restart, 1, [true, false], 0)).unwrap();
    until_answered(&mut pair, 0);
    pair.give(0, [4]);
    pair.flows[0].app_syncs(Bytes::new()).unwrap();
    pair.talk();
    assert!(matches!(pair.take(1)[..], [Got::Message(4)]));
    assert!(matches!(&pair.take(1)[..], [Got::Point(point)] if point.serial == Serial(1)));
    pair.flows[1].secure_in(Generation(0), Serial(1), "old".into()).unwrap();
    pair.talk();
    assert!(!pair.flows[0].is_secured() && pair.flows[0].sender().serials().unconfirmed == Serial(1));
    pair.flows[1].secure_in(Generation(1), Serial(1), "new".into()).unwrap();
    pair.talk();
    assert_eq!(pair.flows[0].sender().serials().unconfirmed, Serial(2));
}

fn durable() -> Pair {
    let units = units(&[Unit::Resynchronize]);
    let digest = DigestKind::Blake3;
    Pair::new([0, 1].map(|side| Config { durable: side == 1, digest, ..config(side, units) }))
}

/// The base with the states of both applications is what an interrupted activity goes on from.
//= test S-10, D-18
#[test]
fn what_a_resynchronization_leaves_is_its_base() {
    let mut pair = spoken(pair());
    pair.talk();
    pair.flows[0].resynchronize(request(ResyncKind::Set, 5, [true; 2], 0)).unwrap();
    until_answered(&mut pair, 0);
    let [client, server] = pair.flows.each_ref().map(Flow::resumption);
    assert_eq!(client, server);
    let Resumption { requests: Some(requests), responses: Some(responses) } = client else { panic!() };
    for (base, sender, receiver) in [(requests, "asked", "answered"), (responses, "answered", "asked")] {
        assert_eq!((base.serial, base.position.messages), (Serial(4), 3));
        assert_eq!((base.sender_state, base.receiver_state), (sender.into(), receiver.into()));
    }
    let resumption = server;
    pair.flows = [0, 1]
        .map(|side| Flow::resumed([Side::Client, Side::Server][side], &pair.configs[side], &resumption));
    pair.cut([true; 2]);
    pair.give(0, [4]);
    pair.flows[0].app_syncs(Bytes::new()).unwrap();
    pair.talk();
    assert!(matches!(&pair.read(1)[..], [Got::Message(4), Got::Point(point)] if point.serial == Serial(5)));
}

//= test S-3, D-11
#[test]
fn a_durable_server_answers_when_the_base_is_stored() {
    let mut pair = spoken(durable());
    pair.talk();
    pair.flows[0].resynchronize(request(ResyncKind::Set, 5, [true; 2], 0)).unwrap();
    pair.talk();
    assert!(agree(&mut pair, 1));
    let before = pair.flows[1].resumption();
    let stale = pair.flows[1].unstored();
    pair.write(1);
    while pair.deliver(1) {}
    assert!(pair.flows[0].take_answered().is_none());
    assert_eq!(pair.flows[1].resumption(), before, "told to others when it is stored");
    if let Some(stale) = stale {
        pair.flows[1].stored(&stale);
    }
    let written = pair.flows[1].unstored().unwrap();
    assert_eq!(written.requests.as_ref().unwrap().serial, Serial(4));
    pair.flows[1].stored(&before);
    assert_eq!(pair.flows[1].unstored(), Some(written.clone()), "an older one does not count");
    pair.flows[1].stored(&written);
    assert_eq!((pair.flows[1].unstored(), pair.flows[1].resumption()), (None, written));
    pair.talk();
    assert!(matches!(pair.flows[0].take_answered(), Some(Answered::Confirmed(_))));
}

/// The server's process dies after each frame of the exchange. It is asked again by the client, which lives on.
//= test D-11, S-28, S-34, S-35, I14
#[test]
fn a_server_that_crashes_meanwhile_is_asked_again() {
    for touched in [[true, false], [false, true], [true, true]] {
        for stored_first in [false, true] {
            let mut crash = 0;
            loop {
                let mut pair = spoken(durable());
                pair.talk();
                [0, 1].iter().for_each(|side| drop(pair.read(*side)));
                pair.talk();
                for side in [0, 1] {
                    let ten = side as u64 * 10;
                    pair.give(side, [ten + 5]);
                }
                pair.talk();
                let _ = pair.messages(0);
                pair.flows[0].resynchronize(request(ResyncKind::Set, 7, touched, 0)).unwrap();
                let begin = pair.arrived;
                let mut crashed = false;
                let mut answered = None;
                let mut rounds = 0;
                while answered.is_none() {
                    rounds += 1;
                    assert!(rounds < 200, "{touched:?} {crash} {:#?}", pair.story());
                    if pair.attempt.is_none() {
                        pair.connect();
                    }
                    agree(&mut pair, 1);
                    pair.write(0);
                    if stored_first {
                        pair.store();
                    }
                    pair.write(1);
                    for side in [0, 1] {
                        pair.deliver(side);
                    }
                    pair.is_well();
                    if !crashed && pair.arrived >= begin + crash {
                        crashed = true;
                        pair.crash();
                        restore_application(&mut pair);
                    }
                    pair.store();
                    answered = pair.flows[0].take_answered();
                }
                let _ = pair.flows[0].take();
                pair.talk();
                if touched[0] {
                    let _ = pair.messages(1);
                    pair.give(0, [4]);
                    pair.talk();
                    assert_eq!(pair.messages(1), [4]);
                }
                if touched[1] {
                    let _ = pair.messages(0);
                    pair.give(1, [14]);
                    pair.talk();
                    assert_eq!(pair.messages(0), [14]);
                }
                if !crashed {
                    break;
                }
                crash += 1;
            }
            assert!(crash >= 4, "{crash}");
        }
    }
}

/// The request died with the process, the client has gone back.
//= test D-33, S-28
#[test]
fn a_server_that_crashes_after_it_asked_goes_on_where_the_client_is() {
    for is_told in [false, true] {
        let mut pair = spoken(durable());
        pair.talk();
        pair.flows[1].resynchronize(request(ResyncKind::Set, 7, [true, false], 1)).unwrap();
        pair.talk();
        assert!(agree(&mut pair, 0));
        pair.write(0);
        if is_told {
            while pair.deliver(0) {}
        }
        pair.crash();
        restore_application(&mut pair);
        pair.give(0, [4]);
        pair.flows[0].app_syncs(Bytes::new()).unwrap();
        pair.talk();
        assert_eq!(pair.messages(1), [4]);
        assert_eq!(pair.flows[1].receiver().serials().next, Serial(8));
        assert_eq!(pair.messages(0), [11, 12, 13]);
    }
}

/// What the server's application gives again: all that it gave after its last secured point.
fn restore_application(pair: &mut Pair) {
    let from = pair.stored.responses.as_ref().map_or(0, |point| point.position.messages);
    let given = if pair.flows[0].receiver().received().messages > 3 {
        vec![11, 12, 13, 15]
    } else {
        vec![11, 12, 13]
    };
    let from = usize::try_from(from).unwrap();
    if pair.flows[1].resumption().responses.is_none_or(|point| point.digest.crc != 0) {
        pair.give(1, given.into_iter().skip(from));
    }
}

//= test O-21, D-12
#[test]
fn what_cannot_be_asked_for_is_refused_before_a_byte_is_written() {
    let mut pair = Pair::with(units(&[]));
    let refused = pair.flows[0].resynchronize(request(ResyncKind::Set, 1, [true; 2], 0));
    assert_eq!(refused, Err(DialogError::UnitOff(Unit::Resynchronize)));
    let mut plain = Flow::new(Side::Client, &Config::default());
    let refused = plain.resynchronize(request(ResyncKind::Set, 1, [true; 2], 0));
    assert_eq!(refused, Err(DialogError::UnitOff(Unit::Resynchronize)));
    let mut pair = spoken(self::pair());
    pair.talk();
    let refused = pair.flows[0].resynchronize(request(ResyncKind::Restart, 9, [true, false], 0));
    assert!(matches!(refused, Err(DialogError::Serial { .. })), "{refused:?}");
}
