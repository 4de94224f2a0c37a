//! Requests for tokens: priority, deadline, withdrawal.

use std::time::Duration;

use super::one::{One, give, please};
use super::world::at;
use crate::dialog::{DialogError, Token, TokenSet};
use crate::frame::dialog::{Please, Primitive};
use crate::time::Timestamp;

fn ms(millis: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_millis(millis))
}

//= test D-6
#[test]
fn a_request_fails_at_its_deadline_and_is_withdrawn() {
    let mut one = One::listening();
    let wanted = please(TokenSet::of(Token::Data));
    one.dialog.please(wanted, ms(5)).unwrap();
    assert_eq!(one.says(), [Primitive::Please(wanted)]);
    assert_eq!(one.dialog.wake(), Some(ms(15)));
    one.dialog.tick(ms(14));
    assert_eq!((one.dialog.take_unanswered(), one.dialog.wanted()), (None, Some(wanted)));
    one.dialog.tick(ms(15));
    assert_eq!(one.dialog.take_unanswered(), Some(wanted));
    assert_eq!((one.dialog.take_unanswered(), one.dialog.wanted(), one.dialog.wake()), (None, None, None));
    one.confirmed(1);
    assert_eq!(one.says(), [Primitive::Please(Please::default())], "it is withdrawn");
}

//= test D-6
#[test]
fn a_request_without_a_time_waits_until_its_token_comes() {
    let mut one = One::listening();
    let wanted = Please { within_ms: 0, ..please(TokenSet::of(Token::Data).with(Token::Major)) };
    one.dialog.please(wanted, ms(0)).unwrap();
    assert_eq!(one.dialog.wake(), None);
    one.dialog.tick(Timestamp::NEVER);
    assert_eq!(one.dialog.take_unanswered(), None);
    one.hears(give(Token::Data, 1)).unwrap();
    assert_eq!(one.dialog.wanted().unwrap().tokens, TokenSet::of(Token::Major));
    one.hears(give(Token::Major, 1)).unwrap();
    assert_eq!(one.dialog.wanted(), None);
}

//= test D-6
#[test]
fn the_owner_sees_what_is_asked_for_how_urgently_and_that_it_is_not_any_more() {
    let mut one = One::speaking();
    let asked = please(TokenSet::of(Token::Minor));
    one.hears(Primitive::Please(asked)).unwrap();
    assert_eq!(one.dialog.asked(), Some(asked));
    let urgent = Please { priority: 9, ..asked };
    one.hears(Primitive::Please(urgent)).unwrap();
    assert_eq!(one.dialog.asked(), Some(urgent));
    one.hears(Primitive::Please(Please::default())).unwrap();
    assert_eq!(one.dialog.asked(), None);
    one.hears(Primitive::Please(asked)).unwrap();
    one.dialog.give(asked.tokens).unwrap();
    assert_eq!(one.says(), [Primitive::Give(vec![one.dialog.tokens.holdings([].into_iter())[1]])]);
    assert_eq!(one.dialog.asked(), None, "it was handed over");
}

//= test D-6
#[test]
fn the_last_of_several_requests_stands_for_all() {
    let mut one = One::listening();
    for token in [Token::Data, Token::Minor, Token::Major] {
        one.dialog.please(please(TokenSet::of(token)), ms(0)).unwrap();
    }
    assert_eq!(one.says(), [Primitive::Please(please(TokenSet::of(Token::Major)))]);
    one.dialog.please(Please::default(), ms(0)).unwrap();
    assert_eq!(one.dialog.wanted(), None, "withdrawn");
    one.confirmed(1);
    assert_eq!(one.says(), [Primitive::Please(Please::default())]);
}

#[test]
fn nobody_asks_for_what_it_owns_or_what_there_is_not() {
    let (mut one, now) = (One::speaking(), ms(0));
    let asked = |token| please(TokenSet::of(token));
    assert_eq!(one.dialog.please(asked(Token::Data), now), Err(DialogError::Owned(Token::Data)));
    assert_eq!(one.dialog.please(asked(Token::Release), now), Err(DialogError::Unavailable(Token::Release)));
    assert_eq!(
        One::duplex().dialog.please(asked(Token::Data), now),
        Err(DialogError::Unavailable(Token::Data))
    );
    assert!(one.says().is_empty());
}

/// A token was handed over, and asked back at once. In the next attempt both come before the data that the transfer waits
/// for; the request, which waits for nothing, was held against what was owned then, and was forgotten.
//= test D-6, D-30
#[test]
fn what_is_asked_back_before_it_came_is_not_forgotten() {
    let mut one = One::listening();
    let asked = please(TokenSet::of(Token::Data));
    one.hears_after(at(1), give(Token::Data, 1)).unwrap();
    one.hears(Primitive::Please(asked)).unwrap();
    assert_eq!(one.dialog.asked(), None, "it is not here");
    one.receives(1).unwrap();
    assert_eq!(one.dialog.asked(), Some(asked));
}

/// A request that crosses the transfer it asks for is answered by it: it does not come up again when the token comes back.
#[test]
fn a_request_that_crosses_its_token_is_void() {
    let mut one = One::speaking();
    one.dialog.give(TokenSet::of(Token::Data)).unwrap();
    assert_eq!(one.says().len(), 1);
    one.hears(Primitive::Please(please(TokenSet::of(Token::Data)))).unwrap();
    one.hears(give(Token::Data, 2)).unwrap();
    assert!(one.dialog.owns(Token::Data));
    assert_eq!(one.dialog.asked(), None);
}
