//! Units that are off, and what each refusal is called.

use bytes::Bytes;

use super::one::{One, give, please, set_both};
use super::{terms, units};
use crate::dialog::{Action, DialogError, ResyncKind, Token, TokenSet};
use crate::error::Reason;
use crate::frame::dialog::{Cause, Exception, Primitive, Resync, Wish};
use crate::negotiate::{Unit, Units};
use crate::stream::error::Violation;
use crate::stream::flow::Side;
use crate::stream::position::Serial;
use crate::time::Timestamp;

/// A listening side of a session in which everything is on but that.
fn without(unit: Unit) -> One {
    let rest: Units = Unit::ALL.into_iter().filter(|on| *on != unit && units().contains(*on)).collect();
    One::new(&terms(Side::Client, unit != Unit::HalfDuplex, Side::Server, rest))
}

/// What a peer says to that side.
type Say = fn(&One) -> Primitive;

fn exception() -> Exception {
    Exception { cause: Cause::Local, detail: String::new() }
}

//= test D-32
#[test]
fn the_application_is_refused_before_a_byte_is_written() {
    for action in Action::ALL {
        let Some(unit) = action.unit() else { continue };
        let mut one = without(unit);
        let here = one.here;
        assert_eq!(one.dialog.permits(action), Err(DialogError::UnitOff(unit)));
        let refused = match action {
            Action::Typed => one.dialog.typed(Bytes::new(), &here),
            Action::Expedited => one.dialog.expedited(Bytes::new()),
            Action::Exception => one.dialog.report(exception()),
            Action::Resynchronize => one.dialog.resynchronize(set_both(), &here),
            Action::Major => one.dialog.permits(Action::Major),
            Action::Data | Action::Minor | Action::Please(_) | Action::Give(_) => panic!("needs no unit"),
        };
        assert_eq!(refused, Err(DialogError::UnitOff(unit)));
        assert!(one.writes().is_empty(), "{action:?}");
    }
    let refused =
        without(Unit::MajorSynchronize).dialog.please(please(TokenSet::of(Token::Major)), Timestamp::ORIGIN);
    assert_eq!(refused, Err(DialogError::Unavailable(Token::Major)));
}

//= test D-32
#[test]
fn the_stream_of_a_peer_that_uses_it_ends() {
    let wish = |one: &One| {
        let Primitive::Resync(request) = one.asks(ResyncKind::Set, Some(2), None) else { panic!() };
        Primitive::Resync(Resync { wishes: vec![(Token::Major, Wish::Mine)], ..request })
    };
    let says: [(Unit, Say); 8] = [
        (Unit::TypedData, |_| Primitive::Typed(Bytes::new())),
        (Unit::ExpeditedData, |_| Primitive::Expedited(Bytes::new())),
        (Unit::Exceptions, |_| Primitive::Exception(exception())),
        (Unit::Resynchronize, |one| one.asks(ResyncKind::Set, Some(2), None)),
        (Unit::Resynchronize, |one| Primitive::ResyncAck(one.agreement())),
        (Unit::HalfDuplex, |_| give(Token::Data, 1)),
        (Unit::MajorSynchronize, |_| give(Token::Major, 1)),
        (Unit::MinorSynchronize, |_| Primitive::Please(please(TokenSet::of(Token::Minor)))),
    ];
    for (unit, say) in says {
        let mut one = without(unit);
        let primitive = say(&one);
        assert_eq!(one.hears(primitive), Err(Violation::UnitOff(unit)));
    }
    let mut one = without(Unit::MajorSynchronize);
    let request = wish(&one);
    assert_eq!(one.hears(request), Err(Violation::UnitOff(Unit::MajorSynchronize)));
}

#[test]
fn every_refusal_has_its_reason() {
    let serial = Serial::FIRST;
    for (error, reason) in [
        (DialogError::UnitOff(Unit::TypedData), Reason::UnitUnsupported),
        (DialogError::Unavailable(Token::Major), Reason::UnitUnsupported),
        (DialogError::Missing(Token::Data), Reason::DialogTokenMissing),
        (DialogError::Owned(Token::Data), Reason::FieldInvalid),
        (DialogError::Full(16), Reason::DialogUnanswered),
        (DialogError::TooLong { bytes: 2, bytes_max: 1 }, Reason::FieldInvalid),
        (DialogError::Busy, Reason::DialogUnanswered),
        (DialogError::Serial { serial, least: serial, most: serial }, Reason::FieldInvalid),
        (DialogError::Ended, Reason::FieldInvalid),
        (DialogError::NotAsked, Reason::FieldInvalid),
        (DialogError::Outstanding, Reason::DialogUnanswered),
    ] {
        assert_eq!(error.reason(), reason, "{error}");
    }
}
