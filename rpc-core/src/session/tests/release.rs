//! What a release waits for, and what it is answered with.

use super::*;
use crate::dialog::{Holding, Token};
use crate::record::{CallRecord, Receipt, SlotRecord};
use crate::release::ReleaseTokenError;
use crate::stream::position::Position;

fn position(messages: u64) -> Position {
    Position { messages, bytes: messages * 10 }
}

impl World {
    fn release(&mut self) -> RequestId {
        let request = self.request();
        self.session.release(self.now + Duration::from_secs(10), request).unwrap();
        request
    }
}

//= test D-22
//= test I18
#[test]
fn a_release_waits_until_all_of_every_stream_is_secured() {
    let mut world = World::open();
    world.run("0.1.0");
    world.session.flow_begun(id("0.1.0"));
    world.run("1.1.0");
    world.session.flow_begun(id("1.1.0"));
    world.session.complete(id("0.1.0"), reply("r"), None);
    let request = world.release();
    // Its handler has ended, and its caller does not have everything.
    world.session.complete(id("1.1.0"), Reply { code: 5, ..reply("") }, None);
    assert_eq!(world.session.state(), State::Releasing);
    world.session.flow_over(id("1.1.0"), position(3), position(0));
    assert_eq!(world.session.state(), State::Releasing);
    world.session.flow_over(id("0.1.0"), position(2), position(5));
    assert_eq!(world.session.state(), State::Ended(End::Released));
    let summary =
        Summary { calls: 2, done: 1, failed: 1, unknown: 0, requests: position(5), responses: position(5) };
    let receipt = world.session.tombstone().unwrap().receipt.unwrap();
    assert_eq!(*receipt, Receipt { tickets: TicketHashes::first(TICKET), summary });
    world.store_answers();
    assert_eq!(world.answers(), [(request.0, Answer::Released(summary))]);
}

//= test L-21
//= test I19
#[test]
fn a_stream_that_is_never_secured_does_not_hold_a_release_for_ever() {
    for (units, expected) in [
        (&[Unit::NegotiatedRelease][..], Answer::ReleaseRefused { running: 1 }),
        (&[], Answer::Aborted { calls: vec![(id("0.1.0"), CallState::Done(Kept::Whole(reply("r"))))] }),
    ] {
        let mut world = World::open_with(units);
        world.run("0.1.0");
        world.session.flow_begun(id("0.1.0"));
        world.session.complete(id("0.1.0"), reply("r"), None);
        let request = world.release();
        world.pass(10);
        world.store_answers();
        assert_eq!(world.answers(), [(request.0, expected)]);
    }
}

#[test]
fn what_nobody_knows_the_end_of_is_unknown_in_the_summary() {
    let mut world = World::open();
    world.run("0.1.0");
    world.session.abandon(id("0.1.0"));
    world.run("1.1.0");
    world.session.complete(id("1.1.0"), reply("r"), None);
    // Attempts of a call, and a call that never runs, are no further calls.
    assert_eq!(world.admit("1.1.1", 1), Ok(Admission::Replay(reply("r"))));
    world.ask(id("2.1.0"), true, false);
    world.release();
    world.store_answers();
    let Some(receipt) = world.session.tombstone().unwrap().receipt else { panic!("no receipt") };
    assert_eq!(receipt.summary, Summary { calls: 2, done: 1, unknown: 1, ..Summary::default() });
}

#[test]
fn a_server_counts_what_the_one_before_it_left_in_the_slots() {
    let world = World::open();
    let record = |slot, call| SlotRecord { slot: SlotId(slot), sequence: Sequence(9), call };
    let slots = vec![
        record(0, CallRecord::Done(Fingerprint(1), reply("r"))),
        record(1, CallRecord::ReplyDropped(Fingerprint(1), Reply { code: 13, ..reply("") })),
        record(2, CallRecord::Begun(Fingerprint(1))),
        record(3, CallRecord::Settled),
    ];
    let restored = Restored {
        id: world.session.id(),
        epoch: Epoch::FIRST,
        record: Arc::clone(&world.session.record),
        slots,
        authority_until: Timestamp::NEVER,
    };
    let mut session = Session::restore(world.now, restored, false);
    session.present(world.now, &TICKET, Some(WIRE)).unwrap();
    session.release(world.now + Duration::from_secs(1), RequestId(1)).unwrap();
    let summary = session.tombstone().unwrap().receipt.unwrap().summary;
    assert_eq!(summary, Summary { calls: 3, done: 1, failed: 1, unknown: 1, ..Summary::default() });
}

