//! Half duplex: who has the turn sends.

use super::talk::{Pair, message, units};
use crate::dialog::{Token, TokenSet};
use crate::frame::Frame;
use crate::negotiate::Unit;
use crate::stream::flow::{Flow, Step};

fn pair() -> Pair {
    Pair::with(units(&[Unit::HalfDuplex, Unit::TypedData]))
}

fn data_of(pair: &Pair, side: usize) -> usize {
    pair.written[side].iter().filter(|step| matches!(step, Step::Data(_))).count()
}

fn give_turn(pair: &mut Pair, side: usize) {
    pair.flows[side].give(TokenSet::of(Token::Data)).unwrap();
}

//= test I16, S-7
#[test]
fn the_body_is_polled_and_written_by_the_owner_of_the_turn_alone() {
    let mut pair = pair();
    assert_eq!([0, 1].map(|side| pair.flows[side].wants_data()), [true, false]);
    // A body may have given something before it was known whose turn it is.
    pair.give(1, [11]);
    pair.give(0, [1]);
    pair.talk();
    assert_eq!((pair.messages(1), data_of(&pair, 1)), (vec![1], 0));
    give_turn(&mut pair, 0);
    pair.talk();
    assert!(pair.flows[0].wants_data(), "its body may have more");
    pair.flows[0].app_idle();
    pair.talk();
    assert_eq!([0, 1].map(|side| pair.flows[side].wants_data()), [false, true]);
    assert_eq!(pair.messages(0), [11]);
}

//= test I16
#[test]
fn who_ends_gives_the_turn_away_and_its_end_follows() {
    let mut pair = pair();
    pair.give(0, [1]);
    pair.flows[0].app_ended();
    pair.talk();
    assert!(pair.flows[1].wants_data());
    assert_eq!(pair.messages(1), [1]);
    pair.talk();
    assert!(pair.flows[1].is_received());
    pair.give(1, [11]);
    pair.flows[1].app_ended();
    pair.talk();
    assert_eq!(pair.messages(0), [11]);
    pair.talk();
    assert!(pair.flows.iter().all(Flow::is_secured));
}

/// The turn goes back and forth, and the connection dies after each frame. With each piece of data that is written, the
/// pair checks whose turn it is.
//= test I16, W-17
#[test]
fn nobody_sends_data_out_of_turn_whatever_the_connection_does() {
    let mut cut = 1;
    loop {
        let mut pair = pair();
        pair.cuts = [cut, cut + 2, cut + 5].into();
        let mut got = [Vec::new(), Vec::new()];
        for turn in 0..4_u64 {
            let side = usize::try_from(turn % 2).unwrap();
            while !pair.flows[side].wants_data() {
                pair.talk();
            }
            pair.give(side, [turn * 10, turn * 10 + 1]);
            give_turn(&mut pair, side);
            pair.flows[side].app_idle();
            pair.talk();
            for side in [0, 1] {
                got[side].extend(pair.messages(side));
            }
        }
        assert_eq!(got, [vec![10, 11, 30, 31], vec![0, 1, 20, 21]]);
        if pair.cuts.len() == 3 {
            break;
        }
        cut += 1;
    }
    assert!(cut > 10, "{cut} frames are no exchange");
}

/// What was sent before the turn went over may be lost with the connection, and the turn with it.
//= test I16
#[test]
fn who_gave_the_turn_sends_again_what_was_lost() {
    let mut pair = pair();
    pair.connect();
    pair.deliver(0);
    pair.give(0, [1, 2]);
    give_turn(&mut pair, 0);
    pair.flows[0].app_idle();
    pair.write(0);
    assert!(pair.written[0].iter().any(|step| matches!(step, Step::Control(Frame::Dialog(_)))));
    pair.cut([true, true]);
    assert!(!pair.flows[0].wants_data());
    pair.talk();
    assert!(pair.flows[1].wants_data());
    assert_eq!(pair.messages(1), [1, 2]);
    let expected = [message(1), message(2)].concat();
    let sent = pair.written[0].iter().filter(|step| **step == Step::Data(expected.clone().into())).count();
    assert_eq!(sent, 2, "{:#?}", pair.story());
}
