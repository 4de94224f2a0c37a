//! One side of a dialog, where its stream stands, and a peer that says whatever the test wants.

use bytes::Bytes;

use super::world::at;
use super::{terms, units};
use crate::dialog::{
    Dialog, Here, Holding, Phase, Request, Reset, ResyncKind, State, Terms, Token, TokenSet, Turn,
};
use crate::frame::Frame;
use crate::frame::dialog::{Base, DialogAck, Numbered, Please, Primitive, Resync, ResyncAck};
use crate::stream::error::Violation;
use crate::stream::flow::Side;
use crate::stream::position::{Generation, Position, Serial};

/// The client's side.
pub(super) struct One {
    pub(super) dialog: Dialog,
    pub(super) here: Here,
    /// What it went on from last.
    pub(super) reset: Option<Reset>,
    /// Number of the last primitive that the peer said.
    pub(super) number: u64,
}

impl One {
    pub(super) fn new(terms: &Terms) -> Self {
        Self::of(Dialog::new(terms), false)
    }

    /// After a crash, in the attempt that follows.
    pub(super) fn restored() -> Self {
        Self::of(Dialog::restored(&terms(Side::Client, true, Side::Client, units())), true)
    }

    pub(super) fn speaking() -> Self {
        Self::new(&terms(Side::Client, true, Side::Client, units()))
    }

    pub(super) fn listening() -> Self {
        Self::new(&terms(Side::Client, true, Side::Server, units()))
    }

    pub(super) fn duplex() -> Self {
        Self::new(&terms(Side::Client, false, Side::Client, units()))
    }

    /// In that state of the table: with a request to set both directions to 5, or asked to set them to 7.
    pub(super) fn in_state(state: State) -> Self {
        let mut one = match state.turn {
            Turn::Speaking => Self::speaking(),
            Turn::Listening => Self::listening(),
            Turn::Both => Self::duplex(),
        };
        match state.phase {
            Phase::Idle => {}
            Phase::Asking => {
                one.dialog.resynchronize(set_both(), &one.here).unwrap();
                assert_eq!(one.says().len(), 1);
            }
            Phase::Asked => {
                let request = one.asks(ResyncKind::Set, Some(7), Some(7));
                one.hears(request).unwrap();
            }
        }
        assert_eq!(one.dialog.state(), state);
        one
    }

    fn of(dialog: Dialog, resumed: bool) -> Self {
        let here = Here { idle: true, separated: true, ..Here::default() };
        let mut one = Self { dialog, here, reset: None, number: 0 };
        one.dialog.attempt(resumed, &here);
        one
    }

    /// The next attempt begins.
    pub(super) fn resumes(&mut self) {
        self.dialog.attempt(true, &self.here);
    }

    /// The peer says that, under the next number.
    pub(super) fn hears(&mut self, primitive: Primitive) -> Result<(), Violation> {
        self.hears_after(Position::ORIGIN, primitive)
    }

    /// The same: it is to be heard when the peer's data up to `after` is here.
    pub(super) fn hears_after(&mut self, after: Position, primitive: Primitive) -> Result<(), Violation> {
        self.number += 1;
        self.dialog.heard(Numbered { number: self.number, after, primitive }, &self.here)
    }

    /// That many messages of the peer are here now.
    pub(super) fn receives(&mut self, messages: u64) -> Result<(), Violation> {
        self.here.received = at(messages);
        self.dialog.received(&self.here)
    }

    /// The peer confirms everything up to `received`.
    pub(super) fn confirmed(&mut self, received: u64) {
        self.dialog.acked(DialogAck { received, ..DialogAck::default() }).unwrap();
    }

    /// What it says now but its DIALOG_ACKs; a reset is taken.
    pub(super) fn says(&mut self) -> Vec<Primitive> {
        let said = |frame| if let Frame::Dialog(numbered) = frame { Some(numbered.primitive) } else { None };
        self.writes().into_iter().filter_map(said).collect()
    }

    /// All that it writes now.
    pub(super) fn writes(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.dialog.step(&self.here) {
                Some(frame) => frames.push(frame),
                None => match self.dialog.take_reset() {
                    Some(reset) => self.reset = Some(reset),
                    None => return frames,
                },
            }
        }
    }

    /// A request of the peer for a resynchronization of its direction and of this side's.
    pub(super) fn asks(&self, kind: ResyncKind, peers: Option<u64>, own: Option<u64>) -> Primitive {
        Primitive::Resync(Resync {
            kind,
            own: peers.map(|serial| self.base(serial)),
            other: own.map(Serial),
            wishes: Vec::new(),
            state: Bytes::new(),
        })
    }

    /// The answer of a peer that agrees to 5 in both directions, as [`in_state`](Self::in_state) asks, and keeps its tokens.
    pub(super) fn agreement(&self) -> ResyncAck {
        let owned_here = self.dialog.tokens.mine();
        let holding = |token| Holding {
            token,
            generation: self.dialog.tokens.generation(token) + 1,
            mine: !owned_here.contains(token),
        };
        let holdings = self.dialog.available().iter().map(holding).collect();
        ResyncAck { own: Some(self.base(5)), other: Some(Serial(5)), holdings, state: Bytes::new() }
    }

    fn base(&self, serial: u64) -> Base {
        let generation = Generation(self.here.other.generation.0 + 1);
        Base { serial: Serial(serial), position: self.here.received, generation }
    }
}

pub(super) fn set_both() -> Request {
    let five = Some(Serial(5));
    Request { kind: ResyncKind::Set, own: five, other: five, wishes: Vec::new(), state: Bytes::new() }
}

/// The peer hands tokens over for the `generation`th time.
pub(super) fn give(token: Token, generation: u64) -> Primitive {
    Primitive::Give(vec![Holding { token, generation, mine: false }])
}

/// Somebody asks for tokens.
pub(super) fn please(tokens: TokenSet) -> Please {
    Please { tokens, priority: 7, within_ms: 10 }
}
