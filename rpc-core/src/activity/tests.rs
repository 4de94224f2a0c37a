use bytes::Bytes;

use super::*;
use crate::frame::Received;
use crate::id::{Sequence, SlotId};
use crate::record::Reply;
use crate::stream::digest::Digest;

const UPLOAD: &str = "/archive.v1.Archive/Upload";
const FETCH: &str = "/archive.v1.Archive/Fetch";

fn key(principal: &str, name: &str) -> Key {
    let name = Name::new(name.as_bytes().to_vec()).unwrap();
    Key { principal: Principal::new("https://id.test", principal), name }
}

fn worker(sequence: u64) -> Worker {
    let call = CallId { slot: SlotId(0), sequence: Sequence(sequence) };
    Worker { session: SessionId::new(7).unwrap(), call }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(seconds))
}

fn place(messages: u64) -> Position {
    Position { messages, bytes: messages * 10 }
}

fn secured(serial: u64) -> Option<Secured> {
    Some(Secured {
        serial: Serial(serial),
        position: place(serial * 40),
        digest: Digest { crc: serial as u32 + 100, blake3: None },
        sender_state: Bytes::from_static(b"here"),
        receiver_state: Bytes::from_static(b"there"),
    })
}

/// Three points of the requests and two of the responses.
fn halfway() -> Resumption {
    Resumption { requests: secured(3), responses: secured(2) }
}

fn resume() -> Resume {
    let received = Received { position: place(80), crc: 102, secured: Serial(2), ..Received::default() };
    Resume { send_from: place(120), received, ..Resume::default() }
}

fn reply() -> Kept {
    Kept::Whole(Reply {
        code: 0,
        head: Bytes::new(),
        message: Bytes::from_static(b"stored"),
        trailer: Bytes::new(),
    })
}

fn activities(change: impl FnOnce(&mut Limits)) -> Activities {
    let mut limits = Limits::default();
    change(&mut limits);
    Activities::new(&limits)
}

/// What there is after `worker` did half of it at that time.
fn interrupted(all: &mut Activities, key: &Key, seconds: u64) {
    all.begin(key, UPLOAD, worker(1), None).unwrap();
    all.ended(at(seconds), key, worker(1), Ending::Interrupted(halfway()));
}

fn done(all: &mut Activities, key: &Key, seconds: u64) {
    all.begin(key, UPLOAD, worker(1), None).unwrap();
    all.ended(at(seconds), key, worker(1), Ending::Done(halfway(), reply()));
}

#[test]
fn the_whole_life_of_an_activity() {
    let mut all = activities(|_| ());
    let alices = key("alice", "dump");
    assert_eq!(all.state(&alices), State::Absent);
    assert_eq!(all.begin(&alices, UPLOAD, worker(1), None), Ok(None));
    assert_eq!(all.state(&alices), State::Running(worker(1)));
    all.ended(at(1), &alices, worker(1), Ending::Interrupted(halfway()));
    assert_eq!(all.state(&alices), State::Interrupted(halfway()));
    assert_eq!(all.begin(&alices, UPLOAD, worker(2), Some(&resume())), Ok(Some(halfway())));
    assert_eq!(all.state(&alices), State::Running(worker(2)));
    all.ended(at(2), &alices, worker(2), Ending::Done(halfway(), reply()));
    assert_eq!(all.state(&alices), State::Done(halfway(), reply()));
    assert_eq!(all.begin(&alices, UPLOAD, worker(3), None), Ok(None), "a new one under the same name");
    all.begun(&alices, worker(3));
    assert_eq!((all.len(), all.bytes()), (1, 0));
}

//= test D-26
#[test]
fn two_calls_never_work_on_one_activity() {
    let mut all = activities(|_| ());
    let alices = key("alice", "dump");
    all.begin(&alices, UPLOAD, worker(1), None).unwrap();
    for from in [None, Some(&resume())] {
        assert_eq!(all.begin(&alices, UPLOAD, worker(2), from), Err(BeginError::Busy));
    }
    all.ended(at(1), &alices, worker(2), Ending::Done(halfway(), reply()));
    assert_eq!(all.state(&alices), State::Running(worker(1)), "who does not work on it does not end it");
}

