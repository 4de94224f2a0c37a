//! Everything a peer can say that it may not.

use super::one::{One, give, set_both};
use super::world::at;
use crate::dialog::{Event, Holding, ResyncKind, State, Token};
use crate::frame::dialog::{Base, DialogAck, Primitive, Resync, ResyncAck};
use crate::stream::error::Violation;
use crate::stream::position::{Generation, Position, Serial};

const SPEAKING: State = State::ALL[0];
const ASKING: State = State::ALL[1];
const ASKED: State = State::ALL[2];

fn holding(token: Token, generation: u64, mine: bool) -> Holding {
    Holding { token, generation, mine }
}

fn ack() -> DialogAck {
    DialogAck::default()
}

//= test D-29
#[test]
fn a_number_that_is_missing() {
    let mut one = One::speaking();
    one.number = 1;
    let typed = Primitive::Typed(bytes::Bytes::from_static(b"typed"));
    assert_eq!(one.hears(typed), Err(Violation::Missed { number: 2, last: 0 }));
}

//= test D-29
#[test]
fn a_number_that_comes_again_is_dropped_and_confirmed_again() {
    let mut one = One::speaking();
    let typed = Primitive::Typed(bytes::Bytes::from_static(b"typed"));
    for _ in 0..2 {
        one.number = 0;
        one.hears(typed.clone()).unwrap();
        assert_eq!(one.writes().len(), 1, "DIALOG_ACK");
    }
    assert!(one.dialog.take_typed().is_some());
    assert_eq!(one.dialog.take_typed(), None);
}

//= test D-29
#[test]
fn a_confirmation_of_what_was_not_said_or_did_not_arrive() {
    let mut one = One::listening();
    one.dialog.expedited(bytes::Bytes::from_static(b"expedited")).unwrap();
    assert_eq!(one.says().len(), 1);
    let unsaid = |number, last| Err(Violation::Unsaid { number, last });
    assert_eq!(one.dialog.acked(DialogAck { received: 2, ..ack() }), unsaid(2, 1));
    assert_eq!(one.dialog.acked(DialogAck { received: 2, anew: true, ..ack() }), unsaid(2, 1));
    assert_eq!(one.dialog.acked(DialogAck { received: 1, typed_taken: 2, ..ack() }), unsaid(2, 1));
    assert_eq!(one.dialog.acked(DialogAck { received: 0, expedited_taken: 1, ..ack() }), unsaid(1, 0));
}

//= test D-3, D-4, D-5, I15
#[test]
fn a_token_that_was_not_the_peers_to_give() {
    let conflict = |token, generation| Err(Violation::Token { token, generation, known: 0 });
    assert_eq!(One::speaking().hears(give(Token::Major, 1)), conflict(Token::Major, 1));
    let out_of_place = Violation::OutOfPlace { event: Event::HeardGive, state: SPEAKING };
    assert_eq!(One::speaking().hears(give(Token::Data, 1)), Err(out_of_place));
    assert_eq!(One::listening().hears(give(Token::Data, 2)), conflict(Token::Data, 2), "one is missing");
    let kept = Primitive::Give(vec![holding(Token::Major, 1, true)]);
    assert_eq!(One::listening().hears(kept), conflict(Token::Major, 1), "given, and kept");
    let twice = Primitive::Give(vec![holding(Token::Major, 1, false), holding(Token::Major, 2, false)]);
    let known = Violation::Token { token: Token::Major, generation: 2, known: 1 };
    assert_eq!(One::listening().hears(twice), Err(known));
}

#[test]
fn a_transfer_that_is_not_newer_has_no_effect() {
    let mut one = One::listening();
    one.hears(give(Token::Data, 0)).unwrap();
    assert!(!one.dialog.owns(Token::Data));
}

//= test D-4, I15
#[test]
fn two_owners_or_none_of_the_same_generation() {
    for (mut one, mine) in [(One::speaking(), true), (One::listening(), false)] {
        one.resumes();
        let holdings = Token::ALL[..3].iter().map(|token| holding(*token, 0, mine)).collect();
        let conflict = Violation::Token { token: Token::Data, generation: 0, known: 0 };
        assert_eq!(one.dialog.acked(DialogAck { holdings, ..ack() }), Err(conflict));
    }
}

//= test D-4
#[test]
fn holdings_that_do_not_name_each_token_once() {
    let [data, minor, major, release] = Token::ALL.map(|token| holding(token, 0, false));
    for holdings in [vec![data, minor], vec![data, minor, major, major]] {
        let mut one = One::speaking();
        one.resumes();
        assert_eq!(one.dialog.acked(DialogAck { holdings, ..ack() }), Err(Violation::Tokens));
    }
    let holdings = vec![data, minor, major, release];
    let foreign = One::speaking().dialog.acked(DialogAck { holdings, ..ack() });
    assert!(matches!(foreign, Err(Violation::UnitOff(_))));
}

//= test D-1, I16
#[test]
fn data_out_of_turn() {
    let out_of_place = Violation::OutOfPlace { event: Event::HeardData, state: SPEAKING };
    assert_eq!(One::speaking().receives(1), Err(out_of_place));
    let mut one = One::listening();
    one.receives(2).unwrap();
    let late = one.hears_after(at(1), give(Token::Data, 1));
    assert_eq!(late, Err(out_of_place), "sent after the turn was given");
}

