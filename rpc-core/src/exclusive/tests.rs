use super::*;

mod model;

pub(super) const BULK: Exclusive = Exclusive { class: "bulk", scope: ExclusiveScope::Principal };

pub(super) fn exclusion(per_class: u32, in_all: u32) -> Exclusion {
    let limits =
        Limits { exclusive_waiting_per_class: per_class, exclusive_waiting: in_all, ..Limits::default() };
    Exclusion::new(&limits)
}

pub(super) fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

pub(super) fn key(scope: ExclusiveScope, subject: &str, number: u64) -> Key {
    let principal = Principal::new("test", subject);
    Key::of(&Exclusive { scope, ..BULK }, &principal, Some(session(number))).unwrap()
}

fn bulk() -> Key {
    key(ExclusiveScope::Principal, "alice", 1)
}

pub(super) fn caller(number: u64, attempt: &str) -> Caller {
    Caller::Call(session(number), attempt.parse().unwrap())
}

fn call(attempt: &str) -> CallId {
    attempt.parse::<CallAttempt>().unwrap().call
}

const NOW: Timestamp = Timestamp::ORIGIN;

fn at(seconds: u64) -> Timestamp {
    NOW + std::time::Duration::from_secs(seconds)
}

#[track_caller]
fn granted(all: &mut Exclusion, caller: Caller) -> Visit {
    let entered = all.enter(NOW, bulk(), caller, Timestamp::NEVER).unwrap();
    assert!(entered.is_granted);
    entered.visit
}

#[track_caller]
fn runs(all: &mut Exclusion, caller: Caller) -> Visit {
    let visit = granted(all, caller);
    assert!(all.begin(&visit));
    visit
}

#[track_caller]
fn waits(all: &mut Exclusion, caller: Caller) -> Visit {
    let entered = all.enter(NOW, bulk(), caller, Timestamp::NEVER).unwrap();
    assert!(!entered.is_granted);
    entered.visit
}

fn grants(visit: &Visit) -> Moves {
    Moves { granted: vec![visit.place()], removed: Vec::new() }
}

//= test D-10
#[test]
fn the_first_that_came_is_the_first_served() {
    let mut all = exclusion(64, 64);
    let first = runs(&mut all, Caller::Plain);
    let second = waits(&mut all, caller(1, "0.1.0"));
    let third = waits(&mut all, Caller::Plain);
    assert_eq!(all.behind(NOW, session(1), call("0.1.0")), 1);
    assert_eq!(all.leave(&first), grants(&second));
    assert!(all.begin(&second));
    assert_eq!(all.leave(&second), grants(&third));
    assert!(all.begin(&third));
    assert_eq!(all.leave(&third), Moves::default());
    assert!(all.is_empty() && all.waiting() == 0);
}

#[test]
fn classes_principals_and_sessions_do_not_meet() {
    let mut all = exclusion(64, 64);
    let other = Exclusive { class: "other", ..BULK };
    let alice = Principal::new("test", "alice");
    let keys = [
        key(ExclusiveScope::Principal, "alice", 1),
        key(ExclusiveScope::Principal, "bob", 1),
        key(ExclusiveScope::Session, "alice", 1),
        key(ExclusiveScope::Session, "alice", 2),
        Key::of(&other, &alice, None).unwrap(),
    ];
    for key in keys {
        assert!(all.enter(NOW, key, Caller::Plain, Timestamp::NEVER).unwrap().is_granted);
    }
    let again = key(ExclusiveScope::Principal, "alice", 2);
    assert!(!all.enter(NOW, again, Caller::Plain, Timestamp::NEVER).unwrap().is_granted);
    assert_eq!(Key::of(&Exclusive { scope: ExclusiveScope::Session, ..BULK }, &alice, None), None);
}

//= test D-42
#[test]
fn a_later_attempt_has_the_place_of_the_one_before_it() {
    let mut all = exclusion(64, 64);
    let running = runs(&mut all, Caller::Plain);
    let first = waits(&mut all, caller(1, "0.1.0"));
    let behind = waits(&mut all, Caller::Plain);
    let again = waits(&mut all, caller(1, "0.1.2"));
    assert_eq!(again.place(), first.place());
    let late = all.enter(NOW, bulk(), caller(1, "0.1.1"), Timestamp::NEVER);
    assert_eq!(late, Err(EnterError::Fenced { attempt: Attempt(1), latest: Attempt(2) }));
    let moves = all.step_aside(NOW, &first);
    assert_eq!(moves, Moves::default(), "what is void changes nothing");
    assert_eq!(all.leave(&running), grants(&again));
    assert!(!all.begin(&first) && all.begin(&again));
    assert_eq!(all.leave(&first), Moves::default(), "nor what runs");
    assert_eq!(all.leave(&again), grants(&behind));
}

//= test D-42
#[test]
fn whoever_is_away_keeps_the_place_and_holds_nobody_up() {
    let mut all = exclusion(64, 64);
    let running = runs(&mut all, Caller::Plain);
    let away = waits(&mut all, caller(1, "0.1.0"));
    let there = waits(&mut all, Caller::Plain);
    assert_eq!(all.step_aside(NOW, &away), Moves::default());
    assert_eq!(all.leave(&running), grants(&there));
    assert!(all.begin(&there));
    let last = waits(&mut all, Caller::Plain);
    let back = waits(&mut all, caller(1, "0.1.1"));
    assert_eq!(all.leave(&there), grants(&back), "before those that came later");
    assert_eq!(all.step_aside(NOW, &back), grants(&last), "it had the class and had not begun");
    assert_eq!(all.behind(NOW, session(1), call("0.1.1")), 1);
    assert_eq!(all.leave(&last), Moves::default());
    let back = granted(&mut all, caller(1, "0.1.2"));
    let again = granted(&mut all, caller(1, "0.1.3"));
    assert!(!all.begin(&back) && all.begin(&again));
    assert_eq!(all.leave(&again), Moves::default());
    assert!(all.is_empty());
}

