//! Exception reports.

use super::one::{One, give};
use crate::dialog::{Answer, DialogError, ResyncKind, Token, TokenSet};
use crate::frame::dialog::{Cause, Exception, Primitive};

fn report(detail: &str) -> Exception {
    Exception { cause: Cause::ReceivingJeopardized, detail: detail.into() }
}

#[test]
fn only_the_side_without_the_turn_reports() {
    let mut one = One::speaking();
    assert_eq!(one.dialog.report(report("")), Err(DialogError::Owned(Token::Data)));
    one.dialog.give(TokenSet::of(Token::Data)).unwrap();
    assert_eq!(one.dialog.report(report("")), Err(DialogError::Owned(Token::Data)), "it is not handed over");
    assert_eq!(one.says().len(), 1);
    one.dialog.report(report("")).unwrap();
    assert_eq!(One::duplex().dialog.report(report("")), Err(DialogError::Unavailable(Token::Data)));
}

#[test]
fn one_is_outstanding_until_the_turn_comes() {
    let mut one = One::listening();
    one.dialog.report(report("full")).unwrap();
    assert_eq!(one.says(), [Primitive::Exception(report("full"))]);
    assert_eq!(one.dialog.report(report("")), Err(DialogError::Outstanding));
    one.hears(give(Token::Major, 1)).unwrap();
    assert_eq!(one.dialog.report(report("")), Err(DialogError::Outstanding), "that is not the turn");
    one.hears(give(Token::Data, 1)).unwrap();
    one.dialog.give(TokenSet::of(Token::Data)).unwrap();
    assert_eq!(one.says().len(), 1);
    one.dialog.report(report("again")).unwrap();
}

#[test]
fn one_is_outstanding_until_a_resynchronization() {
    let mut one = One::listening();
    one.dialog.report(report("")).unwrap();
    assert_eq!(one.says().len(), 1);
    let request = one.asks(ResyncKind::Set, Some(2), Some(2));
    one.hears(request).unwrap();
    one.dialog.answer(Answer::default()).unwrap();
    assert_eq!(one.says().len(), 1);
    one.dialog.report(report("again")).unwrap();
}

#[test]
fn of_two_reports_that_nobody_took_the_later_one_is_left() {
    let mut one = One::speaking();
    one.hears(Primitive::Exception(report("first"))).unwrap();
    one.hears(Primitive::Exception(report("second"))).unwrap();
    assert_eq!(one.dialog.take_exception(), Some(report("second")));
    assert_eq!(one.dialog.take_exception(), None);
}
