//! One call over a link that breaks: two flows, what is under way between them, and an oracle that knows every message.

mod losses;
mod sources;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::Random;
use super::pipe::Pipe;
use crate::id::Attempt;
use crate::policy::Secure;
use crate::stream::Config;
use crate::stream::error::SyncError;
use crate::stream::flow::{Flow, Side, Step, Take};
use crate::stream::position::{Position, Serial};
use crate::stream::resume::Resume;
use crate::stream::run::{PREFIX_BYTES, boundary};
use crate::stream::secured::{Resumption, Secured};
use crate::stream::splitter::{Piece, Splitter};
use crate::time::Timestamp;

/// What is done to one call.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) configs: [Config; 2],
    /// Messages of the request and of the response.
    pub(super) messages: [u64; 2],
    /// Longest message.
    pub(super) message_bytes: usize,
    /// Time from one side to the other, each way.
    pub(super) delay: [Duration; 2],
    /// Bytes that a connection carries before it dies, at most, and how many connections die.
    pub(super) life_bytes: usize,
    pub(super) deaths: u32,
    /// Every connection that dies lives for exactly `life_bytes`.
    pub(super) exact: bool,
    /// Bytes that a connection takes in while the other side does not read.
    pub(super) transport_bytes: usize,
    /// An application asks for more once in so many turns.
    pub(super) slowness: [usize; 2],
    /// Applications ask for sync points now and then.
    pub(super) explicit: bool,
    /// How often everything is lost but the secured points.
    pub(super) interruptions: u32,
    /// How often the server is lost but for what it has stored.
    pub(super) crashes: u32,
    /// What the server's application gives otherwise than it did before.
    pub(super) forged: Option<Forged>,
    /// Whose applications give again what is missing, so that nothing is kept of what was sent.
    pub(super) rereads: [bool; 2],
}

/// Not what was given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forged {
    /// Another first byte of that message: compressed, or not.
    Byte(u64),
    /// An end after so many messages.
    End(u64),
}

/// A connection that carries one attempt.
#[derive(Debug)]
struct Link {
    attempt: Attempt,
    pipes: [Pipe; 2],
    splitters: [Splitter; 2],
    /// The request's headers, until they arrive.
    header: Option<(Timestamp, Option<Resume>)>,
    life_bytes: Option<usize>,
}

/// One side with its application.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) flow: Flow,
    /// Messages that the application has given and got.
    given: u64,
    pub(super) got: u64,
    got_bytes: u64,
    ended: bool,
    /// Half of a batch that was cut within a message.
    rest: Bytes,
    /// The last point that the application saw.
    seen: Serial,
}

impl Peer {
    fn new(flow: Flow) -> Self {
        Self { flow, given: 0, got: 0, got_bytes: 0, ended: false, rest: Bytes::new(), seen: Serial::NONE }
    }

