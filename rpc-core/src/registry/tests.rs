mod model;
mod server;

use std::time::Duration;

use super::*;
use crate::record::{Summary, TicketHashes};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(seconds))
}

fn registry(change: impl FnOnce(&mut Limits)) -> Registry {
    let mut limits = Limits { retention: Duration::from_secs(60), ..Limits::default() };
    change(&mut limits);
    let mut registry = Registry::new(limits);
    registry.refill(1..100);
    registry
}

fn alice() -> Principal {
    Principal::new("issuer", "alice")
}

fn new(registry: &mut Registry, principal: &Principal, nonce: u8) -> SessionId {
    match registry.place(principal, Nonce([nonce; 16])) {
        Ok(Place::New(id)) => id,
        other => panic!("{other:?}"),
    }
}

//= test O-3
#[test]
fn the_same_principal_and_nonce_get_the_same_number() {
    let mut registry = registry(|_| ());
    let id = new(&mut registry, &alice(), 1);
    assert_eq!(registry.place(&alice(), Nonce([1; 16])), Ok(Place::Existing(id)));
    let bob = Principal::new("issuer", "bob");
    assert_ne!(new(&mut registry, &bob, 1), id, "a nonce is its principal's own");
    assert_ne!(new(&mut registry, &alice(), 2), id);
}

//= test O-18
#[test]
fn the_nonce_of_an_ended_session_opens_nothing_until_it_is_forgotten() {
    let mut registry = registry(|_| ());
    let id = new(&mut registry, &alice(), 1);
    registry.end(at(10), id, Epoch::FIRST, &alice(), Nonce([1; 16]));
    assert_eq!(registry.place(&alice(), Nonce([1; 16])), Err(PlaceError::NonceUsed));
    assert_eq!(registry.next_wake(), at(70));
    assert_eq!(registry.forget(at(69)), None);
    assert_eq!(registry.forget(at(70)), Some((id, Epoch::FIRST)));
    assert_ne!(new(&mut registry, &alice(), 1), id);
}

//= test O-15
#[test]
fn both_bounds_refuse_and_an_end_makes_room() {
    let mut registry = registry(|limits| (limits.sessions_per_principal, limits.sessions) = (2, 3));
    let first = new(&mut registry, &alice(), 1);
    new(&mut registry, &alice(), 2);
    assert_eq!(registry.place(&alice(), Nonce([3; 16])), Err(PlaceError::SessionsExhausted(2)));
    let bob = Principal::new("issuer", "bob");
    new(&mut registry, &bob, 1);
    assert_eq!(registry.place(&bob, Nonce([2; 16])), Err(PlaceError::ServerFull(3)));
    registry.end(at(1), first, Epoch::FIRST, &alice(), Nonce([1; 16]));
    assert_eq!((registry.live(), registry.of_principal(&alice())), (2, 1));
    new(&mut registry, &alice(), 3);
}

#[test]
//= test O-5
fn a_session_that_was_never_opened_leaves_its_nonce_free_and_its_number_used() {
    let mut registry = registry(|_| ());
    let id = new(&mut registry, &alice(), 1);
    registry.never_opened(id, &alice(), Nonce([1; 16]));
    assert_eq!((registry.live(), registry.next_wake()), (0, Timestamp::NEVER));
    assert_ne!(new(&mut registry, &alice(), 1), id);
}

#[test]
fn without_numbers_nothing_is_placed_and_nothing_changes() {
    let mut registry = Registry::new(Limits::default());
    assert_eq!(registry.place(&alice(), Nonce([1; 16])), Err(PlaceError::NoNumber));
    assert_eq!(registry.of_principal(&alice()), 0);
    registry.refill(0..0);
    registry.refill(0..2);
    assert_eq!(new(&mut registry, &alice(), 1).value(), 1, "0 is no number");
}

