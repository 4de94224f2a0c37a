//! How a side begins anew after a crash, and how its direction ends.

use super::one::{One, give, please};
use super::world::at;
use crate::dialog::{Holding, Sending, Token, TokenSet};
use crate::frame::Frame;
use crate::frame::dialog::{Cause, DialogAck, Exception, Primitive};
use crate::stream::position::Generation;
use crate::time::Timestamp;

/// What a peer says that owns the tokens, each handed over `generation` times.
fn knows(received: u64, generation: u64, mine: bool) -> DialogAck {
    let holdings = Token::ALL[..3].iter().map(|token| Holding { token: *token, generation, mine });
    DialogAck { received, holdings: holdings.collect(), knows_anew: true, ..DialogAck::default() }
}

//= test D-31
#[test]
fn a_side_that_has_ended_gives_all_its_tokens_and_those_that_come_later() {
    let mut one = One::speaking();
    one.here.own.ended = true;
    one.here.given = at(1);
    assert!(one.says().is_empty(), "not before everything is sent");
    one.here.sent = at(1);
    assert!(matches!(&one.says()[..], [Primitive::Give(holdings)] if holdings.len() == 3));
    assert_eq!(one.dialog.owned(), TokenSet::NONE);
    one.hears(give(Token::Major, 2)).unwrap();
    assert_eq!(
        one.says(),
        [Primitive::Give(vec![Holding { token: Token::Major, generation: 3, mine: false }])]
    );
    one.here.other.ended = true;
    one.hears(give(Token::Major, 4)).unwrap();
    assert!(one.says().is_empty(), "the other one needs it no more");
}

//= test D-33
#[test]
fn a_restored_side_says_so_and_nothing_else_until_the_peer_knows() {
    let mut one = One::restored();
    one.dialog.expedited(bytes::Bytes::from_static(b"expedited")).unwrap();
    let [Frame::DialogAck(first)] = &one.writes()[..] else { panic!("DIALOG_ACK, and nothing else") };
    assert!(first.anew && first.received == 0 && first.holdings.is_empty());
    assert_eq!((one.dialog.sending(), one.dialog.owned()), (Sending::Again, TokenSet::NONE));
    one.number = 11;
    one.hears(Primitive::Exception(report())).unwrap();
    let received = |frame: &Frame| match frame {
        Frame::DialogAck(ack) if !ack.anew => ack.received,
        _ => panic!("{frame:?}"),
    };
    assert_eq!(one.writes().iter().map(received).collect::<Vec<_>>(), [12]);
    one.dialog.acked(knows(7, 4, false)).unwrap();
    assert_eq!((one.dialog.owned(), one.dialog.sending()), (one.dialog.available(), Sending::New));
    let [Frame::Dialog(said)] = &one.writes()[..] else { panic!("what was waiting") };
    assert_eq!(said.number, 8, "the numbers go on");
}

fn report() -> Exception {
    Exception { cause: Cause::Local, detail: String::new() }
}

//= test D-33
#[test]
fn a_restored_side_tells_in_each_attempt_what_came_first_until_the_peer_knows() {
    let mut one = One::restored();
    assert_eq!(one.writes().len(), 1);
    one.number = 11;
    one.hears(Primitive::Exception(report())).unwrap();
    one.hears(Primitive::Exception(report())).unwrap();
    one.resumes();
    let [Frame::DialogAck(first), Frame::DialogAck(then)] = &one.writes()[..] else { panic!("two") };
    assert_eq!((first.anew, first.received), (true, 12));
    assert_eq!((then.anew, then.received), (false, 13));
    one.dialog.acked(knows(0, 0, true)).unwrap();
    one.resumes();
    let [Frame::DialogAck(first)] = &one.writes()[..] else { panic!("one") };
    assert!(!first.anew && first.received == 13 && first.holdings.len() == 3);
}

/// A restored side takes its numbers from the peer: where those come to an end, the process did, too.
#[test]
fn a_peer_cannot_exhaust_the_numbers_of_a_restored_side() {
    let mut one = One::restored();
    assert_eq!(one.writes().len(), 1);
    one.dialog.acked(knows(u64::MAX, u64::MAX, false)).unwrap();
    one.dialog.expedited(bytes::Bytes::from_static(b"expedited")).unwrap();
    one.dialog.give_all().unwrap();
    assert_eq!(one.says().len(), 2);
    one.resumes();
    assert_eq!(one.writes().len(), 3);
}

/// An answer that died with its confirmation comes again to the restored side, after it has stored a later
/// resynchronization; where nothing was sent between the two, their bases lie at the same position, and the older one was
/// gone back to.
//= test D-33, D-11
#[test]
fn an_answer_to_the_dead_does_not_go_back_behind_what_is_stored() {
    for (stored, takes) in [(0, true), (1, true), (2, false)] {
        let mut one = One::restored();
        one.receives(4).unwrap();
        let agreement = one.agreement();
        assert_eq!(agreement.own.unwrap().generation, Generation(1));
        one.here.other.generation = Generation(stored);
        one.hears(Primitive::ResyncAck(agreement)).unwrap();
        assert_eq!(one.dialog.take_reset().is_some(), takes, "generation {stored} is stored");
    }
}

/// A restored side owns nothing before it is told: so it may ask for what is its own, and report to itself. It went on
/// waiting for that when it was told.
//= test D-33, D-6
#[test]
fn a_restored_side_that_is_told_what_it_owns_waits_for_it_no_more() {
    let mut one = One::restored();
    let data = TokenSet::of(Token::Data);
    one.dialog.please(please(data), Timestamp::ORIGIN).unwrap();
    one.dialog.report(report()).unwrap();
    one.dialog.acked(knows(0, 3, false)).unwrap();
    assert_eq!((one.dialog.wanted(), one.dialog.wake()), (None, None));
    one.dialog.give(data).unwrap();
    assert!(!one.says().is_empty() && !one.dialog.owns(Token::Data));
    one.dialog.report(report()).unwrap();
}
