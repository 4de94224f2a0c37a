use super::*;
use crate::record::{End, Summary};
use crate::store::StoreError;

//= test L-1
#[test]
fn the_table_is_the_one_in_the_protocol_text() {
    let mut table = String::from("| state | event | next |\n| --- | --- | --- |\n");
    for state in State::ALL {
        for input in Input::ALL {
            if let Some(next) = state.after(input) {
                table.push_str(&format!("| {state} | {input} | {next} |\n"));
            }
        }
    }
    let text = include_str!("../../../../docs/protocol.md");
    let (_, rest) = text.split_once("<!-- life-cycle:begin -->\n").unwrap();
    let (written, _) = rest.split_once("<!-- life-cycle:end -->").unwrap();
    assert_eq!(written, table);
}

//= test L-8
#[test]
fn nothing_leaves_a_terminal_state() {
    for end in [End::Released, End::Aborted, End::Expired] {
        for input in Input::ALL {
            assert_eq!(State::Ended(end).after(input), None);
        }
    }
}

//= test O-4
#[test]
fn an_opening_is_answered_when_its_record_is_durable() {
    let mut world = World::opening(&[]);
    assert_eq!(world.answers(), []);
    assert_eq!(world.session.state(), State::Opening);
    world.store_answers();
    assert_eq!(world.session.state(), State::Connected);
    assert_eq!(world.answers(), [(0, Answer::Opened { existing: false })]);
}

#[test]
fn an_opening_that_the_store_refuses_is_answered_with_the_failure_and_leaves_nothing() {
    let mut world = World::opening(&[]);
    let record = world.pending.remove(0);
    world.session.store_failed(record, &StoreError::Failed("disk full".into()).into());
    world.drain();
    // Before the answer: whoever got that asks again with the same nonce, and must find it free.
    assert_eq!(world.effects[1], Effect::Event(Event::NeverOpened));
    assert_eq!(world.answers(), [(0, Answer::Failed(Reason::StoreUnavailable))]);
    assert_eq!(world.session.state(), State::Ended(End::Aborted));
    assert_eq!(world.present(TICKET), Err(SessionUnknown));
}

//= test O-3
#[test]
fn a_repeated_opening_gets_a_ticket_that_voids_the_first_once_it_is_used() {
    let mut world = World::open();
    let request = world.request();
    world.session.open_again(world.now, NEXT_TICKET, request).unwrap();
    assert_eq!(world.answers(), [], "the ticket is recorded before it is sent");
    world.store_answers();
    assert_eq!(world.answers(), [(1, Answer::Opened { existing: true })]);
    assert!(world.present(TICKET).is_ok());
    assert!(world.present(NEXT_TICKET).is_ok());
    assert_eq!(world.present(TICKET), Err(SessionUnknown));
}

//= test A-19
#[test]
fn a_wrong_ticket_changes_nothing() {
    let mut world = World::open();
    world.pass(29);
    let before = format!("{:?}", world.session);
    assert_eq!(world.present(TicketHash([9; 32])), Err(SessionUnknown));
    assert_eq!(format!("{:?}", world.session), before);
    world.pass(1);
    assert_eq!(world.session.state(), State::Ended(End::Expired), "it was no traffic");
}

//= test L-3
//= test L-5
#[test]
fn traffic_renews_the_lease_and_silence_ends_the_session() {
    let mut world = World::open();
    assert_eq!(world.present(TICKET), Ok(true), "the connection is new to the session");
    for _ in 0..10 {
        world.pass(29);
        assert_eq!(world.present(TICKET), Ok(false));
    }
    world.effects.clear();
    world.pass(30);
    assert_eq!(world.session.state(), State::Ended(End::Expired));
    assert_eq!(world.events(), [Event::Ended(End::Expired)]);
    assert_eq!(world.present(TICKET), Err(SessionUnknown));
    assert_eq!(world.session.next_wake(), Timestamp::NEVER);
}

