//! What is bounded, on this side and against a peer that does not keep to it.

use bytes::Bytes;

use super::one::{One, set_both};
use super::world::at;
use crate::dialog::{Answer, DialogError, PIECES_MAX, Request, ResyncKind};
use crate::frame::STATE_BYTES_MAX;
use crate::frame::dialog::{
    Cause, DETAIL_BYTES_MAX, DialogAck, EXPEDITED_BYTES_MAX, Exception, Primitive, TYPED_BYTES_MAX,
};
use crate::stream::error::Violation;

fn bytes(length: usize) -> Bytes {
    Bytes::from(vec![0; length])
}

fn say(one: &mut One, expedited: bool, length: usize) -> Result<(), DialogError> {
    let here = one.here;
    if expedited { one.dialog.expedited(bytes(length)) } else { one.dialog.typed(bytes(length), &here) }
}

//= test D-29
#[test]
fn the_seventeenth_piece_waits_until_the_other_application_has_taken_one() {
    for expedited in [false, true] {
        let mut one = One::listening();
        for piece in 0..PIECES_MAX {
            say(&mut one, expedited, 1).unwrap();
            assert_eq!(one.says().len(), 1, "piece {piece}");
        }
        assert_eq!(say(&mut one, expedited, 1), Err(DialogError::Full(PIECES_MAX)));
        one.confirmed(16);
        assert_eq!(say(&mut one, expedited, 1), Err(DialogError::Full(PIECES_MAX)), "arrived is not taken");
        let (typed_taken, expedited_taken) = if expedited { (0, 3) } else { (3, 0) };
        one.dialog
            .acked(DialogAck { received: 16, typed_taken, expedited_taken, ..DialogAck::default() })
            .unwrap();
        for _ in 0..3 {
            say(&mut one, expedited, 1).unwrap();
        }
        assert_eq!(say(&mut one, expedited, 1), Err(DialogError::Full(PIECES_MAX)));
        assert_eq!(one.says().len(), 3);
    }
}

//= test D-29
#[test]
fn a_peer_that_does_not_wait_is_refused_and_one_that_waits_has_room_again() {
    for piece in [Primitive::Typed(bytes(1)), Primitive::Expedited(bytes(1))] {
        let mut one = One::speaking();
        for _ in 0..PIECES_MAX {
            one.hears(piece.clone()).unwrap();
        }
        let taken = one.dialog.take_typed().or_else(|| one.dialog.take_expedited());
        assert_eq!(taken, Some(bytes(1)));
        one.hears(piece.clone()).unwrap();
        assert_eq!(one.hears(piece), Err(Violation::TooManyPieces));
    }
}

#[test]
fn what_waits_for_data_is_bounded() {
    let mut one = One::listening();
    for _ in 0..32 {
        one.hears_after(at(9), Primitive::Give(Vec::new())).unwrap();
    }
    assert_eq!(one.hears_after(at(9), Primitive::Give(Vec::new())), Err(Violation::TooManyPieces));
}

#[test]
fn nothing_is_said_that_is_longer_than_its_bound() {
    let mut one = One::listening();
    let too_long = |bytes_max| Err(DialogError::TooLong { bytes: bytes_max + 1, bytes_max });
    assert_eq!(say(&mut one, false, TYPED_BYTES_MAX + 1), too_long(TYPED_BYTES_MAX));
    assert_eq!(say(&mut one, true, EXPEDITED_BYTES_MAX + 1), too_long(EXPEDITED_BYTES_MAX));
    let report = |length| Exception { cause: Cause::Local, detail: "x".repeat(length) };
    assert_eq!(one.dialog.report(report(DETAIL_BYTES_MAX + 1)), too_long(DETAIL_BYTES_MAX));
    let request = Request { state: bytes(STATE_BYTES_MAX + 1), ..set_both() };
    assert_eq!(one.dialog.resynchronize(request, &one.here), too_long(STATE_BYTES_MAX));
    assert!(one.says().is_empty());
    say(&mut one, false, TYPED_BYTES_MAX).unwrap();
    say(&mut one, true, EXPEDITED_BYTES_MAX).unwrap();
    one.dialog.report(report(DETAIL_BYTES_MAX)).unwrap();
    assert_eq!(one.says().len(), 3);
    let asked = one.asks(ResyncKind::Set, Some(2), Some(2));
    one.hears(asked).unwrap();
    let answer = |length| Answer { state: bytes(length), ..Answer::default() };
    assert_eq!(one.dialog.answer(answer(STATE_BYTES_MAX + 1)), too_long(STATE_BYTES_MAX));
    assert!(one.dialog.indication().is_some(), "it can be answered still");
    one.dialog.answer(answer(STATE_BYTES_MAX)).unwrap();
}