    /// The application as it comes back: it knows its last secured points.
    fn resumed(flow: Flow, sent: Option<&Secured>, received: Option<&Secured>) -> Self {
        let position = |point: Option<&Secured>| point.map(|point| point.position).unwrap_or_default();
        let (given, got) = (position(sent), position(received));
        Self {
            given: given.messages,
            got: got.messages,
            got_bytes: got.bytes,
            seen: received.map_or(Serial::NONE, |point| point.serial),
            ..Self::new(flow)
        }
    }
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    random: Random,
    pub(super) now: Timestamp,
    pub(super) peers: [Peer; 2],
    link: Option<Link>,
    next_attempt: Attempt,
    pub(super) deaths: u32,
    pub(super) interruptions: u32,
    /// The furthest of either direction from which a call went on.
    pub(super) resumed_at: Position,
    is_resumed: bool,
    pub(super) written_bytes: u64,
    /// The server's store, and what is on its way there.
    pub(super) store: Resumption,
    storing: Option<Resumption>,
    pub(super) crashes: u32,
    /// Responses that were to be given again after crashes.
    pub(super) repeated: u64,
    /// Most that waited at a sender and at a receiver.
    pub(super) kept_bytes: [u64; 2],
    /// How often an application was to begin again before its end.
    pub(super) rereads: u32,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let peers = [Side::Client, Side::Server];
        let peers = [0, 1].map(|side| Peer::new(Flow::new(peers[side], &plan.configs[side])));
        let mut world = Self {
            random: Random::new(plan.seed),
            now: Timestamp::ORIGIN,
            peers,
            link: None,
            next_attempt: Attempt::default(),
            deaths: 0,
            interruptions: 0,
            resumed_at: Position::ORIGIN,
            is_resumed: false,
            written_bytes: 0,
            store: Resumption::default(),
            storing: None,
            crashes: 0,
            repeated: 0,
            kept_bytes: [0; 2],
            rereads: 0,
            plan,
        };
        [0, 1].into_iter().for_each(|side| world.keep_positions(side));
        world
    }

    /// Runs the call to its end, in at most so many turns of a millisecond.
    #[track_caller]
    pub(super) fn run(&mut self, turns: u32) {
        for _ in 0..turns {
            self.turn();
            if self.is_done() {
                return;
            }
        }
        let progress = [self.peers[0].flow.progress(), self.peers[1].flow.progress()];
        panic!("no end after {turns} turns, {} deaths: {progress:#?}\n{:?}", self.deaths, self.plan);
    }

    pub(super) fn is_done(&self) -> bool {
        self.peers.iter().all(|peer| peer.ended && peer.flow.is_secured())
    }

    pub(super) fn turn(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        if self.interruptions < self.plan.interruptions && self.random.one_in(25) {
            self.interrupt();
        }
        if self.plan.configs[1].durable {
            self.keep();
        }
        let is_known = self.peers[1].flow.current().is_some() || self.crashes > 0;
        if is_known && self.crashes < self.plan.crashes && self.random.one_in(25) {
            self.crash();
        }
        if self.link.is_none() && self.random.one_in(3) {
            self.connect();
        }
        for side in [0, 1] {
            self.application(side);
            self.write(side);
            self.check();
        }
        self.deliver_header();
        for side in [0, 1] {
            self.deliver(side);
            self.check();
        }
    }

    fn connect(&mut self) {
        let attempt = self.next_attempt;
        self.next_attempt = attempt.next();
        let client = &mut self.peers[0].flow;
        client.attempt(self.now, attempt, None).unwrap();
        let resume = (self.is_resumed || attempt > Attempt::default()).then(|| client.resume());
        let dies = self.deaths < self.plan.deaths;
        self.link = Some(Link {
            attempt,
            pipes: Default::default(),
            splitters: [0, 1].map(|side| Splitter::new(self.plan.configs[side].message_bytes_max)),
            header: Some((self.now + self.plan.delay[0], resume)),
            life_bytes: dies.then(|| match self.plan.exact {
                true => self.plan.life_bytes,
                false => self.random.below(self.plan.life_bytes),
            }),
        });
    }

    fn deliver_header(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some((at, resume)) = link.header.take() else { return };
        if at > self.now {
            link.header = Some((at, resume));
            return;
        }
        self.peers[1].flow.attempt(self.now, link.attempt, resume.as_ref()).unwrap();
    }

    fn write(&mut self, side: usize) {
        let Some(link) = &mut self.link else { return };
        let pipe = &mut link.pipes[side];
        let had_room = self.peers[side].flow.wants_data();
        while pipe.bytes() < self.plan.transport_bytes {
            let Ok(step) = self.peers[side].flow.poll(self.now, link.attempt) else { return };
            match &step {
                Step::Idle { .. } => break,
                Step::Failed(_) if self.plan.forged.is_some() => return,
                Step::Failed(error) => panic!("{error}: {:?}", self.plan),
                Step::Data(bytes) => self.written_bytes += bytes.len() as u64,
                Step::Control(_) => {}
            }
            pipe.write(self.now + self.plan.delay[side], step);
        }
        let has_room = self.peers[side].flow.wants_data();
        let makes_room = self.plan.rereads[side];
        assert!(
            had_room || !has_room || makes_room,
            "whoever waits for room would not be woken: {:?}",
            self.plan
        );
    }

    /// Takes to `1 - side` what `side` wrote, in chunks of any length, until the connection dies.
    fn deliver(&mut self, side: usize) {
        let Some(link) = &mut self.link else { return };
        if link.header.is_some() {
            return;
        }
        let to = 1 - side;
        for _ in 0..1 + self.random.below(8) {
            let most = if self.random.one_in(4) { 1 + self.random.below(20) } else { 1 << 16 };
            let most = link.life_bytes.map_or(most, |left| most.min(left));
            if link.life_bytes == Some(0) {
                return self.die();
            }
            let Some(bytes) = link.pipes[side].read(self.now, most) else { return };
            link.life_bytes = link.life_bytes.map(|left| left - bytes.len());
            link.splitters[to].push(bytes);
            while let Some(piece) = link.splitters[to].next().unwrap() {
                let flow = &mut self.peers[to].flow;
                let done = match piece {
                    Piece::Messages(run) => flow.data_in(link.attempt, run),
                    Piece::Control(number) => {
                        let number = u64::from_be_bytes(number[..].try_into().unwrap());
                        let frame = link.pipes[side].frame(number);
                        flow.control_in(link.attempt, frame)
                    }
                };
                done.unwrap();
            }
        }
    }

    /// Everything under way is lost. Either side may notice, or learn it from the next attempt.
    fn die(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.deaths += 1;
        for peer in &mut self.peers {
            if self.random.one_in(2) {
                peer.flow.detached(link.attempt);
            }
        }
    }

    fn application(&mut self, side: usize) {
        if self.random.one_in(self.plan.slowness[side]) {
            for _ in 0..1 + self.random.below(4) {
                self.take(side);
            }
        }
        for _ in 0..1 + self.random.below(3) {
            self.give(side);
        }
    }

    fn take(&mut self, side: usize) {
        let explicit = self.plan.configs[side].secure == Secure::Explicit;
        match self.peers[side].flow.take() {
            Take::Messages(run) => {
                let messages = run.messages();
                let bytes = run.into_bytes();
                let mut rest = &bytes[..];
                for _ in 0..messages {
                    let length = boundary(rest, 1).expect("whole messages only");
                    let expected = self.message(1 - side, self.peers[side].got);
                    // What lies after the last point is given before a lie is found out.
                    let lie = Some(Forged::Byte(self.peers[side].got));
                    let is_lie = self.plan.rereads[1] && side == 0 && self.plan.forged == lie;
                    assert!(rest[..length] == expected[..] || is_lie, "message {}", self.peers[side].got);
                    rest = &rest[length..];
                    self.peers[side].got += 1;
                    self.peers[side].got_bytes += length as u64;
                }
                assert!(rest.is_empty());
            }
            Take::Point(point) => {
                assert!(explicit);
                // Points that a restored sender places again have numbers, and are not shown.
                let next = self.peers[side].seen.next();
                assert!(point.serial == next || self.crashes > 0 && point.serial > next, "{point:?}");
                let here = Position { messages: self.peers[side].got, bytes: self.peers[side].got_bytes };
                assert_eq!(point.position, here);
                self.peers[side].seen = point.serial;
            }
            Take::End => {
                assert_eq!(self.peers[side].got, self.plan.messages[1 - side]);
                self.peers[side].ended = true;
            }
            Take::Wait => {}
            Take::Failed(error) => panic!("{error}: {:?}", self.plan),
        }
        let seen = self.peers[side].seen;
        if explicit && seen > Serial::NONE && self.random.one_in(3) {
            self.peers[side].flow.secure(seen, Bytes::from(seen.0.to_be_bytes().to_vec())).unwrap();
        }
    }

    /// A batch, sometimes cut within a message.
    fn give(&mut self, side: usize) {
        let total = match self.plan.forged {
            Some(Forged::End(messages)) if side == 1 => messages,
            Some(Forged::End(_) | Forged::Byte(_)) | None => self.plan.messages[side],
        };
        if !self.peers[side].flow.wants_data() {
            return;
        }
        self.begin_again(side);
        let mut batch = BytesMut::from(&std::mem::take(&mut self.peers[side].rest)[..]);
        for _ in 0..1 + self.random.below(5) {
            if self.peers[side].given < total {
                let index = self.peers[side].given;
                let message = self.message(side, index);
                let is_forged = side == 1 && self.plan.forged == Some(Forged::Byte(index));
                batch.put_u8(message[0] ^ u8::from(is_forged));
                batch.extend_from_slice(&message[1..]);
                self.peers[side].given += 1;
            }
        }
        let mut batch = batch.freeze();
        if self.random.one_in(10) {
            self.peers[side].rest = batch.split_off(self.random.below(batch.len()));
        }
        let peer = &mut self.peers[side];
        peer.flow.app_sends(batch);
        if self.plan.explicit && self.random.one_in(6) {
            // One that was not given yet perhaps, or only half.
            let messages = peer.given + self.random.below(4) as u64;
            let state = Bytes::from(messages.to_be_bytes().to_vec());
            match peer.flow.app_syncs_at(messages, state) {
                Ok(()) | Err(SyncError::TooManyPoints) => {}
                Err(error) => panic!("{error}: {:?}", self.plan),
            }
        }
        if peer.given == total && peer.rest.is_empty() {
            peer.flow.app_ended();
        }
    }

    /// Message `index` that `side` sends: always the same one.
    fn message(&self, side: usize, index: u64) -> Bytes {
        let mut random = Random::new(self.plan.seed ^ (index << 1) ^ side as u64);
        let short = random.one_in(2);
        let length = random.below(if short { 20 } else { self.plan.message_bytes } + 1);
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
        bytes.put_u8(u8::from(random.one_in(5)));
        bytes.put_u32(u32::try_from(length).unwrap());
        let pattern = random.next().to_be_bytes();
        bytes.extend(pattern.iter().cycle().take(length));
        bytes.freeze()
    }

    /// What must hold after each step, in both directions.
    //= test I6, I9, I10, I11, S-31
    fn check(&mut self) {
        let message = (self.plan.message_bytes + PREFIX_BYTES) as u64;
        if self.plan.configs[1].durable {
            self.check_store();
        }
        for side in [0, 1] {
            let [window, peers_window] = [side, 1 - side].map(|side| self.plan.configs[side].window_bytes);
            let (sender, receiver) = (self.peers[side].flow.sender(), self.peers[1 - side].flow.receiver());
            let (kept, waiting) = (sender.kept_bytes(), receiver.kept_bytes());
            self.kept_bytes = [self.kept_bytes[0].max(kept), self.kept_bytes[1].max(waiting)];
            assert!(sender.secured() <= receiver.secured(), "freed before it was secured: {:?}", self.plan);
            assert!(receiver.secured() <= receiver.delivered());
            assert!(receiver.delivered() <= receiver.received());
            // A restored sender gives again what the client had, which is not under way.
            if side == 0 || self.crashes == 0 {
                assert!(receiver.received() <= sender.sent());
                assert!(sender.sent().bytes - sender.secured().bytes <= window.max(message));
            }
            assert!(kept <= window + 7 * (message + 2 * 96), "{kept} kept of {window}: {:?}", self.plan);
            let is_let_go = !self.plan.rereads[side] || sender.unsent_bytes() > 0 || kept == 0;
            assert!(is_let_go, "{kept} kept of what was sent: {:?}", self.plan);
            // A sender that does not know that its peer was restored relies on its old credit.
            let tentative = if self.crashes > 0 { window.min(64 << 10) } else { 0 };
            assert!(
                waiting <= peers_window.max(message).max(tentative),
                "{waiting} waiting of {peers_window}: {:?}",
                self.plan
            );
        }
    }
}