#[test]
fn a_second_request_and_an_answer_that_nobody_asked_for() {
    let mut one = One::in_state(ASKED);
    let again = one.asks(ResyncKind::Set, Some(3), None);
    let out_of_place = Violation::OutOfPlace { event: Event::HeardResync, state: ASKED };
    assert_eq!(one.hears(again), Err(out_of_place));
    let mut one = One::speaking();
    let agreement = one.agreement();
    let out_of_place = Violation::OutOfPlace { event: Event::HeardAnswer, state: SPEAKING };
    assert_eq!(one.hears(Primitive::ResyncAck(agreement)), Err(out_of_place));
}

//= test D-3
#[test]
fn an_answer_that_leaves_the_owner_of_a_token_open() {
    let asking = || {
        let one = One::in_state(ASKING);
        let agreement = one.agreement();
        (one, agreement)
    };
    let (mut one, mut agreement) = asking();
    agreement.holdings.pop();
    assert_eq!(one.hears(Primitive::ResyncAck(agreement)), Err(Violation::Tokens));
    let (mut one, mut agreement) = asking();
    agreement.holdings[1] = agreement.holdings[0];
    assert_eq!(one.hears(Primitive::ResyncAck(agreement)), Err(Violation::Tokens));
    let (mut one, mut agreement) = asking();
    agreement.holdings[0].generation = 2;
    let jump = Violation::Token { token: Token::Data, generation: 2, known: 0 };
    assert_eq!(one.hears(Primitive::ResyncAck(agreement)), Err(jump));
    assert!(one.dialog.is_resynchronizing(), "nothing is settled");
}

//= test D-11, D-12, D-13, D-14, I12
#[test]
fn an_answer_that_agrees_to_something_else() {
    let base = |agreement: &ResyncAck| agreement.own.unwrap();
    let changes: [fn(&mut ResyncAck, Base); 8] = [
        |ack, _| ack.other = None,
        |ack, _| ack.other = Some(Serial(6)),
        |ack, base| ack.own = Some(Base { serial: Serial(6), ..base }),
        |ack, base| ack.own = Some(Base { serial: Serial::NONE, ..base }),
        |ack, base| ack.own = Some(Base { generation: Generation(1), ..base }),
        |ack, base| ack.own = Some(Base { position: at(3), ..base }),
        |ack, base| ack.own = Some(Base { position: Position { messages: 4, bytes: 3 }, ..base }),
        |ack, _| ack.other = Some(Serial(u64::MAX)),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut one = One::listening();
        one.receives(4).unwrap();
        one.here.other.generation = Generation(1);
        one.dialog.resynchronize(set_both(), &one.here).unwrap();
        assert_eq!(one.says().len(), 1);
        let mut agreement = one.agreement();
        let asked = base(&agreement);
        change(&mut agreement, asked);
        let heard = one.hears(Primitive::ResyncAck(agreement));
        assert!(matches!(heard, Err(Violation::Resynchronized { .. })), "change {index}: {heard:?}");
        assert!(one.reset.is_none());
    }
}

//= test D-11, D-12, I12
#[test]
fn a_request_for_what_cannot_be() {
    let changes: [fn(&mut Resync, Base); 9] = [
        |ask, base| ask.own = Some(Base { generation: Generation(1), ..base }),
        |ask, base| ask.own = Some(Base { position: at(3), ..base }),
        |ask, base| ask.own = Some(Base { serial: Serial::NONE, ..base }),
        |ask, base| ask.own = Some(Base { serial: Serial(u64::MAX), ..base }),
        |ask, _| ask.other = Some(Serial::NONE),
        |ask, _| ask.other = Some(Serial(u64::MAX)),
        |ask, _| (ask.kind, ask.other) = (ResyncKind::Restart, Some(Serial(2))),
        |ask, _| (ask.own, ask.other) = (None, None),
        |ask, _| (ask.own, ask.other) = (None, Some(Serial(u64::MAX >> 1).next())),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut one = One::listening();
        one.receives(4).unwrap();
        one.here.other.generation = Generation(1);
        let Primitive::Resync(mut request) = one.asks(ResyncKind::Set, Some(7), Some(7)) else { panic!() };
        let base = request.own.unwrap();
        change(&mut request, base);
        let heard = one.hears(Primitive::Resync(request));
        assert!(matches!(heard, Err(Violation::Resynchronized { .. })), "change {index}: {heard:?}");
        assert!(one.dialog.indication().is_none());
    }
    let mut one = One::listening();
    one.here.other.ended = true;
    let request = one.asks(ResyncKind::Set, Some(7), None);
    assert!(matches!(one.hears(request), Err(Violation::Resynchronized { .. })), "it has ended");
}

/// A side that was restored may not know how far its points were; that is no reason to go on from a number after which no
/// other follows.
//= test D-12
#[test]
fn a_restored_side_is_asked_for_what_cannot_be() {
    let mut one = One::restored();
    let request = one.asks(ResyncKind::Restart, None, Some(u64::MAX));
    assert!(matches!(one.hears(request), Err(Violation::Resynchronized { .. })));
    let mut one = One::restored();
    let request = one.asks(ResyncKind::Restart, None, Some(1_000));
    one.hears(request).unwrap();
}