#[test]
fn sessions_come_out_in_the_order_of_their_deadlines() {
    let mut registry = registry(|_| ());
    let [a, b, c] = [1, 2, 3].map(|nonce| new(&mut registry, &alice(), nonce));
    registry.schedule(a, at(30));
    registry.schedule(b, at(10));
    registry.schedule(c, at(20));
    registry.schedule(a, at(5));
    assert_eq!(registry.next_wake(), at(5));
    registry.end(at(6), c, Epoch::FIRST, &alice(), Nonce([3; 16]));
    registry.schedule(c, at(1));
    assert_eq!([registry.due(at(40)), registry.due(at(40)), registry.due(at(40))], [Some(a), Some(b), None]);
    assert_eq!(registry.due(at(40)), None);
}

#[test]
fn too_many_ended_sessions_are_forgotten_before_their_time() {
    let mut registry = registry(|limits| limits.tombstones = 1);
    let [a, b] = [1, 2].map(|nonce| new(&mut registry, &alice(), nonce));
    registry.end(at(1), a, Epoch::FIRST, &alice(), Nonce([1; 16]));
    assert_eq!(registry.forget(at(1)), None);
    registry.end(at(2), b, Epoch::FIRST, &alice(), Nonce([2; 16]));
    assert_eq!(registry.forget(at(2)), Some((a, Epoch::FIRST)));
    assert_eq!(registry.forget(at(2)), None);
}

#[test]
fn sessions_of_an_earlier_server_have_their_places() {
    let mut registry = registry(|limits| limits.sessions_per_principal = 2);
    let [live, ended] = [901, 902].map(|number| SessionId::new(number).unwrap());
    registry.adopt(live, alice(), Nonce([1; 16]));
    registry.adopt_ended(at(10), ended, Epoch(3), alice(), Nonce([2; 16]));
    assert_eq!(registry.place(&alice(), Nonce([1; 16])), Ok(Place::Existing(live)));
    assert_eq!(registry.place(&alice(), Nonce([2; 16])), Err(PlaceError::NonceUsed));
    new(&mut registry, &alice(), 3);
    assert_eq!(registry.place(&alice(), Nonce([4; 16])), Err(PlaceError::SessionsExhausted(2)));
    assert_eq!(registry.forget(at(69)), None);
    assert_eq!(registry.forget(at(70)), Some((ended, Epoch(3))));
    registry.end(at(80), live, Epoch(2), &alice(), Nonce([1; 16]));
    assert_eq!(registry.of_principal(&alice()), 1);
}

//= test L-26
//= test L-43
#[test]
fn the_answer_to_a_release_is_kept_for_its_owner_while_the_end_is_remembered() {
    let mut registry = registry(|_| ());
    let (id, other) = (new(&mut registry, &alice(), 1), new(&mut registry, &alice(), 2));
    let mut tickets = TicketHashes::first(TicketHash([1; 32]));
    tickets.issue(TicketHash([2; 32]));
    let summary = Summary { calls: 7, done: 7, ..Summary::default() };
    registry.end(at(10), id, Epoch::FIRST, &alice(), Nonce([1; 16]));
    registry.end(at(10), other, Epoch::FIRST, &alice(), Nonce([2; 16]));
    registry.released(id, alice(), Box::new(Receipt { tickets, summary }));
    let ask = |registry: &Registry, id, ticket| {
        registry
            .receipt(id, &TicketHash([ticket; 32]))
            .map(|(principal, released)| (principal.clone(), released))
    };
    assert_eq!(ask(&registry, id, 1), Some((alice(), Released::Recording)), "the store does not have it yet");
    registry.recorded(id);
    for (ticket, told) in [(1, true), (2, true), (3, false)] {
        let told = told.then_some((alice(), Released::Done(summary)));
        assert_eq!(ask(&registry, id, ticket), told, "ticket {ticket}");
    }
    assert_eq!(ask(&registry, other, 1), None, "it ended otherwise");
    registry.forget(at(70));
    assert_eq!(ask(&registry, id, 1), None);
}
