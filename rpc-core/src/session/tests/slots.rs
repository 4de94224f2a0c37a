use super::*;
use crate::error::{Code, Outcome};
use crate::id::Attempt;

//= test C-7
//= test C-8
//= test I2
#[test]
//= test C-17
fn a_retry_gets_the_first_reply() {
    let mut world = World::open();
    world.run("0.1.0");
    world.session.complete(id("0.1.0"), reply("first"), None);
    for attempt in ["0.1.1", "0.1.1", "0.1.9"] {
        assert_eq!(world.admit(attempt, 1), Ok(Admission::Replay(reply("first"))));
    }
    world.run("0.2.0");
}

//= test C-14
#[test]
fn a_failure_is_recorded_and_told_again_like_any_reply() {
    let mut world = World::open();
    world.run("0.1.0");
    let failure = Reply { code: Code::NotFound as u8, ..reply("") };
    assert!(world.session.complete(id("0.1.0"), failure.clone(), None));
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::Replay(failure.clone())));
    assert_eq!(world.ask(id("0.1.0"), false, false), CallState::Done(Kept::Whole(failure)));
}

//= test C-9
//= test I1
#[test]
fn a_retry_of_a_running_call_waits_for_it() {
    let mut world = World::open();
    world.run("0.1.0");
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::Attach));
    assert_eq!(world.session.running(), 1);
}

//= test C-10
//= test I4
#[test]
fn another_request_under_the_same_id_neither_runs_nor_gets_the_reply() {
    let mut world = World::open();
    world.run("0.1.0");
    assert_eq!(world.admit("0.1.1", 2), Err(AdmitError::FalseRetry(id("0.1.0"))));
    world.session.complete(id("0.1.0"), reply("first"), None);
    assert_eq!(world.admit("0.1.1", 2), Err(AdmitError::FalseRetry(id("0.1.0"))));
    assert_eq!(world.admit("0.1.0", 1), Ok(Admission::Replay(reply("first"))), "it fenced nobody");
}

//= test C-4
//= test C-11
//= test C-12
//= test I5
#[test]
fn what_is_neither_next_nor_last_is_refused() {
    let mut world = World::open();
    assert!(matches!(world.admit("4.1.0", 1), Err(AdmitError::SlotOutOfRange { slots: 4, .. })));
    assert!(matches!(world.admit("4294967295.1.0", 1), Err(AdmitError::SlotOutOfRange { .. })));
    assert!(matches!(world.admit("0.2.0", 1), Err(AdmitError::Misordered { .. })));
    world.run("0.1.0");
    assert!(
        matches!(world.admit("0.2.0", 1), Err(AdmitError::Misordered { .. })),
        "the one before still runs"
    );
    world.session.complete(id("0.1.0"), reply("1"), None);
    world.run("0.2.0");
    world.session.complete(id("0.2.0"), reply("2"), None);
    assert!(matches!(world.admit("0.1.1", 1), Err(AdmitError::Stale { .. })));
    assert!(matches!(world.admit("0.18446744073709551615.0", 1), Err(AdmitError::Misordered { .. })));
}

//= test C-13
#[test]
fn an_attempt_fences_the_lower_ones() {
    let mut world = World::open();
    world.run("0.1.0");
    assert_eq!(world.admit("0.1.2", 1), Ok(Admission::Attach));
    let fenced = AdmitError::Fenced { attempt: Attempt(1), latest: Attempt(2) };
    assert_eq!(world.admit("0.1.1", 1), Err(fenced));
    world.session.complete(id("0.1.0"), reply("1"), None);
    assert_eq!(world.admit("0.1.1", 1), Err(fenced));
    assert_eq!(world.admit("0.1.2", 1), Ok(Admission::Replay(reply("1"))));
}

//= test C-16
//= test I6
#[test]
fn a_reply_over_the_bound_keeps_its_status() {
    let mut world = World::open();
    let big = Reply { message: vec![7; 65_537].into(), ..reply("") };
    world.run("0.1.0");
    world.session.complete(id("0.1.0"), big.clone(), None);
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::ReplyDropped(reply(""))));
    assert_eq!(world.session.reply_bytes(), 0);
    world.run("0.2.0");
    world.session.complete(id("0.2.0"), reply("four"), Some(3));
    assert_eq!(
        world.admit("0.2.1", 1),
        Ok(Admission::ReplyDropped(reply(""))),
        "the method's bound is smaller"
    );
    world.run("0.3.0");
    world.session.complete(id("0.3.0"), reply("four"), Some(4));
    assert_eq!(world.session.reply_bytes(), 4);
    let fat_status = Reply { code: 13, trailer: vec![7; 65_537].into(), ..reply("") };
    world.run("0.4.0");
    world.session.complete(id("0.4.0"), fat_status, None);
    assert_eq!(world.session.reply_bytes(), 0);
}