//= test L-34
#[test]
fn that_the_end_is_recorded_is_said_when_it_is() {
    let mut world = World::open();
    world.release();
    assert_eq!(world.events(), [Event::Ended(End::Released)]);
    world.store_answers();
    assert_eq!(world.events(), [Event::EndRecorded(End::Released)]);
    let mut world = World::open();
    world.release();
    world.drain();
    let record = world.pending.pop().unwrap();
    world.session.store_failed(record, &WriteError::Store(crate::store::StoreError::Closed("full".into())));
    assert!(!world.events().contains(&Event::EndRecorded(End::Released)));
}

impl World {
    fn want(&mut self, seconds: u64) -> Result<RequestId, ReleaseTokenError> {
        let request = self.request();
        self.session.want_release(self.now + Duration::from_secs(seconds), request).map(|()| request)
    }
}

fn first_turn_of_the_acceptor() -> World {
    let mut world = World::open_with(&[Unit::NegotiatedRelease]);
    // As if the initiator had handed it over.
    let given = Holding { token: Token::Release, generation: 1, mine: false };
    world.session.release_heard(&[given]).unwrap();
    world
}

//= test L-38
//= test D-21
//= test I19
#[test]
fn the_initiator_does_not_release_what_is_the_acceptors_to_release() {
    let mut world = first_turn_of_the_acceptor();
    let request = world.release();
    assert_eq!(world.answers(), [(request.0, Answer::ReleaseTokenMissing)]);
    assert_eq!(world.session.state(), State::Connected);
    world.session.give_release().unwrap();
    assert_eq!(world.session.give_release(), Err(ReleaseTokenError::Missing));
    world.release();
    assert_eq!(world.session.state(), State::Ended(End::Released));
    assert_eq!(world.session.give_release(), Err(ReleaseTokenError::Ended));
}

//= test L-40
#[test]
fn a_release_that_the_acceptor_wants_is_made_or_the_session_is_aborted() {
    let mut world = first_turn_of_the_acceptor();
    let wants = world.want(5).unwrap();
    assert_eq!(world.session.said().release_by, Some(world.now + Duration::from_secs(5)));
    let request = world.release();
    world.store_answers();
    let answers = world.answers();
    assert!(
        matches!(answers[..], [(a, Answer::Ended(End::Released)), (b, Answer::Released(_))]
        if (a, b) == (wants.0, request.0)),
        "{answers:?}"
    );
    let mut world = World::open();
    let wants = world.want(5).unwrap();
    world.run("0.1.0");
    world.pass(4);
    assert_eq!(world.session.state(), State::Connected);
    world.pass(1);
    world.store_answers();
    assert_eq!(world.answers(), [(wants.0, Answer::Ended(End::Aborted))]);
}

//= test L-41
#[test]
fn a_release_may_be_declined_where_that_was_negotiated_only() {
    let mut world = first_turn_of_the_acceptor();
    let wants = world.want(5).unwrap();
    world.session.release_declined();
    assert_eq!(world.answers(), [(wants.0, Answer::ReleaseDeclined)]);
    world.pass(5);
    assert_eq!(world.session.state(), State::Connected);
    let mut world = World::open();
    world.want(5).unwrap();
    world.session.release_declined();
    world.pass(5);
    assert_eq!(world.session.state(), State::Ended(End::Aborted));
    let mut world = World::open_with(&[Unit::NegotiatedRelease]);
    assert_eq!(world.want(5), Err(ReleaseTokenError::Missing), "it is the initiator's");
}

//= test D-23
//= test I20
#[test]
fn of_two_releases_the_initiators_goes_first_and_answers_both() {
    let mut world = World::open();
    world.run("0.1.0");
    let request = world.release();
    let wants = world.want(60).unwrap();
    assert_eq!(world.session.said(), Said::default(), "it is at it");
    world.session.complete(id("0.1.0"), reply("r"), None);
    world.store_answers();
    let ends: Vec<u64> = world.answers().into_iter().map(|(request, _)| request).collect();
    assert_eq!(ends, [wants.0, request.0]);
    // One that is off does not take the other with it.
    let mut world = World::open();
    world.present(TICKET).unwrap();
    world.run("0.1.0");
    world.release();
    world.want(60).unwrap();
    world.session.connection_lost(world.now, WIRE);
    assert!(world.session.said().release_by.is_some());
}

#[test]
fn those_who_wait_for_a_release_are_bounded() {
    let mut world = World::open();
    for _ in 0..16 {
        world.want(60).unwrap();
    }
    assert_eq!(world.want(60), Err(ReleaseTokenError::Busy));
}
