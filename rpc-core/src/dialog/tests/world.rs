//! Two sides of a dialog, the data beside it, a link that loses what is on its way, and what must hold.
//!
//! The data is as plain as can be: each message is one byte long and has a sync point of its own, everything a side has
//! sent or received survives, and each side knows at the beginning of an attempt what the other has.

mod applications;

use std::collections::VecDeque;

use super::model::Model;
use crate::dialog::resync::Stage;
use crate::dialog::{
    Answered, Dialog, Direction, Here, PIECES_MAX, Reset, Sending, Serials, Terms, Token, TokenSet,
};
use crate::frame::Frame;
use crate::frame::dialog::{Base, Primitive};
use crate::stream::position::{Generation, Position, Serial};
use crate::time::Timestamp;

/// A small generator, so that a seed is a whole run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(super) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// A message with the point after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    position: u64,
    serial: Serial,
    generation: Generation,
    /// When its application gave it, as the model counts.
    pub(super) stamp: u64,
}

#[derive(Debug)]
enum Wire {
    Frame(Frame),
    Data(Message),
    /// A dialogue unit was closed: V(R) is that.
    Closed(Generation, Serial),
}

/// One side.
pub(super) struct Peer {
    pub(super) dialog: Dialog,
    given: VecDeque<Message>,
    given_to: u64,
    sent: u64,
    /// Sent in this attempt up to here.
    cursor: u64,
    /// What was sent, for those who lost it.
    kept: Vec<Message>,
    received: u64,
    /// End of the last separating point of the own direction, and what the other side has of that.
    separating: u64,
    arrived: u64,
    /// Where the own direction went on last: nothing before that is missed.
    base: u64,
    idle: bool,
    own: Direction,
    other: Direction,
    /// The highest serial that was ever used in the own direction.
    used: Serial,
}

impl Peer {
    fn new(dialog: Dialog) -> Self {
        Self {
            dialog,
            given: VecDeque::new(),
            given_to: 0,
            sent: 0,
            cursor: 0,
            kept: Vec::new(),
            received: 0,
            separating: 0,
            arrived: 0,
            base: 0,
            idle: false,
            own: Direction::default(),
            other: Direction::default(),
            used: Serial::NONE,
        }
    }

    /// Whether a peer that has received that much has what lies before the last separating point.
    fn is_separated(&self, received: u64) -> bool {
        self.separating <= received.max(self.base)
    }

    pub(super) fn here(&self) -> Here {
        Here {
            given: at(self.given_to),
            sent: at(self.sent),
            received: at(self.received),
            idle: self.idle,
            separated: self.is_separated(self.arrived),
            own: self.own,
            other: self.other,
        }
    }
}

pub(super) fn at(messages: u64) -> Position {
    Position { messages, bytes: messages }
}

/// Both.
pub(super) struct World {
    pub(super) peers: [Peer; 2],
    terms: [Terms; 2],
    links: [VecDeque<Wire>; 2],
    connected: bool,
    /// What was answered was asked for by a process that died.
    to_the_dead: bool,
    pub(super) model: Model,
    now: Timestamp,
    pub(super) cuts: u32,
    pub(super) crashes: u32,
}

impl World {
    pub(super) fn new(terms: [Terms; 2]) -> Self {
        let peers = [0, 1].map(|side: usize| Peer::new(Dialog::new(&terms[side])));
        let model = Model::new(&terms[0], peers[0].dialog.available());
        let mut world = Self {
            peers,
            terms,
            links: [VecDeque::new(), VecDeque::new()],
            connected: true,
            to_the_dead: false,
            model,
            now: Timestamp::default(),
            cuts: 0,
            crashes: 0,
        };
        for peer in &mut world.peers {
            let here = peer.here();
            peer.dialog.attempt(false, &here);
        }
        world
    }

    /// Everything that is on its way is lost.
    pub(super) fn cut(&mut self) {
        self.cuts += u32::from(self.connected);
        self.connected = false;
        self.links = [VecDeque::new(), VecDeque::new()];
    }

    /// The server dies and is restored from what was stored of its data, which is all but what was not sent.
    //= D-33
    pub(super) fn crash(&mut self) {
        self.cut();
        self.crashes += 1;
        self.model.crashed(&self.peers[0].dialog);
        let server = &mut self.peers[1];
        server.dialog = Dialog::restored(&self.terms[1]);
        self.rejoin();
    }