//= test C-31
//= test C-32
//= test I3
#[test]
fn a_settled_call_never_runs() {
    let mut world = World::open();
    assert_eq!(world.ask(id("0.1.0"), true, true), CallState::NotExecuted);
    for attempt in ["0.1.0", "0.1.1"] {
        assert_eq!(world.admit(attempt, 1), Err(AdmitError::Settled(id("0.1.0"))));
    }
    assert_eq!(world.ask(id("0.1.0"), false, false), CallState::NotExecuted);
    world.run("0.2.0");
}

//= test C-30
//= test C-33
//= test C-34
#[test]
fn a_query_tells_what_became_of_a_call_and_changes_nothing() {
    let mut world = World::open();
    let ask = |world: &mut World, call: &str| world.ask(id(call), false, false);
    assert_eq!(ask(&mut world, "0.1.0"), CallState::Absent);
    world.run("0.1.0");
    assert_eq!(ask(&mut world, "0.1.0"), CallState::Running);
    assert_eq!(world.ask(id("0.2.0"), true, false), CallState::Absent, "the one before runs");
    world.session.complete(id("0.1.0"), reply("1"), None);
    assert_eq!(ask(&mut world, "0.1.0"), CallState::Done(Kept::Whole(reply("1"))));
    assert_eq!(world.ask(id("0.1.0"), true, true), CallState::Done(Kept::Whole(reply("1"))));
    assert_eq!(world.ask(id("0.3.0"), true, false), CallState::Absent, "only the next is settled");
    world.run("0.2.0");
    assert_eq!(ask(&mut world, "0.1.0"), CallState::Forgotten);
    world.session.abandon(id("0.2.0"));
    assert_eq!(ask(&mut world, "0.2.0"), CallState::Unknown);
    let request = world.request();
    let refused = world.session.query(id("9.1.0"), true, true, request);
    assert!(matches!(refused, Err(AdmitError::SlotOutOfRange { .. })));
}

//= test C-36
//= test C-37
#[test]
fn a_cancel_stops_only_what_may_be_stopped() {
    let mut world = World::open();
    world.run("0.1.0");
    assert_eq!(world.session.admit(call("1.1.0", 1, Cancellation::Stop)), Ok(Admission::Run));
    world.ask(id("0.1.0"), true, true);
    world.ask(id("1.1.0"), true, false);
    world.drain();
    assert_eq!(world.effects, []);
    assert_eq!(world.ask(id("1.1.0"), true, true), CallState::Running);
    world.drain();
    assert_eq!(world.effects, [Effect::Stop(id("1.1.0"))]);
    world.session.abandon(id("1.1.0"));
    assert_eq!(world.session.admit(call("1.1.1", 1, Cancellation::Stop)), Ok(Admission::Unknown));
    world.session.complete(id("1.1.0"), reply("late"), None);
    assert_eq!(world.session.admit(call("1.1.1", 1, Cancellation::Stop)), Ok(Admission::Unknown));
}

//= test C-57
#[test]
//= test O-21
fn without_the_unit_nothing_is_admitted() {
    let mut world = World::open();
    Arc::make_mut(&mut world.session.record_mut().agreement).units = Units::KERNEL;
    assert_eq!(world.admit("0.1.0", 1), Err(AdmitError::UnitOff));
}

//= test C-25
#[test]
fn a_refusal_claims_no_more_than_it_knows() {
    let call = id("0.1.0");
    let last = Sequence(1);
    let (first, later) = (Attempt(0), Attempt(1));
    for error in [
        AdmitError::SlotOutOfRange { slot: SlotId(9), slots: 4 },
        AdmitError::Misordered { call, last },
        AdmitError::FalseRetry(call),
        AdmitError::Releasing,
        AdmitError::UnitOff,
    ] {
        assert_eq!(error.outcome(first), Outcome::NotExecuted, "{error}");
        assert_eq!(error.outcome(later), Outcome::Unknown, "{error}");
    }
    for error in [AdmitError::Stale { call, last }, AdmitError::Fenced { attempt: first, latest: later }] {
        assert_eq!(error.outcome(first), Outcome::Unknown, "{error}");
    }
    assert_eq!(AdmitError::Settled(call).outcome(later), Outcome::NotExecuted);
}

/// A server that another has replaced answered from memory that there was no such call, and there was.
//= test C-34, I2, I7
#[test]
fn that_a_call_has_not_arrived_is_said_with_the_stores_word_only() {
    let mut world = World::open();
    let request = world.request();
    world.session.query(id("0.1.0"), false, false, request).unwrap();
    assert_eq!(world.answers(), [], "the store may know better");
    let record = world.pending.pop().expect("the store is asked");
    world.session.store_failed(record, &WriteError::Fenced { stored: Epoch(2) });
    assert_eq!(world.answers(), [(request.0, Answer::Failed(Reason::SessionFenced))]);
}