//= test D-19
#[test]
fn an_activity_belongs_to_its_principal() {
    let mut all = activities(|_| ());
    interrupted(&mut all, &key("alice", "dump"), 1);
    let bobs = key("bob", "dump");
    assert_eq!(all.state(&bobs), State::Absent);
    assert_eq!(all.begin(&bobs, UPLOAD, worker(2), Some(&resume())), Err(BeginError::Moved));
    assert_eq!(all.begin(&bobs, UPLOAD, worker(2), None), Ok(None));
    assert_eq!(all.state(&key("alice", "dump")), State::Interrupted(halfway()));
}

//= test D-25
#[test]
fn an_activity_is_resumed_from_where_it_stands_or_not_at_all() {
    let mut all = activities(|_| ());
    let alices = key("alice", "dump");
    assert_eq!(
        all.begin(&alices, UPLOAD, worker(1), Some(&resume())),
        Err(BeginError::Moved),
        "nothing there"
    );
    interrupted(&mut all, &alices, 1);
    let received = resume().received;
    let wrong = [
        Resume { send_from: place(121), ..resume() },
        Resume { send_from: Position::ORIGIN, ..resume() },
        Resume { received: Received { position: place(81), ..received }, ..resume() },
        Resume { received: Received { crc: 0, ..received }, ..resume() },
        Resume { received: Received { secured: Serial(3), ..received }, ..resume() },
    ];
    for from in &wrong {
        assert_eq!(all.begin(&alices, UPLOAD, worker(2), Some(from)), Err(BeginError::Moved), "{from:?}");
    }
    assert_eq!(
        all.begin(&alices, FETCH, worker(2), Some(&resume())),
        Err(BeginError::Moved),
        "another method"
    );
    assert_eq!(all.state(&alices), State::Interrupted(halfway()), "a refusal changes nothing");
    let beginning = Resume::default();
    assert_eq!(
        all.begin(&alices, FETCH, worker(2), Some(&beginning)),
        Ok(None),
        "the beginning is anybody's"
    );
    all.ended(at(2), &alices, worker(2), Ending::Done(halfway(), reply()));
    assert_eq!(all.begin(&alices, FETCH, worker(3), Some(&resume())), Err(BeginError::Moved), "it is done");
}

//= test D-20
#[test]
fn what_nobody_works_on_is_forgotten_after_the_retention() {
    let mut all = activities(|limits| limits.activity_retention = Duration::from_secs(10));
    assert_eq!(all.next_wake(), Timestamp::NEVER);
    let (first, second, third) = (key("alice", "1"), key("alice", "2"), key("bob", "3"));
    interrupted(&mut all, &first, 1);
    done(&mut all, &second, 2);
    all.begin(&third, UPLOAD, worker(3), None).unwrap();
    assert_eq!(all.next_wake(), at(11));
    all.forget(at(10));
    assert_eq!(all.len(), 3);
    all.forget(at(11));
    assert_eq!((all.state(&first), all.next_wake()), (State::Absent, at(12)));
    all.forget(at(1_000));
    assert_eq!((all.len(), all.bytes(), all.next_wake()), (1, 0, Timestamp::NEVER));
    assert_eq!(all.state(&third), State::Running(worker(3)), "for what is worked on no time runs");
    all.ended(at(1_000), &third, worker(3), Ending::Interrupted(halfway()));
    assert_eq!(all.next_wake(), at(1_010));
    all.begin(&third, UPLOAD, worker(4), Some(&resume())).unwrap();
    assert_eq!(all.next_wake(), Timestamp::NEVER);
}

//= test D-28
#[test]
fn a_principal_has_so_many_and_makes_room_with_what_is_done() {
    let mut all = activities(|limits| limits.activities_per_principal = 3);
    done(&mut all, &key("bob", "done"), 1);
    interrupted(&mut all, &key("alice", "1"), 2);
    done(&mut all, &key("alice", "2"), 4);
    done(&mut all, &key("alice", "3"), 3);
    all.begin(&key("alice", "4"), UPLOAD, worker(4), None).unwrap();
    assert_eq!(all.state(&key("alice", "3")), State::Absent, "the oldest that is done");
    all.begin(&key("alice", "5"), UPLOAD, worker(5), None).unwrap();
    let refused = all.begin(&key("alice", "6"), UPLOAD, worker(6), None).unwrap_err();
    assert_eq!((refused, refused.reason()), (BeginError::TooMany { count: 3 }, Reason::ActivitiesExhausted));
    assert_ne!(all.state(&key("bob", "done")), State::Absent, "not at the cost of others");
    assert_eq!(all.begin(&key("alice", "1"), UPLOAD, worker(6), None), Ok(None), "it has a place already");
    all.begin(&key("bob", "1"), UPLOAD, worker(7), None).unwrap();
}