//= test L-4
#[test]
//= test L-7
fn the_linger_governs_when_the_last_connection_is_lost() {
    let mut world = World::open();
    world.present(TICKET).unwrap();
    world.effects.clear();
    world.session.connection_lost(world.now, WIRE);
    assert_eq!(world.session.state(), State::Lingering);
    assert_eq!(world.events(), [Event::Detached(WIRE), Event::Lingering]);
    world.pass(599);
    assert_eq!(world.present(TICKET), Ok(true));
    assert_eq!(world.session.state(), State::Connected);
    assert_eq!(world.events(), [Event::Returned, Event::Attached(WIRE)]);
    world.session.connection_lost(world.now, WIRE);
    world.pass(600);
    assert_eq!(world.session.state(), State::Ended(End::Expired));
}

//= test L-6
#[test]
fn the_loss_of_one_of_two_connections_and_of_an_old_one_changes_nothing() {
    let mut world = World::open();
    world.present(TICKET).unwrap();
    world.session.present(world.now, &TICKET, Some(ConnectionId(8))).unwrap();
    world.session.connection_lost(world.now, WIRE);
    assert_eq!(world.session.state(), State::Connected);
    world.session.connection_lost(world.now, WIRE);
    assert_eq!(world.session.state(), State::Connected, "its death is told twice at most");
}

//= test A-14
//= test A-16
#[test]
fn authority_ends_with_the_token_and_the_session_lives_on() {
    let mut world = World::open();
    for _ in 0..45 {
        world.pass(20);
        world.present(TICKET).unwrap();
    }
    assert!(!world.session.has_authority(world.now));
    assert_eq!(world.session.state(), State::Connected);
    let alice = Principal::new("issuer", "alice");
    let request = world.request();
    world.session.renew(world.now, None, Some((&alice, authority(9_000))), request).unwrap();
    assert!(world.session.has_authority(world.now));
    world.store_answers();
    assert_eq!(world.answers(), [(1, Answer::Renewed)]);
}

//= test L-10
#[test]
fn renewing_without_a_token_renews_the_lease_only_and_waits_for_nothing() {
    let mut world = World::open();
    let before = (world.session.authority_until(), Arc::clone(&world.session.record));
    world.pass(29);
    let request = world.request();
    world.session.renew(world.now, None, None, request).unwrap();
    assert_eq!(world.answers(), [(1, Answer::Renewed)]);
    assert_eq!((world.session.authority_until(), Arc::clone(&world.session.record)), before);
    world.pass(29);
    assert_eq!(world.session.state(), State::Connected);
}

//= test A-11
#[test]
fn another_principals_token_renews_nothing() {
    let mut world = World::open();
    let before = format!("{:?}", world.session);
    let mallory = Principal::new("issuer", "mallory");
    let request = world.request();
    let answer =
        world.session.renew(world.now, Some(NEXT_TICKET), Some((&mallory, authority(9_000))), request);
    assert_eq!(answer, Err(RenewError::PrincipalMismatch));
    assert_eq!(format!("{:?}", world.session), before);
}

//= test L-17
#[test]
fn a_new_ticket_is_recorded_before_it_is_sent() {
    let mut world = World::open();
    let request = world.request();
    world.session.renew(world.now, Some(NEXT_TICKET), None, request).unwrap();
    assert_eq!(world.answers(), []);
    world.store_answers();
    assert_eq!(world.answers(), [(1, Answer::Renewed)]);
    world.present(NEXT_TICKET).unwrap();
    assert_eq!(world.pending.len(), 1, "the store learns that the old one is void");
}

//= test L-20
#[test]
fn a_release_without_running_calls_ends_the_session_and_is_answered_when_that_is_durable() {
    let mut world = World::open();
    let request = world.request();
    world.session.release(world.now + Duration::from_secs(10), request).unwrap();
    assert_eq!(world.session.state(), State::Ended(End::Released));
    assert_eq!(world.answers(), []);
    world.store_answers();
    assert_eq!(world.answers(), [(1, Answer::Released(Summary::default()))]);
}