//= test D-41
#[test]
fn waiting_is_bounded() {
    let mut all = exclusion(2, 3);
    let running = runs(&mut all, Caller::Plain);
    let first = waits(&mut all, caller(1, "0.1.0"));
    let _second = waits(&mut all, Caller::Plain);
    let third = all.enter(NOW, bulk(), Caller::Plain, Timestamp::NEVER);
    assert_eq!(third.unwrap_err(), EnterError::ClassExhausted(2));
    assert_eq!(third_reason(&mut all), Reason::ExclusiveExhausted);
    waits(&mut all, caller(1, "0.1.1"));

    let bob = || key(ExclusiveScope::Principal, "bob", 1);
    for waiting in [false, true] {
        let entered = all.enter(NOW, bob(), Caller::Plain, Timestamp::NEVER).unwrap();
        assert_eq!(entered.is_granted, !waiting);
    }
    let over = all.enter(NOW, bob(), Caller::Plain, Timestamp::NEVER);
    assert_eq!(over.unwrap_err(), EnterError::Exhausted(3));
    assert_eq!(all.leave(&running), grants(&first));
    assert!(!all.enter(NOW, bob(), Caller::Plain, Timestamp::NEVER).unwrap().is_granted);
}

fn third_reason(all: &mut Exclusion) -> Reason {
    all.enter(NOW, bulk(), Caller::Plain, Timestamp::NEVER).unwrap_err().reason()
}

#[test]
fn a_place_is_lost_to_whoever_took_it_at_the_bound() {
    let mut all = exclusion(1, 1);
    let granted = granted(&mut all, caller(1, "0.1.0"));
    let next = waits(&mut all, Caller::Plain);
    assert_eq!(all.step_aside(NOW, &granted), grants(&next));
    assert_eq!(all.waiting(), 0);
    assert_eq!(all.leave(&next), Moves::default());
    assert!(all.is_empty());
}

//= test D-41
#[test]
fn places_end_with_their_deadlines() {
    let mut all = exclusion(64, 64);
    let running = runs(&mut all, Caller::Plain);
    let entered = all.enter(NOW, bulk(), caller(1, "0.1.0"), at(5)).unwrap();
    let away = all.enter(NOW, bulk(), caller(1, "1.1.0"), at(6)).unwrap();
    assert_eq!(all.step_aside(NOW, &away.visit), Moves::default());
    assert_eq!(all.behind(at(4), session(1), call("1.1.0")), 2);
    assert_eq!(all.behind(at(5), session(1), call("1.1.0")), 1);
    assert!(!all.begin(&entered.visit));
    assert_eq!(all.behind(at(6), session(1), call("1.1.0")), 0);
    assert_eq!(all.leave(&running), Moves::default());
    assert!(all.is_empty());
    assert_eq!(all.leave(&entered.visit), Moves::default());
}

//= test D-43
#[test]
fn the_calls_of_a_session_that_ended_wait_no_more() {
    let mut all = exclusion(64, 64);
    let mine = waits_behind_granted(&mut all);
    let moves = all.end(session(1));
    assert_eq!(moves, Moves { granted: vec![mine[2]], removed: vec![mine[1], mine[0]] });
    assert_eq!(all.end(session(1)), Moves::default());
    assert_eq!(all.disperse(), Moves { granted: Vec::new(), removed: vec![mine[2]] });
    assert!(all.is_empty());
}

/// Session 1 has the class without having begun, and waits for it; session 2 waits.
fn waits_behind_granted(all: &mut Exclusion) -> [Place; 3] {
    let granted = granted(all, caller(1, "0.1.0"));
    let [mine, other] = [caller(1, "1.1.0"), caller(2, "0.1.0")].map(|caller| waits(all, caller));
    [granted.place(), mine.place(), other.place()]
}

#[test]
fn a_call_that_is_settled_waits_no_more() {
    let mut all = exclusion(64, 64);
    let [granted, waiting, next] = waits_behind_granted(&mut all);
    let withdrawn = all.withdraw(session(1), call("1.1.0"));
    assert_eq!(withdrawn, Moves { granted: Vec::new(), removed: vec![waiting] });
    let withdrawn = all.withdraw(session(1), call("0.1.0"));
    assert_eq!(withdrawn, Moves { granted: vec![next], removed: vec![granted] });
    assert_eq!(all.withdraw(session(1), call("0.1.0")), Moves::default());
}

#[test]
fn a_call_does_not_wait_for_two_classes() {
    let mut all = exclusion(64, 64);
    let _running = runs(&mut all, Caller::Plain);
    waits(&mut all, caller(1, "0.1.0"));
    let elsewhere = key(ExclusiveScope::Session, "alice", 1);
    let entered = all.enter(NOW, elsewhere, caller(1, "0.1.1"), Timestamp::NEVER);
    assert_eq!(entered.unwrap_err(), EnterError::FalseRetry(call("0.1.1")));
}
