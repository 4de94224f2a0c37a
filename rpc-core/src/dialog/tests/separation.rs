//! Data separation: what lies before a separating point is safe before a resynchronization is said.

use super::one::{One, set_both};
use crate::dialog::{Answer, Phase, Request, ResyncKind, Sending};
use crate::frame::dialog::{DialogAck, Primitive};

//= test D-34
#[test]
fn a_request_waits_until_the_peer_has_what_lies_before_the_separating_point() {
    let mut one = One::speaking();
    one.here.separated = false;
    one.dialog.resynchronize(set_both(), &one.here).unwrap();
    assert!(one.says().is_empty());
    assert_eq!(one.dialog.sending(), Sending::Separated, "that is sent, and nothing else");
    one.here.separated = true;
    assert!(matches!(one.says()[..], [Primitive::Resync(_)]));
}

//= test D-34
#[test]
fn an_answer_waits_until_the_peer_has_what_lies_before_the_separating_point() {
    let mut one = One::speaking();
    one.here.separated = false;
    let request = one.asks(ResyncKind::Set, Some(2), Some(2));
    one.hears(request).unwrap();
    one.dialog.answer(Answer::default()).unwrap();
    assert!(one.says().is_empty());
    assert_eq!((one.reset.is_none(), one.dialog.sending()), (true, Sending::Separated));
    assert_eq!(one.dialog.state().phase, Phase::Asked);
    one.here.separated = true;
    assert!(matches!(one.says()[..], [Primitive::ResyncAck(_)]));
    assert!(one.reset.is_some());
}

/// What lies before a point of a direction that stays as it is needs no safety: but all of it is sent first.
//= test D-30
#[test]
fn a_direction_that_stays_untouched_waits_for_what_was_given_instead() {
    let mut one = One::speaking();
    one.here.separated = false;
    one.here.given = super::world::at(3);
    let request = Request { own: None, ..set_both() };
    one.dialog.resynchronize(request, &one.here).unwrap();
    assert!(one.says().is_empty());
    assert_eq!(one.dialog.sending(), Sending::Given);
    one.here.sent = one.here.given;
    assert!(matches!(one.says()[..], [Primitive::Resync(_)]));
}

//= test D-34
#[test]
fn in_a_resumed_attempt_nothing_is_asked_or_answered_before_the_peer_was_met() {
    let mut asking = One::duplex();
    let mut asked = One::duplex();
    let request = asked.asks(ResyncKind::Set, Some(2), Some(2));
    asked.hears(request).unwrap();
    for one in [&mut asking, &mut asked] {
        one.resumes();
    }
    asking.dialog.resynchronize(set_both(), &asking.here).unwrap();
    asked.dialog.answer(Answer::default()).unwrap();
    for one in [&mut asking, &mut asked] {
        assert!(one.says().is_empty());
        let theirs = one.dialog.tokens.mine();
        let holdings = one.dialog.tokens.holdings([].into_iter());
        let holdings = holdings.into_iter().map(|mut holding| {
            holding.mine = !theirs.contains(holding.token);
            holding
        });
        one.dialog.acked(DialogAck { holdings: holdings.collect(), ..DialogAck::default() }).unwrap();
        assert_eq!(one.says().len(), 1);
    }
}

/// Data that stood behind a major point when a resynchronization of the other direction was asked for was sent before the
/// answer, when the major point was answered: whoever asked says nothing more, and the peer ended the stream.
//= test D-16, I16
#[test]
fn what_was_held_back_when_a_request_was_said_is_not_sent_before_its_answer() {
    let mut one = One::duplex();
    let request = Request { own: None, ..set_both() };
    one.dialog.resynchronize(request, &one.here).unwrap();
    assert_eq!(one.dialog.sending(), Sending::Given);
    assert!(matches!(one.says()[..], [Primitive::Resync(_)]));
    assert_eq!(one.dialog.sending(), Sending::Again);
}

/// Two sides of a duplex stream each wanted the direction of the other one back, and had given more than they had credit
/// for: both waited, delivering nothing, until that was sent.
#[test]
fn in_duplex_a_request_waits_for_no_credit() {
    let mut one = One::duplex();
    one.here.given = super::world::at(3);
    let request = Request { own: None, ..set_both() };
    one.dialog.resynchronize(request, &one.here).unwrap();
    assert!(matches!(one.says()[..], [Primitive::Resync(_)]));
}