    /// The next attempt.
    pub(super) fn connect(&mut self) {
        if self.connected {
            return;
        }
        self.connected = true;
        for side in [0, 1] {
            let (received, restart, generation) = {
                let peer = &self.peers[1 - side];
                (peer.received, peer.other.serials.restart, peer.other.generation)
            };
            let peer = &mut self.peers[side];
            if peer.own.generation == generation {
                peer.own.serials.restart = restart;
            }
            let base = peer.kept.first().map_or(peer.sent, |message| message.position);
            peer.arrived = received;
            peer.cursor = received.clamp(base, peer.sent);
            let here = peer.here();
            peer.dialog.attempt(true, &here);
        }
    }

    /// A restored sender goes on where its peer says that it stands.
    fn rejoin(&mut self) {
        let (received, other) = (self.peers[0].received, self.peers[0].other);
        let server = &mut self.peers[1];
        server.given.clear();
        server.kept.clear();
        (server.given_to, server.sent) = (received, received);
        server.separating = server.separating.min(received);
        server.own = Direction { ended: server.own.ended, ..other };
        server.used = Serial(other.serials.next.0 - 1);
    }

    /// One frame arrives.
    pub(super) fn deliver(&mut self, to: usize) {
        let Some(wire) = self.links[to].pop_front() else { return };
        let peer = &mut self.peers[to];
        match wire {
            Wire::Frame(Frame::Dialog(numbered)) => {
                let here = peer.here();
                self.to_the_dead = matches!(numbered.primitive, Primitive::ResyncAck(_))
                    && !matches!(peer.dialog.stage, Stage::Asking { .. });
                peer.dialog.heard(numbered, &here).expect("the peer keeps to the protocol");
            }
            Wire::Frame(Frame::DialogAck(ack)) => {
                peer.dialog.acked(ack).expect("the peer keeps to the protocol");
            }
            Wire::Frame(frame) => panic!("{frame:?} is not a dialog's"),
            Wire::Closed(generation, restart) => {
                if peer.own.generation == generation {
                    peer.own.serials.restart = restart;
                }
            }
            Wire::Data(message) => {
                //= I9, I14
                assert_eq!(message.generation, peer.other.generation, "data of another generation");
                assert_eq!(message.position, peer.received, "lost or doubled");
                self.model.data_arrived(to, &message, &peer.dialog);
                peer.received += 1;
                peer.other.serials.next = message.serial.next();
                let here = peer.here();
                peer.dialog.received(&here).expect("the peer keeps to the protocol");
                self.peers[1 - to].arrived = self.peers[to].received;
            }
        }
        self.take_reset(to);
        self.check();
    }

    /// A side writes what it has to: of its data at most `data` messages.
    pub(super) fn pump(&mut self, side: usize, data: usize) {
        self.take_reset(side);
        if !self.connected {
            return;
        }
        loop {
            let here = self.peers[side].here();
            let Some(frame) = self.peers[side].dialog.step(&here) else {
                if self.take_reset(side) {
                    continue;
                }
                break;
            };
            if let Frame::Dialog(numbered) = &frame {
                let is_separated = self.peers[side].is_separated(self.peers[1 - side].received);
                self.model.said(side, numbered, is_separated);
            }
            self.links[1 - side].push_back(Wire::Frame(frame));
        }
        let _ = (0..data).take_while(|_| self.send_data(side)).count();
        let peer = &mut self.peers[side];
        let is_held = peer.dialog.is_resynchronizing() && !peer.here().separated;
        self.model.seen_so_far.held += u32::from(is_held);
        peer.idle = peer.given.is_empty();
        self.check();
    }

    /// Whether there was one more message to write.
    fn send_data(&mut self, side: usize) -> bool {
        let peer = &mut self.peers[side];
        let sending = peer.dialog.sending();
        let end = if sending == Sending::Separated { peer.separating.min(peer.sent) } else { peer.sent };
        if peer.cursor < end {
            let again = peer.kept.iter().find(|message| message.position >= peer.cursor);
            if let Some(message) = again.copied() {
                peer.cursor = message.position + 1;
                self.links[1 - side].push_back(Wire::Data(message));
                return true;
            }
        }
        if matches!(sending, Sending::New | Sending::Given)
            && let Some(message) = peer.given.pop_front()
        {
            //= I16
            self.model.sends_data(side);
            let serial = peer.own.serials.next;
            peer.own.serials.next = serial.next();
            peer.used = peer.used.max(serial);
            let message = Message { position: peer.sent, serial, generation: peer.own.generation, ..message };
            peer.sent += 1;
            peer.cursor = peer.sent;
            peer.kept.push(message);
            self.links[1 - side].push_back(Wire::Data(message));
            return true;
        }
        false
    }