//= test L-18
//= test L-19
//= test I18
#[test]
//= test L-2
fn a_release_waits_for_running_calls_and_admits_no_new_ones() {
    let mut world = World::open();
    world.run("0.1.0");
    let request = world.request();
    world.session.release(world.now + Duration::from_secs(10), request).unwrap();
    assert_eq!(world.session.state(), State::Releasing);
    assert_eq!(world.admit("1.1.0", 1), Err(AdmitError::Releasing));
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::Attach), "a retry is still answered");
    world.session.complete(id("0.1.0"), reply("done"), None);
    assert_eq!(world.session.state(), State::Ended(End::Released));
    world.store_answers();
    assert_eq!(world.answers(), [(1, Answer::Released(Summary { calls: 1, done: 1, ..Summary::default() }))]);
}

//= test L-21
//= test I19
#[test]
fn a_release_that_takes_too_long_is_refused_where_that_was_negotiated() {
    let mut world = World::open_with(&[Unit::NegotiatedRelease]);
    world.run("0.1.0");
    let request = world.request();
    world.session.release(world.now + Duration::from_secs(10), request).unwrap();
    world.pass(9);
    assert_eq!(world.answers(), []);
    world.pass(1);
    assert_eq!(world.answers(), [(1, Answer::ReleaseRefused { running: 1 })]);
    assert_eq!(world.session.state(), State::Connected);
    world.run("1.1.0");
}

//= test L-22
#[test]
fn a_release_that_takes_too_long_aborts_where_refusal_was_not_negotiated() {
    let mut world = World::open();
    world.run("2.1.0");
    let request = world.request();
    world.session.release(world.now + Duration::from_secs(10), request).unwrap();
    world.pass(10);
    assert_eq!(world.session.state(), State::Ended(End::Aborted));
    world.store_answers();
    let calls = vec![(id("2.1.0"), CallState::Running)];
    assert_eq!(world.answers(), [(1, Answer::Aborted { calls })]);
}

#[test]
//= test L-33
fn a_release_is_refused_when_its_connection_is_lost() {
    let mut world = World::open();
    world.present(TICKET).unwrap();
    world.run("0.1.0");
    let request = world.request();
    world.session.release(world.now + Duration::from_secs(10), request).unwrap();
    world.session.connection_lost(world.now, WIRE);
    assert_eq!(world.answers(), [(1, Answer::ReleaseRefused { running: 1 })]);
    assert_eq!(world.session.state(), State::Lingering);
}

#[test]
fn releases_that_wait_are_bounded() {
    let mut world = World::open();
    world.run("0.1.0");
    for _ in 0..17 {
        let request = world.request();
        world.session.release(world.now + Duration::from_secs(10), request).unwrap();
    }
    assert_eq!(world.answers(), [(17, Answer::ReleaseRefused { running: 1 })]);
}

//= test L-24
//= test L-25
#[test]
fn an_abort_tells_what_runs_and_stops_what_may_be_stopped() {
    let mut world = World::open();
    world.run("0.1.0");
    assert_eq!(world.session.admit(call("1.1.0", 1, Cancellation::Stop)), Ok(Admission::Run));
    let request = world.request();
    world.session.abort(request).unwrap();
    world.drain();
    assert!(world.effects.contains(&Effect::Stop(id("1.1.0"))));
    assert!(!world.effects.contains(&Effect::Stop(id("0.1.0"))));
    world.store_answers();
    let calls = vec![(id("0.1.0"), CallState::Running), (id("1.1.0"), CallState::Running)];
    assert_eq!(world.answers(), [(1, Answer::Aborted { calls })]);
    let request = world.request();
    assert_eq!(world.session.abort(request), Err(SessionUnknown));
    assert_eq!(world.session.release(world.now, request), Err(SessionUnknown));
}

