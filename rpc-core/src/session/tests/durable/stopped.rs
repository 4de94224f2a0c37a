//! Calls whose handlers were stopped.

use super::*;

/// Such a call was begun in the store for ever, and a late attempt ran it again at the next server.
//= test C-36
#[test]
fn a_stopped_call_is_unknown_at_a_later_server_too() {
    for keeping in [STORE, IDEMPOTENT, Keeping::Stream, Keeping::Transaction] {
        let mut world = World::open();
        world.session.admit(kept("0.1.0", keeping)).unwrap();
        world.store_answers();
        world.left();
        world.session.stopped(id("0.1.0"));
        let (_, call) = world.change();
        assert_eq!(call, CallRecord::Unknown(Some(Fingerprint(1))), "{keeping:?}");
        assert_eq!(world.session.admit(kept("0.1.1", keeping)), Ok(Admission::Unknown));

        let mut world = world.restart(vec![record(1, call)], false);
        world.present(TICKET).unwrap();
        assert!(!world.session.may_start(id("0.1.2")));
        assert_eq!(world.session.admit(kept("0.1.2", keeping)), Ok(Admission::Unknown), "{keeping:?}");
        assert_eq!(world.session.admit(kept("0.2.0", STORE)), Ok(Admission::RunWhenRecorded));
    }
}

//= test C-36
#[test]
fn who_asks_for_a_stopped_call_waits_until_the_store_knows() {
    let mut world = World::open();
    world.session.admit(kept("0.1.0", IDEMPOTENT)).unwrap();
    world.store_answers();
    world.left();
    world.session.stopped(id("0.1.0"));
    let (unknown, _) = world.change();
    let request = world.request();
    world.session.query(id("0.1.0"), false, false, request).unwrap();
    assert_eq!(world.answers(), []);
    world.session.durable(unknown);
    let answer = Answer::Queried(CallState::Unknown, Sequence(1));
    assert_eq!(world.answers(), [(request.0, answer)]);
}

#[test]
fn a_call_that_was_stopped_before_the_store_knew_of_it_stays_unknown() {
    let mut world = World::open();
    world.session.admit(kept("0.1.0", STORE)).unwrap();
    world.session.stopped(id("0.1.0"));
    let changes = world.changes();
    let [(intent, _), (unknown, _)] = changes[..] else { panic!("{changes:?}") };
    world.session.store_failed(intent, &WriteError::Overloaded);
    world.session.durable(unknown);
    assert_eq!(world.session.running(), 0);
    assert_eq!(world.session.admit(kept("0.1.1", STORE)), Ok(Admission::Unknown));
}

/// A later server may run it again: nobody was told anything.
//= test C-52
#[test]
fn a_handler_that_is_gone_with_its_server_leaves_the_store_as_it_was() {
    let mut world = World::open();
    world.session.admit(kept("0.1.0", IDEMPOTENT)).unwrap();
    world.store_answers();
    world.left();
    world.session.abandon(id("0.1.0"));
    assert_eq!(world.changes(), []);
    assert_eq!(world.session.running(), 0);
}

#[test]
fn nothing_is_kept_of_a_stopped_call_that_is_in_memory_or_whose_session_has_ended() {
    let mut world = World::open();
    world.run("0.1.0");
    world.session.stopped(id("0.1.0"));
    assert_eq!(world.changes(), []);

    world.session.admit(kept("1.1.0", STORE)).unwrap();
    world.store_answers();
    world.left();
    let request = world.request();
    world.session.abort(request).unwrap();
    assert!(matches!(world.changes()[..], [(_, Change::End(_))]));
    world.session.stopped(id("1.1.0"));
    assert_eq!(world.changes(), []);
}
