//! Both sides of a stream with a dialog, over connections that die.

use bytes::Bytes;
use rpc_core::dialog::{Answer, Dialog, Request, ResyncKind, Terms, Token, TokenSet};
use rpc_core::frame::PointKind;
use rpc_core::frame::dialog::{Cause, Exception, Please, Wish};
use rpc_core::negotiate::Units;
use rpc_core::policy::Secure;
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use rpc_core::stream::position::Serial;

use super::choices::Choices;
use super::pair::{Pair, SIDES};

/// Tokens, typed and expedited data, reports and resynchronizations, in any order. No token ever has two owners, and when
/// the faults end each has one; what passes against the turn arrives once and in its order; no side is told that the other
/// broke the protocol.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let terms = choices.byte();
    let half_duplex = terms & 1 == 1;
    let first_turn = if terms & 2 == 2 { Side::Server } else { Side::Client };
    let configs = SIDES.map(|side| {
        let mut config = Config::default();
        config.secure = Secure::Explicit;
        config.dialog = Some(Terms { side, units: Units::ALL, half_duplex, first_turn });
        config
    });
    let mut world = World { pair: Pair::new(configs), said: [[0; 2]; 2], heard: [[0; 2]; 2] };
    world.pair.may_skip = true;
    while !choices.are_over() {
        world.step(&mut choices);
        world.check();
    }
    world.finish();
}

struct World {
    pair: Pair,
    /// How many pieces of typed and of expedited data each side said, and the last that it heard.
    said: [[u32; 2]; 2],
    heard: [[u32; 2]; 2],
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let operation = choices.byte();
        let side = usize::from(operation >> 7);
        let pair = &mut self.pair;
        match operation & 0x7f {
            0..10 => pair.give(side, 1 + choices.below(8)),
            10..20 => {
                let _ = pair.take(side);
            }
            20..26 => pair.secure(side),
            26..40 => pair.write(side),
            40..54 => {
                let _ = pair.deliver(side, usize::MAX);
            }
            54..58 => {
                let _ = pair.deliver(side, 1 + choices.below(64));
            }
            58..66 => pair.connect(),
            66..70 => pair.cut([choices.yes(), choices.yes()]),
            70..74 => pair.pass(choices.below(30) as u64),
            74..100 => self.speak(side, choices),
            100..106 => self.hear(side),
            106..112 => self.answer(side, choices.byte()),
            _ => pair.peers[side].flow.app_idle(),
        }
    }

    /// Where something may not be said now, nothing happens.
    fn speak(&mut self, side: usize, choices: &mut Choices<'_>) {
        let now = self.pair.now;
        match choices.below(9) {
            0 | 1 => {
                let _ = self.pair.peers[side].flow.give(tokens(choices.byte()));
            }
            2 => {
                let _ = self.pair.peers[side].flow.give_all();
            }
            3 => {
                let please = Please { tokens: tokens(choices.byte()), priority: 1, within_ms: 5_000 };
                let _ = self.pair.peers[side].flow.please(please, now);
            }
            4 => self.say(side, 0),
            5 => self.say(side, 1),
            6 => {
                let exception = Exception { cause: Cause::Local, detail: "trouble".to_owned() };
                let _ = self.pair.peers[side].flow.report(exception);
            }
            7 => {
                let kinds =
                    [PointKind::Minor, PointKind::Separating, PointKind::Major, PointKind::MajorAnswer];
                let _ = self.pair.peers[side]
                    .flow
                    .app_places(kinds[choices.below(4)], Bytes::from_static(b"state"));
            }
            _ => {
                let request = self.request(side, choices);
                let _ = self.pair.peers[side].flow.resynchronize(request);
            }
        }
    }

    /// Typed data, or expedited, with its number.
    fn say(&mut self, side: usize, expedited: usize) {
        let flow = &mut self.pair.peers[side].flow;
        let number = self.said[side][expedited] + 1;
        let piece = Bytes::copy_from_slice(&number.to_be_bytes());
        let said = if expedited == 1 { flow.send_expedited(piece) } else { flow.send_typed(piece) };
        if said.is_ok() {
            self.said[side][expedited] = number;
        }
    }

    fn request(&self, side: usize, choices: &mut Choices<'_>) -> Request {
        let (own, other) = self.pair.peers[side].flow.unused_serials();
        let kind = ResyncKind::ALL[choices.below(3)];
        let mut serial = |unused: Serial| match choices.below(4) {
            0 => None,
            1 => Some(unused),
            back => Some(Serial(unused.0.saturating_sub(back as u64 - 1).max(1))),
        };
        let (own, other) = (serial(own), serial(other));
        let wish = [Wish::Mine, Wish::Yours, Wish::Choose][choices.below(3)];
        let wishes = tokens(choices.byte()).iter().map(|token| (token, wish)).collect();
        Request { kind, own, other, wishes, state: Bytes::from_static(b"back") }
    }

    fn answer(&mut self, side: usize, mine: u8) {
        let flow = &mut self.pair.peers[side].flow;
        if flow.resynchronization().is_some() {
            let answer = Answer { state: Bytes::from_static(b"agreed"), mine: tokens(mine) };
            let _ = flow.answer_resynchronization(answer);
        }
        let _ = flow.take_answered();
    }

    fn hear(&mut self, side: usize) {
        let flow = &mut self.pair.peers[side].flow;
        let _ = flow.take_exception();
        let _ = flow.take_unanswered(self.pair.now);
        while let Some(piece) = flow.take_typed() {
            heard(&mut self.heard[side][0], &piece);
        }
        while let Some(piece) = flow.take_expedited() {
            heard(&mut self.heard[side][1], &piece);
        }
    }

    fn dialog(&self, side: usize) -> &Dialog {
        self.pair.peers[side].flow.dialog().expect("the stream has one")
    }

    fn check(&self) {
        self.pair.check();
        let [one, other] = [0, 1].map(|side| self.dialog(side));
        assert_eq!(one.available(), other.available());
        assert!(one.owned().and(other.owned()).is_empty(), "two owners: {one:#?} {other:#?}");
    }

    /// No more faults, and whoever is asked answers: in the end nothing is under way.
    fn finish(&mut self) {
        for _ in 0..200 {
            let mut moved = self.pair.turn();
            for side in [0, 1] {
                self.hear(side);
                self.answer(side, u8::MAX);
                self.pair.peers[side].flow.app_idle();
                self.pair.write(side);
                moved |= self.pair.deliver(side, usize::MAX);
            }
            self.check();
            let is_settled = [0, 1].iter().all(|side| !self.dialog(*side).is_resynchronizing());
            if !moved && is_settled {
                return self.at_the_end();
            }
        }
        panic!("never quiet: {:#?} {:#?}", self.dialog(0), self.dialog(1));
    }

    fn at_the_end(&self) {
        let [one, other] = [0, 1].map(|side| self.dialog(side));
        assert_eq!(one.owned().or(other.owned()), one.available(), "a token is lost: {one:#?} {other:#?}");
        for side in [0, 1] {
            assert_eq!(self.heard[1 - side][1], self.said[side][1], "expedited data is lost");
        }
    }
}

/// The next piece has a higher number than the last.
fn heard(last: &mut u32, piece: &[u8]) {
    let number = u32::from_be_bytes(piece.try_into().expect("four bytes"));
    assert!(number > *last, "{number} after {last}");
    *last = number;
}

fn tokens(bits: u8) -> TokenSet {
    (0_u8..).zip(Token::ALL).filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, token)| token).collect()
}
