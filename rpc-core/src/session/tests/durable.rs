//! Calls that the store has, and sessions that another server left there.

mod stopped;

use super::*;
use crate::error::Reason;
use crate::record::{CallRecord, SlotRecord};
use crate::transaction::Transaction;

const STORE: Keeping = Keeping::Store { idempotent: false };
const IDEMPOTENT: Keeping = Keeping::Store { idempotent: true };

fn kept(attempt: &str, keeping: Keeping) -> Admit {
    Admit { keeping, ..call(attempt, 1, Cancellation::Finish) }
}

impl World {
    /// The changes that were given to the store since the last look, with their records.
    fn changes(&mut self) -> Vec<(RecordId, Change)> {
        self.drain();
        let persisted = |effect: &mut Effect| matches!(effect, Effect::Persist { .. });
        self.effects
            .extract_if(.., persisted)
            .map(|effect| match effect {
                Effect::Persist { record, change, .. } => (record, change),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// The one call record that was given to the store since the last look.
    #[track_caller]
    fn change(&mut self) -> (RecordId, CallRecord) {
        match &self.changes()[..] {
            [(record, Change::Slot(slot) | Change::Commit(slot, _))] => (*record, slot.call.clone()),
            other => panic!("one change of a slot was expected, not {other:?}"),
        }
    }

    fn left(&mut self) -> Vec<Effect> {
        self.drain();
        std::mem::take(&mut self.effects)
    }

    /// The session as another server finds it that has the store and nothing else.
    fn restart(mut self, slots: Vec<SlotRecord>, forgetful: bool) -> Self {
        let record = Arc::clone(&self.session.record);
        let (id, epoch) = (self.session.id, self.session.epoch);
        let authority_until = self.session.authority_until;
        let restored = Restored { id, epoch, record, slots, authority_until };
        self.session = Session::restore(self.now, restored, forgetful);
        self.pending.clear();
        self.effects.clear();
        self
    }
}

fn begun(sequence: u64) -> SlotRecord {
    record(sequence, CallRecord::Begun(Fingerprint(1)))
}

fn record(sequence: u64, call: CallRecord) -> SlotRecord {
    SlotRecord { slot: SlotId(0), sequence: Sequence(sequence), call }
}

/// Restored, and its owner has come back.
fn restored(slots: Vec<SlotRecord>, forgetful: bool) -> World {
    let mut world = World::open().restart(slots, forgetful);
    world.present(TICKET).unwrap();
    world.store_answers();
    world.effects.clear();
    world
}

//= test C-51
#[test]
fn a_handler_waits_for_the_intent_and_the_answer_for_the_reply() {
    let mut world = World::open();
    assert_eq!(world.session.admit(kept("0.1.0", STORE)), Ok(Admission::RunWhenRecorded));
    let (intent, call) = world.change();
    assert_eq!(call, CallRecord::Begun(Fingerprint(1)));
    assert_eq!(world.left(), []);
    world.session.durable(intent);
    assert_eq!(world.left(), [Effect::Dispatch(id("0.1.0"))]);

    assert!(!world.session.complete(id("0.1.0"), reply("r"), None), "not to be answered yet");
    let (done, call) = world.change();
    assert_eq!(call, CallRecord::Done(Fingerprint(1), reply("r")));
    assert_eq!(world.session.admit(kept("0.1.1", STORE)), Ok(Admission::Attach));
    assert_eq!((world.session.is_running(id("0.1.0")), world.session.running()), (true, 1));
    assert_eq!(world.left(), []);
    world.session.durable(done);
    assert_eq!(world.left(), [Effect::Recorded(id("0.1.0"))]);
    assert_eq!(world.session.running(), 0);
    assert_eq!(world.session.admit(kept("0.1.2", STORE)), Ok(Admission::Replay(reply("r"))));
}

//= test C-51
#[test]
fn a_release_waits_for_replies_on_their_way_to_the_store() {
    let mut world = World::open();
    world.session.admit(kept("0.1.0", STORE)).unwrap();
    world.store_answers();
    let request = world.request();
    world.session.release(world.now + Duration::from_secs(5), request).unwrap();
    world.session.complete(id("0.1.0"), reply("r"), None);
    assert_eq!(world.answers(), []);
    // The reply, and then the end.
    world.store_answers();
    world.store_answers();
    assert_eq!(
        world.answers(),
        [(request.0, Answer::Released(Summary { calls: 1, done: 1, ..Summary::default() }))]
    );
}

#[test]
fn a_write_that_the_store_never_saw_leaves_the_slot_as_it_was() {
    let mut world = World::open();
    world.run("0.1.0");
    world.session.complete(id("0.1.0"), reply("first"), None);
    world.session.admit(kept("0.2.0", STORE)).unwrap();
    let (intent, _) = world.change();
    world.session.store_failed(intent, &WriteError::Overloaded);
    let refused = Effect::NotRecorded(id("0.2.0"), Reason::StoreUnavailable);
    assert_eq!(world.left(), [refused]);
    assert_eq!(world.session.running(), 0);
    assert_eq!(world.admit("0.1.1", 1), Ok(Admission::Replay(reply("first"))));
    assert_eq!(world.session.admit(kept("0.2.1", STORE)), Ok(Admission::RunWhenRecorded));
}

//= test C-59
#[test]
fn after_a_failed_store_nobody_is_told_what_nobody_knows() {
    for completed in [false, true] {
        let mut world = World::open();
        world.session.admit(kept("0.1.0", STORE)).unwrap();
        if completed {
            world.store_answers();
            world.effects.clear();
            world.session.complete(id("0.1.0"), reply("r"), None);
        }
        let (record, _) = world.change();
        world.session.store_failed(record, &WriteError::Store(crate::store::StoreError::Failed("x".into())));
        assert_eq!(world.left(), [Effect::NotRecorded(id("0.1.0"), Reason::StoreUnavailable)]);
        let again = world.session.admit(kept("0.1.1", STORE));
        assert_eq!(again, Err(AdmitError::NotRecorded(id("0.1.0"))));
        assert_eq!(again.unwrap_err().outcome(crate::id::Attempt(1)), crate::error::Outcome::Unknown);
        assert_eq!(world.ask(id("0.1.0"), true, true), CallState::Unknown);
        assert_eq!(world.session.running(), 0);
    }
}

//= test C-54
#[test]
fn a_transaction_is_committed_with_the_reply_or_runs_again() {
    let mut world = World::open();
    let exactly_once = kept("0.1.0", Keeping::Transaction);
    assert_eq!(world.session.admit(exactly_once), Ok(Admission::Run), "it needs no intent");
    assert_eq!(world.changes(), []);
    let mut transaction = Transaction::new();
    transaction.write("k".into(), Some("v".into())).unwrap();
    assert!(!world.session.complete_with(id("0.1.0"), reply("1"), None, transaction.clone()));
    let changes = world.changes();
    let slot = Box::new(record(1, CallRecord::Done(Fingerprint(1), reply("1"))));
    let [(first, change)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(*change, Change::Commit(slot, Box::new(transaction.clone())));
    world.session.store_failed(*first, &WriteError::Conflict);
    assert_eq!(world.left(), [Effect::RunAgain(id("0.1.0"))]);
    assert_eq!(world.ask(id("0.1.0"), false, false), CallState::Running);

    assert!(!world.session.complete_with(id("0.1.0"), reply("2"), None, transaction));
    let (second, _) = world.change();
    world.session.durable(second);
    assert_eq!(world.left(), [Effect::Recorded(id("0.1.0"))]);
    assert_eq!(world.session.admit(kept("0.1.1", Keeping::Transaction)), Ok(Admission::Replay(reply("2"))));
}

#[test]
fn a_refused_transaction_takes_back_nothing_else() {
    let mut world = World::open();
    world.session.admit(kept("0.1.0", Keeping::Transaction)).unwrap();
    world.session.complete_with(id("0.1.0"), reply("1"), None, Transaction::new());
    let (first, _) = world.change();
    world.session.admit(kept("1.1.0", STORE)).unwrap();
    let (second, _) = world.change();
    world.session.store_failed(first, &WriteError::Conflict);
    world.session.durable(second);
    assert_eq!(world.left(), [Effect::RunAgain(id("0.1.0")), Effect::Dispatch(id("1.1.0"))]);
}

#[test]
fn settling_is_answered_when_it_is_durable() {
    let mut world = World::open();
    let [first, second] = [world.request(), world.request()];
    world.session.query(id("0.1.0"), true, false, first).unwrap();
    world.session.query(id("0.1.0"), true, false, second).unwrap();
    let (settled, call) = world.change();
    assert_eq!(call, CallRecord::Settled);
    assert_eq!(world.left(), []);
    world.session.durable(settled);
    let answer = Answer::Queried(CallState::NotExecuted, Sequence(1));
    let answers: Vec<_> = world.answers();
    assert_eq!(answers, [(first.0, answer.clone()), (second.0, answer)]);
}

//= test C-52
#[test]
fn what_was_begun_by_a_server_that_is_gone_is_unknown_or_runs_again() {
    let mut world = restored(vec![begun(5)], false);
    assert!(world.session.may_start(id("0.5.1")));
    assert_eq!(world.ask(id("0.5.0"), false, false), CallState::Unknown);
    assert_eq!(world.session.admit(kept("0.5.1", STORE)), Ok(Admission::Unknown));
    assert_eq!(world.session.admit(kept("0.5.2", STORE)), Ok(Admission::Unknown));
    assert_eq!(world.session.admit(kept("0.6.0", STORE)), Ok(Admission::RunWhenRecorded));

    let mut world = restored(vec![begun(5)], false);
    let other = Admit { fingerprint: Fingerprint(2), ..kept("0.5.1", IDEMPOTENT) };
    assert_eq!(world.session.admit(other), Err(AdmitError::FalseRetry(id("0.5.1"))));
    assert_eq!(world.session.admit(kept("0.5.1", IDEMPOTENT)), Ok(Admission::RunWhenRecorded));
    assert_eq!(world.session.admit(kept("0.5.2", IDEMPOTENT)), Ok(Admission::Attach));
    let (record, _) = world.change();
    world.session.store_failed(record, &WriteError::Overloaded);
    assert_eq!(world.session.admit(kept("0.5.2", IDEMPOTENT)), Ok(Admission::RunWhenRecorded), "as it was");
}

//= test I2
#[test]
fn replies_and_settled_calls_are_what_they_were_before_the_restart() {
    for (call, keeping, expected) in [
        (CallRecord::Done(Fingerprint(1), reply("r")), STORE, Ok(Admission::Replay(reply("r")))),
        (CallRecord::ReplyDropped(Fingerprint(1), reply("")), STORE, Ok(Admission::ReplyDropped(reply("")))),
        (CallRecord::Unknown(Some(Fingerprint(1))), IDEMPOTENT, Ok(Admission::Unknown)),
        (CallRecord::Unknown(None), STORE, Ok(Admission::Unknown)),
        (CallRecord::Settled, STORE, Err(AdmitError::Settled(id("0.3.1")))),
    ] {
        let mut world = restored(vec![record(3, call)], false);
        assert_eq!(world.session.admit(kept("0.3.1", keeping)), expected);
        assert!(matches!(world.session.admit(kept("0.2.1", keeping)), Err(AdmitError::Stale { .. })));
        assert!(matches!(world.session.admit(kept("0.5.0", keeping)), Err(AdmitError::Misordered { .. })));
    }
}

//= test C-61
#[test]
fn a_first_attempt_of_a_stream_is_no_retry() {
    let stream = |attempt: &str, keeping| Admit { streams: true, ..kept(attempt, keeping) };
    for (known, last) in [
        (CallRecord::Begun(Fingerprint(1)), Ok(Admission::Unknown)),
        (CallRecord::Streaming(Fingerprint(1), Box::default()), Ok(Admission::RunWhenRecorded)),
        (CallRecord::Done(Fingerprint(1), reply("r")), Ok(Admission::Replay(reply("r")))),
        (CallRecord::ReplyDropped(Fingerprint(1), reply("r")), Ok(Admission::ReplyDropped(reply("r")))),
        (CallRecord::Settled, Err(AdmitError::Settled(id("0.3.0")))),
    ] {
        let mut world = restored(vec![record(3, known.clone())], false);
        let first = stream("0.3.0", Keeping::Stream);
        let refused = AdmitError::FalseRetry(first.attempt.call);
        let expected = if known == CallRecord::Settled { last.clone().unwrap_err() } else { refused };
        assert!(!world.session.would_run(&first));
        assert_eq!(world.session.admit(first), Err(expected), "{known:?}");
        assert_eq!(expected.outcome(crate::id::Attempt(0)), crate::error::Outcome::NotExecuted);
        assert_eq!(world.session.admit(stream("0.3.1", Keeping::Stream)), last, "{known:?}");
    }
    let mut world = World::open();
    assert_eq!(world.session.admit(stream("0.1.0", Keeping::Memory)), Ok(Admission::Run));
    let again = world.session.admit(stream("0.1.0", Keeping::Memory));
    assert_eq!(again, Err(AdmitError::FalseRetry(id("0.1.0"))));
    assert_eq!(world.session.admit(stream("0.1.2", Keeping::Memory)), Ok(Admission::Attach));
    let late = world.session.admit(stream("0.1.0", Keeping::Memory));
    assert!(matches!(late, Err(AdmitError::Fenced { .. })), "{late:?}");
}

//= test C-58
#[test]
fn a_call_that_was_kept_in_memory_is_never_run_twice_by_the_next_server() {
    let mut world = restored(vec![record(3, CallRecord::Settled)], true);
    // It may have run: no store would tell.
    assert_eq!(world.session.admit(kept("0.4.1", Keeping::Memory)), Ok(Admission::Unknown));
    assert_eq!(world.session.admit(kept("0.4.2", Keeping::Memory)), Ok(Admission::Unknown));
    // The retry may be late, and those after it forgotten, too.
    assert_eq!(world.ask(id("0.6.0"), false, false), CallState::Unknown);
    assert_eq!(world.session.admit(kept("0.6.0", STORE)), Ok(Admission::RunWhenRecorded));

    // A first attempt was never sent before; the ones between were kept in memory.
    let mut world = restored(vec![record(3, CallRecord::Settled)], true);
    assert_eq!(world.session.admit(kept("0.9.0", Keeping::Memory)), Ok(Admission::Run));
    assert!(matches!(world.session.admit(kept("0.8.1", STORE)), Err(AdmitError::Stale { .. })));

    // Had it been begun, the store would know.
    let mut world = restored(Vec::new(), true);
    assert_eq!(world.session.admit(kept("2.7.1", STORE)), Ok(Admission::RunWhenRecorded));

    let mut world = restored(Vec::new(), true);
    assert_eq!(world.ask(id("0.4.0"), false, false), CallState::Unknown);
    assert_eq!(
        world.session.admit(kept("0.4.0", STORE)),
        Ok(Admission::RunWhenRecorded),
        "nothing was settled"
    );
    assert_eq!(world.ask(id("1.4.0"), true, false), CallState::Unknown);
    assert_eq!(world.session.admit(kept("1.4.1", STORE)), Ok(Admission::Unknown), "whatever was asked");
    assert_eq!(world.session.admit(kept("1.5.0", STORE)), Ok(Admission::RunWhenRecorded));

    let mut world = restored(Vec::new(), true);
    assert_eq!(
        world.session.admit(kept(&format!("0.{}.0", u64::MAX), STORE)),
        Ok(Admission::RunWhenRecorded)
    );
    assert!(matches!(world.session.admit(kept("0.9.0", STORE)), Err(AdmitError::Stale { .. })));
}

/// A question may be late: about a call that had its answer, before others that this server cannot know.
//= test C-62
//= test I3
#[test]
fn a_slot_is_as_doubtful_as_before_after_a_question() {
    let mut world = restored(vec![record(2, CallRecord::Settled)], true);
    assert_eq!(world.ask(id("0.3.0"), true, false), CallState::Unknown);
    assert_eq!(world.ask(id("0.4.0"), true, false), CallState::Unknown, "it ran, at the server before");
    assert_eq!(world.session.admit(kept("0.4.1", Keeping::Memory)), Ok(Admission::Unknown));
    assert_eq!(world.session.admit(kept("0.5.1", Keeping::Memory)), Ok(Admission::Unknown));
    assert_eq!(world.session.admit(kept("0.7.0", STORE)), Ok(Admission::RunWhenRecorded), "a new one");
}

/// What this server does not keep says nothing of the calls that an earlier one has forgotten.
//= test C-58
#[test]
fn a_slot_is_as_doubtful_as_before_after_a_call_that_was_taken_back() {
    let mut world = restored(vec![record(3, CallRecord::Settled)], true);
    world.session.admit(kept("0.7.0", STORE)).unwrap();
    let (intent, _) = world.change();
    world.session.store_failed(intent, &WriteError::Overloaded);
    world.effects.clear();
    assert_eq!(world.ask(id("0.4.0"), true, false), CallState::Unknown);
    assert_eq!(world.session.admit(kept("0.4.1", STORE)), Ok(Admission::Unknown), "as was told");
}

/// A call that the store knows as begun runs again: whether others came after it, nobody knows.
//= test C-58
#[test]
fn a_slot_is_as_doubtful_as_before_while_its_last_call_runs_again() {
    let mut world = restored(vec![begun(3)], true);
    let idempotent = Keeping::Store { idempotent: true };
    assert_eq!(world.session.admit(kept("0.3.1", idempotent)), Ok(Admission::RunWhenRecorded));
    assert_eq!(world.ask(id("0.4.0"), true, false), CallState::Absent, "it runs");
    world.store_answers();
    world.session.complete(id("0.3.1"), reply("r"), None);
    world.store_answers();
    world.effects.clear();
    assert_eq!(world.ask(id("0.4.0"), false, false), CallState::Unknown);
    assert_eq!(world.session.admit(kept("0.3.2", idempotent)), Ok(Admission::Replay(reply("r"))));
    assert_eq!(world.session.admit(kept("0.4.1", Keeping::Memory)), Ok(Admission::Unknown));
}

//= test C-53
#[test]
fn the_first_request_of_the_owner_takes_the_session_over() {
    let mut world = World::open().restart(vec![begun(1)], false);
    assert_eq!(world.session.state(), State::Lingering);
    assert_eq!(world.changes(), []);
    assert!(world.present(NEXT_TICKET).is_err());
    assert_eq!(world.changes(), [], "a stranger takes nothing over");
    world.present(TICKET).unwrap();
    assert_eq!(written(&mut world), [(Epoch::FIRST, Change::Claim(Epoch::FIRST.next()))]);
    assert_eq!(world.session.epoch(), Epoch::FIRST.next());
    world.present(TICKET).unwrap();
    world.session.admit(kept("0.2.0", STORE)).unwrap();
    assert_eq!(written(&mut world), [], "nothing before the epoch is this server's");
    world.store_answers();
    assert!(matches!(written(&mut world)[..], [(epoch, Change::Slot(_))] if epoch == Epoch::FIRST.next()));
}

/// What left for the store since the last look, and under which epoch.
fn written(world: &mut World) -> Vec<(Epoch, Change)> {
    let left = world.left().into_iter();
    let written = left.filter_map(|effect| match effect {
        Effect::Persist { epoch, change, .. } => Some((epoch, change)),
        _ => None,
    });
    written.collect()
}

/// Another server was faster, and may have the very epoch that this one claimed.
//= test C-53
//= test I7
#[test]
fn nothing_is_written_after_a_claim_that_was_fenced() {
    let mut world = World::open().restart(Vec::new(), false);
    world.present(TICKET).unwrap();
    world.session.admit(kept("0.1.0", STORE)).unwrap();
    world.session.admit(kept("1.1.0", Keeping::Transaction)).unwrap();
    world.drain();
    let claim = world.pending[0];
    world.effects.clear();
    world.session.complete(id("1.1.0"), reply("r"), None);
    world.session.store_failed(claim, &WriteError::Fenced { stored: Epoch::FIRST.next() });
    let left = world.left();
    for call in ["0.1.0", "1.1.0"] {
        assert!(left.contains(&Effect::NotRecorded(id(call), Reason::SessionFenced)), "{left:?}");
    }
    let epochs = left.iter().filter_map(|effect| match effect {
        Effect::Persist { epoch, .. } => Some(*epoch),
        _ => None,
    });
    assert!(epochs.into_iter().all(|epoch| epoch == Epoch::FIRST), "one that the store has left behind");
    assert!(world.present(TICKET).is_err());
}

//= test C-53
#[test]
fn a_claim_that_the_store_never_saw_is_made_again() {
    let mut world = World::open().restart(Vec::new(), false);
    world.present(TICKET).unwrap();
    world.session.admit(kept("0.1.0", STORE)).unwrap();
    world.drain();
    let claim = world.pending[0];
    world.effects.clear();
    world.session.store_failed(claim, &WriteError::Overloaded);
    assert_eq!(world.left(), [Effect::NotRecorded(id("0.1.0"), Reason::StoreUnavailable)]);
    assert_eq!(world.session.epoch(), Epoch::FIRST);
    assert_eq!(world.session.admit(kept("0.1.1", STORE)), Ok(Admission::RunWhenRecorded));
    assert_eq!(written(&mut world), [(Epoch::FIRST, Change::Claim(Epoch::FIRST.next()))]);
    world.store_answers();
    world.store_answers();
    assert!(world.left().contains(&Effect::Dispatch(id("0.1.0"))));
}

/// A call that the store does not know as settled could still run at the next server.
//= test C-31
//= test I3
#[test]
fn a_call_is_settled_when_the_store_knows_it() {
    let mut world = World::open();
    let call = id("0.1.0");
    let ask = |world: &mut World| {
        let request = world.request();
        world.session.query(call, true, false, request).unwrap();
        world.drain();
    };
    ask(&mut world);
    let (record, _) = world.change();
    world.session.store_failed(record, &WriteError::Overloaded);
    assert!(matches!(world.answers()[..], [(_, Answer::Failed(Reason::StoreUnavailable))]));
    ask(&mut world);
    let left = world.left();
    assert!(
        matches!(&left[..], [Effect::Persist { change: Change::Slot(_), .. }]),
        "and no answer: {left:?}"
    );
    world.store_answers();
    assert!(matches!(world.answers()[..], [(_, Answer::Queried(CallState::NotExecuted, _))]));
    world.effects.clear();
    ask(&mut world);
    assert!(matches!(world.left()[..], [Effect::Answer { .. }]), "nothing is written again");
}

#[test]
fn a_session_that_nobody_comes_back_for_expires() {
    let mut world = World::open().restart(Vec::new(), false);
    world.pass(599);
    assert_eq!(world.session.state(), State::Lingering);
    world.pass(2);
    assert!(matches!(world.changes()[..], [(_, Change::End(_))]));
}

fn at(messages: u64) -> crate::stream::secured::Resumption {
    let mut resumption = crate::store::suite::resumption();
    if let Some(requests) = &mut resumption.requests {
        requests.position.messages = messages;
    }
    resumption
}

//= test S-28
#[test]
fn a_stream_is_secured_when_the_store_knows_and_begins_again_from_there() {
    let mut world = World::open();
    let stream = kept("0.1.0", Keeping::Stream);
    assert_eq!(world.session.admit(stream), Ok(Admission::RunWhenRecorded));
    let (intent, call) = world.change();
    assert_eq!(call, CallRecord::Streaming(Fingerprint(1), Box::default()));
    world.session.durable(intent);
    world.left();
    for messages in [40, 80] {
        world.session.stream_secured(id("0.1.0"), at(messages), None);
        let (record, call) = world.change();
        assert_eq!(call, CallRecord::Streaming(Fingerprint(1), Box::new(at(messages))));
        assert_eq!(world.left(), []);
        world.session.durable(record);
        assert_eq!(world.left(), [Effect::StreamRecorded(id("0.1.0"))]);
    }
    let slot = record(1, CallRecord::Streaming(Fingerprint(1), Box::new(at(80))));
    let mut world = world.restart(vec![slot], true);
    world.present(TICKET).unwrap();
    world.store_answers();
    world.effects.clear();
    assert_eq!(world.session.resumption(id("0.1.0")), Some(&at(80)));
    assert!(world.session.may_start(id("0.1.1")));
    assert_eq!(world.session.admit(kept("0.1.1", Keeping::Stream)), Ok(Admission::RunWhenRecorded));
    let (again, call) = world.change();
    assert_eq!(call, CallRecord::Streaming(Fingerprint(1), Box::new(at(80))), "the place is kept");
    assert_eq!(world.session.resumption(id("0.1.0")), Some(&at(80)));
    world.session.store_failed(again, &WriteError::Overloaded);
    assert_eq!(world.session.resumption(id("0.1.0")), Some(&at(80)), "nothing was begun");
}

#[test]
fn a_stream_that_the_store_does_not_keep_is_not_secured() {
    let mut world = World::open();
    world.session.admit(kept("0.1.0", Keeping::Stream)).unwrap();
    world.store_answers();
    world.left();
    world.session.stream_secured(id("0.1.0"), at(40), None);
    let (record, _) = world.change();
    world.session.store_failed(record, &WriteError::Store(crate::store::StoreError::Failed("x".into())));
    let refused = Effect::StreamNotRecorded(id("0.1.0"), Reason::StoreUnavailable);
    assert_eq!(world.left(), [refused]);
    // A handler that is gone, and one that is kept in memory, secure nothing in the store.
    world.run("1.1.0");
    for call in ["1.1.0", "2.1.0"] {
        world.session.stream_secured(id(call), at(40), None);
        assert_eq!(world.left(), [Effect::StreamNotRecorded(id(call), Reason::SessionEnded)]);
    }
}

/// The reply of a stream is answered by a later server, too, which has to know what both sides have.
#[test]
fn the_reply_of_a_stream_is_kept_with_the_place_of_its_end() {
    let mut world = World::open();
    world.session.admit(kept("0.1.0", Keeping::Stream)).unwrap();
    world.store_answers();
    world.left();
    assert!(!world.session.complete_stream(id("0.1.0"), reply("r"), None, Some(at(40)), None));
    let (done, call) = world.change();
    let streamed = CallRecord::Streamed(Fingerprint(1), Kept::Whole(reply("r")), Box::new(at(40)));
    assert_eq!(call, streamed);
    world.session.stream_secured(id("0.1.0"), at(80), None);
    assert_eq!(world.left(), [Effect::StreamNotRecorded(id("0.1.0"), Reason::SessionEnded)]);
    world.session.durable(done);
    world.left();
    let mut world = world.restart(vec![record(1, streamed)], false);
    world.present(TICKET).unwrap();
    world.store_answers();
    assert!(!world.session.may_start(id("0.1.1")));
    assert_eq!(world.session.resumption(id("0.1.1")), Some(&at(40)));
    assert_eq!(world.session.admit(kept("0.1.1", Keeping::Stream)), Ok(Admission::Replay(reply("r"))));
}

/// A method that had no checkpoints when the call was begun.
#[test]
fn a_call_that_was_no_stream_does_not_begin_again_as_one() {
    let mut world = restored(vec![begun(1)], false);
    assert_eq!(world.session.admit(kept("0.1.1", Keeping::Stream)), Ok(Admission::Unknown));
}
