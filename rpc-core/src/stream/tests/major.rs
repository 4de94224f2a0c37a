//! Dialogue units: both sides wait until each has answered.

use bytes::Bytes;

use super::talk::{Got, Pair, config, units};
use crate::frame::{Frame, PointKind};
use crate::negotiate::Unit;
use crate::policy::Secure;
use crate::stream::error::{PlaceError, Violation};
use crate::stream::flow::{Flow, Side, Step};
use crate::stream::position::Serial;

fn pair() -> Pair {
    Pair::with(units(&[Unit::MajorSynchronize]))
}

fn kinds(got: &[Got]) -> Vec<PointKind> {
    let kind = |got: &Got| match got {
        Got::Point(point) => Some(point.kind),
        Got::Message(_) | Got::End => None,
    };
    got.iter().filter_map(kind).collect()
}

//= test S-6, S-7, I17
#[test]
fn a_unit_is_closed_when_both_sides_have_everything_of_it() {
    let mut pair = pair();
    pair.give(0, [1, 2]);
    pair.give(1, [11]);
    pair.flows[0].app_places(PointKind::Major, "unit".into()).unwrap();
    assert_eq!(pair.flows[0].app_places(PointKind::Major, Bytes::new()), Err(PlaceError::Closing));
    pair.give(0, [3]);
    pair.talk();
    let got = pair.read(1);
    assert_eq!(kinds(&got), [PointKind::Major]);
    assert_eq!(pair.flows[0].progress().sent.messages, 2, "nothing after it");
    pair.give(1, [12]);
    pair.talk();
    assert!(pair.flows[0].is_closing_unit(), "the application has not taken what lies before the answer");
    assert_eq!(pair.flows[0].progress().sent.messages, 2);
    let got = pair.read(0);
    assert_eq!(kinds(&got), [PointKind::MajorAnswer]);
    assert_eq!(got.last(), Some(&Got::Message(12)));
    let answer = got.iter().position(|got| matches!(got, Got::Point(_))).unwrap();
    assert_eq!(got[..answer], [Got::Message(11)]);
    assert_eq!((pair.flows[0].units_closed(), pair.flows[0].is_closing_unit()), (1, false));
    pair.talk();
    assert_eq!(pair.messages(1), [3]);
    for (flow, of) in pair.flows.iter().zip([0, 1]) {
        let own = flow.sender().serials();
        assert_eq!((own.next, own.unconfirmed, own.restart), (Serial(2), Serial(2), Serial(2)), "of {of}");
        assert_eq!(flow.receiver().serials(), own, "of {of}");
    }
}

/// The connection dies after each frame of the exchange.
//= test S-6, S-7, I17
#[test]
fn a_unit_is_closed_whatever_the_connection_does() {
    for secure in [Secure::Explicit, Secure::Automatic] {
        let mut cut = 1;
        loop {
            let configs = [0, 1].map(|side| {
                let config = config(side, units(&[Unit::MajorSynchronize]));
                crate::stream::Config { secure, ..config }
            });
            let mut pair = Pair::new(configs);
            pair.cuts = [cut, cut + 3].into();
            pair.give(0, [1, 2]);
            pair.give(1, [11, 12]);
            pair.flows[0].app_places(PointKind::Major, "unit".into()).unwrap();
            pair.give(0, [3]);
            let mut got = [Vec::new(), Vec::new()];
            while pair.flows[0].units_closed() == 0 {
                assert!(!got[1].contains(&3), "before the unit was closed");
                pair.talk();
                for side in [0, 1] {
                    got[side].extend(pair.messages(side));
                }
            }
            assert_eq!(got[0], [11, 12]);
            pair.flows.iter_mut().for_each(Flow::app_ended);
            while !pair.flows.iter().all(Flow::is_secured) {
                pair.talk();
                got[1].extend(pair.messages(1));
                pair.messages(0);
            }
            assert_eq!(got[1], [1, 2, 3]);
            if pair.cuts.len() == 2 {
                break;
            }
            cut += 1;
        }
        assert!(cut > 10, "{cut} frames are no exchange");
    }
}

/// What was confirmed is known, what was placed in answer died with the process.
//= test S-6, S-7, S-28
#[test]
fn a_server_that_crashed_between_confirmation_and_answer_answers_once_more() {
    for answered in [false, true] {
        let mut pair = pair();
        pair.configs[1].durable = true;
        pair.flows[1] = Flow::new(Side::Server, &pair.configs[1]);
        pair.give(0, [1]);
        pair.flows[0].app_places(PointKind::Major, "unit".into()).unwrap();
        pair.talk();
        pair.read(1);
        pair.store();
        if answered {
            pair.write(1);
            while pair.deliver(1) {}
        }
        pair.crash();
        pair.give(1, [11]);
        pair.talk();
        let got = pair.read(0);
        let expected = if answered { vec![] } else { vec![11] };
        assert_eq!(got.iter().filter(|got| matches!(got, Got::Message(_))).count(), 1);
        assert_eq!(kinds(&got), [PointKind::MajorAnswer], "{expected:?}");
        assert_eq!(pair.flows[0].units_closed(), 1);
    }
}

//= test S-6
#[test]
fn where_the_direction_has_ended_the_confirmation_is_all_the_answer() {
    let mut pair = pair();
    pair.give(1, [11]);
    pair.flows[1].app_ended();
    pair.talk();
    pair.give(0, [1]);
    pair.flows[0].app_places(PointKind::Major, "unit".into()).unwrap();
    pair.talk();
    pair.read(1);
    pair.talk();
    assert_eq!(pair.flows[0].units_closed(), 0, "11 is not taken");
    assert_eq!(kinds(&pair.read(0)), [PointKind::Minor]);
    pair.talk();
    assert_eq!(pair.flows[0].units_closed(), 1);
}

/// Without tokens both may ask at the same time.
#[test]
fn two_major_points_that_cross_are_both_answered() {
    let mut pair = pair();
    for side in [0, 1] {
        pair.give(side, [1]);
        pair.flows[side].sender.sync_as(PointKind::Major, Bytes::new()).unwrap();
        pair.give(side, [2]);
    }
    let mut got = [Vec::new(), Vec::new()];
    for _ in 0..4 {
        pair.talk();
        for side in [0, 1] {
            got[side].extend(pair.messages(side));
        }
    }
    assert_eq!(pair.flows.each_ref().map(Flow::units_closed), [1, 1]);
    assert_eq!(got, [[1, 2], [1, 2]]);
}

//= test O-21
#[test]
fn without_the_unit_there_is_no_such_point() {
    let mut pair = Pair::with(units(&[]));
    for (kind, unit) in
        [(PointKind::Major, Unit::MajorSynchronize), (PointKind::Separating, Unit::DataSeparation)]
    {
        let refused = pair.flows[0].app_places(kind, Bytes::new());
        assert_eq!(refused, Err(crate::dialog::DialogError::UnitOff(unit).into()));
    }
    assert_eq!(
        pair.flows[0].app_places(PointKind::MajorAnswer, Bytes::new()),
        Err(PlaceError::NotForApplications)
    );
    pair.give(0, [1]);
    pair.talk();
    let is_of_a_dialog = |step: &Step| matches!(step, Step::Control(Frame::Dialog(_) | Frame::DialogAck(_)));
    assert!(!pair.written.iter().flatten().any(is_of_a_dialog));
    let violation = pair.flows[1].check_kind(PointKind::Major);
    assert_eq!(violation, Err(Violation::UnitOff(Unit::MajorSynchronize)));
}