    /// END arrives at once with the last data.
    fn tell_ends(&mut self) {
        for side in [0, 1] {
            let peer = &self.peers[side];
            let is_over =
                peer.own.ended && peer.given.is_empty() && peer.sent == self.peers[1 - side].received;
            let same = peer.own.generation == self.peers[1 - side].other.generation;
            if is_over && same && self.connected {
                self.peers[1 - side].other.ended = true;
            }
        }
    }

    pub(super) fn tick(&mut self) {
        self.now = self.now + std::time::Duration::from_millis(1);
        for peer in &mut self.peers {
            peer.dialog.tick(self.now);
        }
    }

    fn take_reset(&mut self, side: usize) -> bool {
        self.model.crossing(&self.peers);
        if let Some(Answered::Lost) = self.peers[side].dialog.take_answered() {
            self.model.lost(side);
        }
        let Some(reset) = self.peers[side].dialog.take_reset() else { return false };
        let Reset { kind, own, other, .. } = reset;
        let peer = &mut self.peers[side];
        if let Some(base) = own {
            //= I12, D-12, D-13, D-14
            super::model::check_serial(kind, peer.own.serials, peer.used, base.serial);
            assert_eq!(base.position, at(peer.sent), "positions go on from what was sent");
            peer.own = begun(peer.own, peer.own.serials.after(kind, base.serial), base);
            peer.given.clear();
            peer.kept.clear();
            (peer.given_to, peer.cursor) = (peer.sent, peer.sent);
            peer.used = peer.used.max(Serial(base.serial.0 - 1));
            peer.base = peer.sent;
        }
        if let Some(base) = other {
            peer.other = begun(peer.other, peer.other.serials.after(kind, base.serial), base);
            peer.received = base.position.messages;
        }
        if !std::mem::take(&mut self.to_the_dead) {
            self.model.reset(side, own, other);
        }
        true
    }

    /// What holds after every step.
    fn check(&mut self) {
        self.tell_ends();
        self.model.crossing(&self.peers);
        let owned = [0, 1].map(|side: usize| self.peers[side].dialog.owned());
        //= I15
        assert!(owned[0].and(owned[1]).is_empty(), "two owners: {owned:?}");
        self.model.owners(owned);
        for peer in &self.peers {
            assert!(peer.dialog.outbox.unconfirmed().count() <= 2 * PIECES_MAX + 8, "unbounded");
        }
    }

    /// No more faults: everything arrives.
    pub(super) fn heal(&mut self) {
        for _ in 0..200 {
            self.connect();
            for side in [0, 1] {
                self.take_pieces(side);
                self.answer(side, TokenSet::of(Token::Data));
                self.pump(side, 50);
            }
            if self.is_quiet() {
                return self.at_the_end();
            }
            for side in [0, 1] {
                while !self.links[side].is_empty() {
                    self.deliver(side);
                }
            }
        }
        let dialogs = [&self.peers[0].dialog, &self.peers[1].dialog];
        panic!("never quiet: {dialogs:#?}");
    }

    fn is_quiet(&mut self) -> bool {
        let is_silent = self.links.iter().all(VecDeque::is_empty);
        is_silent
            && self.peers.iter().all(|peer| {
                matches!(peer.dialog.stage, Stage::Idle)
                    && peer.dialog.outbox.unconfirmed().next().is_none()
                    && peer.dialog.inbox.gated().next().is_none()
                    && !peer.dialog.ack_due
                    && peer.cursor == peer.sent
            })
    }

    fn at_the_end(&mut self) {
        for side in [0, 1] {
            self.take_pieces(side);
            assert_eq!(self.peers[side].sent, self.peers[1 - side].received, "data is missing");
            assert_eq!(self.peers[side].own.generation, self.peers[1 - side].other.generation);
            assert_eq!(self.peers[side].own.serials.next, self.peers[1 - side].other.serials.next);
        }
        //= D-6
        for (one, other) in [(0, 1), (1, 0)] {
            let [one, other] = [one, other].map(|side: usize| &self.peers[side].dialog);
            let wanted = one.wanted().map_or(TokenSet::NONE, |please| please.tokens.and(other.owned()));
            let asked = other.asked().map_or(TokenSet::NONE, |please| please.tokens);
            assert_eq!(asked, wanted, "asked for, and wanted");
        }
        //= I15
        let owned = [0, 1].map(|side: usize| self.peers[side].dialog.owned());
        assert_eq!(owned[0].or(owned[1]), self.peers[0].dialog.available(), "a token is lost");
        self.model.at_the_end();
    }
}

fn begun(direction: Direction, serials: Serials, base: Base) -> Direction {
    assert!(base.generation >= direction.generation);
    Direction { serials, generation: base.generation, ..direction }
}