//= test D-28
#[test]
fn all_principals_have_so_many_and_so_many_bytes() {
    let mut all = activities(|limits| limits.activities = 2);
    interrupted(&mut all, &key("alice", "1"), 1);
    done(&mut all, &key("bob", "1"), 2);
    all.begin(&key("carol", "1"), UPLOAD, worker(1), None).unwrap();
    assert_eq!(all.state(&key("bob", "1")), State::Absent);
    let refused = all.begin(&key("carol", "2"), UPLOAD, worker(1), None);
    assert_eq!(refused, Err(BeginError::TooMany { count: 2 }));

    let mut all = activities(|limits| limits.activity_bytes = 20);
    interrupted(&mut all, &key("alice", "1"), 1);
    assert_eq!(all.bytes(), 18, "two states of either side");
    done(&mut all, &key("alice", "2"), 2);
    assert_eq!(all.bytes(), 18 + 18 + 6);
    all.begin(&key("bob", "1"), UPLOAD, worker(1), None).unwrap();
    assert_eq!((all.bytes(), all.state(&key("alice", "2"))), (18, State::Absent));
    interrupted(&mut all, &key("alice", "3"), 2);
    let refused = all.begin(&key("bob", "2"), UPLOAD, worker(1), None);
    assert_eq!(refused, Err(BeginError::TooLarge { bytes: 36 }));
}

//= test D-17
#[test]
fn a_name_has_up_to_128_bytes_and_is_not_shown() {
    assert_eq!(Name::new(Bytes::new()), Err(InvalidName(0)));
    assert_eq!(Name::new(vec![0; 129]), Err(InvalidName(129)));
    let name = Name::new(vec![b'x'; 128]).unwrap();
    assert_eq!(name.as_bytes(), [b'x'; 128]);
    assert_eq!(format!("{name:?}"), "Name(<128 bytes>)");
}

/// Memory said that nothing was secured, and the store had the older place: the next call was refused, or began again.
//= test D-20
#[test]
fn a_call_that_the_store_did_not_hear_of_leaves_an_activity_as_it_was() {
    let mut all = activities(|limits| limits.activity_retention = Duration::from_secs(10));
    let alices = key("alice", "dump");
    interrupted(&mut all, &alices, 1);
    let before = (all.state(&alices), all.bytes(), all.next_wake());
    all.begin(&alices, UPLOAD, worker(2), None).unwrap();
    assert_eq!((all.bytes(), all.next_wake()), (before.1, Timestamp::NEVER));
    all.ended(at(5), &alices, worker(2), Ending::NotBegun);
    assert_eq!((all.state(&alices), all.bytes(), all.next_wake()), before);
    all.begin(&alices, UPLOAD, worker(2), Some(&resume())).unwrap();
    all.ended(at(5), &alices, worker(2), Ending::NotBegun);
    assert_eq!(
        all.check_again(&alices, worker(1)),
        Ok(halfway()),
        "its last worker is the one that the store has"
    );

    all.begin(&alices, UPLOAD, worker(3), None).unwrap();
    all.begun(&alices, worker(2));
    assert_eq!(all.bytes(), before.1, "it is another call that runs");
    all.begun(&alices, worker(3));
    assert_eq!(all.bytes(), 0);
    all.ended(at(6), &alices, worker(3), Ending::Interrupted(Resumption::default()));
    assert_eq!(all.state(&alices), State::Interrupted(Resumption::default()));

    let new = key("bob", "dump");
    all.begin(&new, UPLOAD, worker(4), None).unwrap();
    all.ended(at(6), &new, worker(4), Ending::NotBegun);
    assert_eq!((all.state(&new), all.len(), all.take_forgotten()), (State::Absent, 1, Vec::new()));
}

//= test D-45
#[test]
fn an_activity_that_is_given_up_is_gone_unless_a_call_works_on_it() {
    let mut activities = activities(|_| ());
    let key = key("alice", "dump");
    assert_eq!(activities.give_up(&key), None);
    activities.begin(&key, UPLOAD, worker(1), None).unwrap();
    assert_eq!(activities.give_up(&key), None);
    activities.ended(at(1), &key, worker(1), Ending::Interrupted(halfway()));
    assert_eq!(activities.give_up(&key), Some(worker(1)));
    assert_eq!((activities.state(&key), activities.len(), activities.bytes()), (State::Absent, 0, 0));
    assert_eq!((activities.next_wake(), activities.take_forgotten()), (Timestamp::NEVER, vec![]));
}
