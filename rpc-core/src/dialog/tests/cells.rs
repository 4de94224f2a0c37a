//! A real dialog in every state of the table, and every event: the machine does what the table says.

use bytes::Bytes;

use super::one::{One, give, please, set_both};
use crate::dialog::{Action, Answer, DialogError, Event, ResyncKind, State, Token, TokenSet, Verdict};
use crate::frame::dialog::{Cause, DialogAck, Exception, Primitive};
use crate::stream::error::Violation;
use crate::time::Timestamp;

/// What came of an event.
enum Outcome {
    /// It happened, and could be seen.
    Done,
    /// It was taken, and nothing could be seen.
    Nothing,
    Refused(DialogError),
    Broken,
}

impl Outcome {
    fn own(done: Result<(), DialogError>) -> Self {
        done.map_or_else(Self::Refused, |()| Self::Done)
    }

    fn peers(heard: Result<(), Violation>, is_seen: impl FnOnce() -> bool) -> Self {
        match heard {
            Err(_) => Self::Broken,
            Ok(()) if is_seen() => Self::Done,
            Ok(()) => Self::Nothing,
        }
    }
}

fn exception() -> Exception {
    Exception { cause: Cause::Local, detail: String::new() }
}

/// What the own application does.
fn does(one: &mut One, event: Event) -> Outcome {
    let here = one.here;
    let data = TokenSet::of(Token::Data);
    Outcome::own(match event {
        Event::SendData => one.dialog.permits(Action::Data),
        Event::Give => one.dialog.give(data),
        Event::Please => one.dialog.please(please(data), Timestamp::ORIGIN),
        Event::Typed => one.dialog.typed(Bytes::from_static(b"typed"), &here),
        Event::Expedited => one.dialog.expedited(Bytes::from_static(b"expedited")),
        Event::Report => one.dialog.report(exception()),
        Event::Resynchronize => one.dialog.resynchronize(set_both(), &here),
        Event::Answer => one.dialog.answer(Answer::default()),
        Event::HeardData
        | Event::HeardGive
        | Event::HeardPlease
        | Event::HeardTyped
        | Event::HeardExpedited
        | Event::HeardException
        | Event::HeardResync
        | Event::HeardLosingResync
        | Event::HeardAnswer
        | Event::HeardRestored => return hears(one, event),
    })
}

/// What comes from the other side.
fn hears(one: &mut One, event: Event) -> Outcome {
    let heard = match event {
        Event::HeardData => {
            let heard = one.receives(1);
            return Outcome::peers(heard, || !one.dialog.holds_delivery());
        }
        Event::HeardGive => one.hears(give(Token::Data, 1)),
        Event::HeardPlease => one.hears(Primitive::Please(please(TokenSet::of(Token::Major)))),
        Event::HeardTyped => {
            let heard = one.hears(Primitive::Typed(Bytes::from_static(b"typed")));
            return Outcome::peers(heard, || one.dialog.take_typed().is_some());
        }
        Event::HeardExpedited => {
            let heard = one.hears(Primitive::Expedited(Bytes::from_static(b"expedited")));
            return Outcome::peers(heard, || one.dialog.take_expedited().is_some());
        }
        Event::HeardException => {
            let heard = one.hears(Primitive::Exception(exception()));
            return Outcome::peers(heard, || one.dialog.take_exception().is_some());
        }
        Event::HeardResync | Event::HeardLosingResync => {
            let wins = event == Event::HeardResync;
            let (kind, serial) = if wins { (ResyncKind::Abandon, 9) } else { (ResyncKind::Restart, 1) };
            let request = one.asks(kind, Some(serial), Some(serial));
            let heard = one.hears(request);
            return Outcome::peers(heard, || one.dialog.indication().is_some());
        }
        Event::HeardAnswer => {
            let agreement = one.agreement();
            one.hears(Primitive::ResyncAck(agreement))
        }
        Event::HeardRestored => one.dialog.acked(DialogAck { anew: true, ..DialogAck::default() }),
        Event::SendData
        | Event::Give
        | Event::Please
        | Event::Typed
        | Event::Expedited
        | Event::Report
        | Event::Resynchronize
        | Event::Answer => unreachable!("an event of the own application"),
    };
    Outcome::peers(heard, || true)
}

/// What the machine makes of it, in the words of the table.
fn verdict(state: State, event: Event) -> Verdict {
    let mut one = One::in_state(state);
    let outcome = does(&mut one, event);
    let said = one.says();
    let data = Token::Data;
    match outcome {
        Outcome::Broken => Verdict::Violation,
        Outcome::Nothing => Verdict::Void,
        Outcome::Refused(error) => {
            assert!(said.is_empty() && one.dialog.state() == state, "refused, and yet: {said:?}");
            match error {
                DialogError::Missing(token) if token == data => Verdict::Missing,
                DialogError::Owned(token) if token == data => Verdict::Owned,
                DialogError::Unavailable(token) if token == data => Verdict::Unavailable,
                DialogError::Busy => Verdict::Busy,
                DialogError::NotAsked => Verdict::NotAsked,
                other => panic!("{other} is not in the table"),
            }
        }
        Outcome::Done if one.reset.is_some() => {
            assert!(!one.dialog.is_resynchronizing());
            Verdict::Settles
        }
        Outcome::Done => Verdict::Next(one.dialog.state()),
    }
}

//= test D-1, D-5, D-15, D-16, I16
#[test]
fn the_machine_does_what_the_table_says_of_every_event_in_every_state() {
    for event in Event::ALL {
        for state in State::ALL {
            assert_eq!(verdict(state, event), state.on(event), "{event} while {state}");
        }
    }
}

/// What the application does is said; the table has only the state that follows.
#[test]
fn what_the_application_does_is_said() {
    for (state, events) in [
        (State::ALL[0], &[Event::Give, Event::Typed, Event::Expedited, Event::Resynchronize][..]),
        (State::ALL[3], &[Event::Please, Event::Typed, Event::Expedited, Event::Report]),
        (State::ALL[8], &[Event::Answer]),
    ] {
        for event in events {
            let mut one = One::in_state(state);
            assert!(matches!(does(&mut one, *event), Outcome::Done));
            assert_eq!(one.says().len(), 1, "{event} while {state}");
        }
    }
}