//= test I7
#[test]
fn a_fenced_write_ends_the_session_here() {
    let mut world = World::open();
    let request = world.request();
    world.session.renew(world.now, Some(NEXT_TICKET), None, request).unwrap();
    world.drain();
    let record = world.pending.remove(0);
    world.session.store_failed(record, &WriteError::Fenced { stored: Epoch(2) });
    world.drain();
    assert!(world.effects.contains(&Effect::Event(Event::Fenced)));
    assert_eq!(world.answers(), [(1, Answer::Failed(Reason::SessionFenced))]);
    assert_eq!(world.present(TICKET), Err(SessionUnknown));
}

/// A request is read whole between the check of its ticket and its admission, and a session may end in that time.
//= test L-2
//= test I8
//= test I18
#[test]
fn a_call_that_was_on_its_way_when_the_session_ended_is_not_admitted() {
    let ended = Err(AdmitError::Ended);
    let mut released = World::open();
    let request = released.request();
    released.session.release(released.now, request).unwrap();
    assert_eq!(released.admit("0.1.0", 1), ended);
    let mut aborted = World::open();
    let request = aborted.request();
    aborted.session.abort(request).unwrap();
    assert_eq!(aborted.admit("0.1.0", 1), ended);
    let mut expired = World::open();
    expired.pass(30);
    assert_eq!(expired.admit("0.1.0", 1), ended);
    assert_eq!(expired.session.running(), 0);
}

#[test]
fn an_attempt_that_waits_gets_its_answer_although_the_session_ended() {
    let mut world = World::open();
    world.run("0.1.0");
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::Attach));
    world.pass(30);
    assert_eq!(world.session.state(), State::Ended(End::Expired));
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::Attach));
    world.session.complete(id("0.1.0"), reply("late"), None);
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::Replay(reply("late"))));
}

//= test L-2
#[test]
fn a_call_whose_connection_was_lost_on_its_way_is_not_admitted() {
    let mut world = World::open();
    world.present(TICKET).unwrap();
    world.session.connection_lost(world.now, WIRE);
    assert_eq!(world.admit("0.1.0", 1), Err(AdmitError::Lingering));
    world.present(TICKET).unwrap();
    world.run("0.1.1");
}

/// Lingering went on by the time of the lost connection, and could end in the moment in which the answer was sent.
//= test O-3
#[test]
fn a_repeated_opening_brings_a_lingering_session_back() {
    let mut world = World::open();
    world.present(TICKET).unwrap();
    world.session.connection_lost(world.now, WIRE);
    world.pass(599);
    let request = world.request();
    world.session.open_again(world.now, NEXT_TICKET, request).unwrap();
    world.store_answers();
    world.pass(2);
    assert!(world.present(NEXT_TICKET).is_ok());
}

/// Whoever wakes the session may be late; its time is over all the same.
//= test L-3
//= test L-4
#[test]
fn a_session_whose_time_is_over_is_not_entered_although_nobody_woke_it() {
    let mut world = World::open();
    world.now = world.now + Duration::from_secs(30);
    assert!(!world.session.is_owned_by(world.now, &TICKET));
    assert_eq!(world.present(TICKET), Err(SessionUnknown));
    world.pass(0);
    assert_eq!(world.session.state(), State::Ended(End::Expired));
}

/// The loss of its connection, noticed in the moment between the end of its time and the look at it, let it linger, and its
/// ticket was good once more.
//= test L-3
#[test]
fn neither_a_lost_connection_nor_late_traffic_brings_a_session_back_whose_time_is_over() {
    let late: [fn(&mut Session, Timestamp); 2] =
        [|session, now| session.connection_lost(now, WIRE), |session, now| session.traffic(now)];
    for late in late {
        let mut world = World::open();
        world.present(TICKET).unwrap();
        world.now = world.now + Duration::from_secs(30);
        assert_eq!(world.present(TICKET), Err(SessionUnknown), "its owner is told");
        late(&mut world.session, world.now);
        assert_eq!(world.present(TICKET), Err(SessionUnknown));
        world.pass(0);
        assert_eq!(world.session.state(), State::Ended(End::Expired));
    }
}
