//! Two flows with a dialog, what is under way between them, and connections that die between two frames.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::dialog::{Dialog, Terms, Token};
use crate::frame::Frame;
use crate::frame::dialog::Numbered;
use crate::id::Attempt;
use crate::negotiate::{Unit, Units};
use crate::policy::Secure;
use crate::stream::Config;
use crate::stream::flow::{Flow, Side, Step, Take};
use crate::stream::position::Serial;
use crate::stream::resume::Resume;
use crate::stream::run::Run;
use crate::stream::secured::Resumption;
use crate::time::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::ORIGIN;
pub(super) const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// Of each message: five of framing, eight of content.
pub(super) const MESSAGE_BYTES: u64 = 13;

pub(super) fn units(units: &[Unit]) -> Units {
    units.iter().copied().chain([Unit::Resume, Unit::MinorSynchronize]).collect()
}

/// Of one side of a stream with those units; half duplex where that unit is among them.
pub(super) fn config(side: usize, units: Units) -> Config {
    let half_duplex = units.contains(Unit::HalfDuplex);
    let terms = Terms { side: SIDES[side], units, half_duplex, first_turn: Side::Client };
    Config { dialog: Some(terms), secure: Secure::Explicit, ..Config::default() }
}

/// One that is numbered.
pub(super) fn message(number: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(8);
    bytes.put_u64(number);
    bytes.freeze()
}

/// The numbers of whole messages.
pub(super) fn numbers(run: Run) -> Vec<u64> {
    let bytes = run.into_bytes();
    bytes.chunks(13).map(|message| u64::from_be_bytes(message[5..].try_into().unwrap())).collect()
}

/// What an application was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    Message(u64),
    Point(crate::frame::SyncPoint),
    End,
}

/// Both sides, and the connection between them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) configs: [Config; 2],
    pub(super) flows: [Flow; 2],
    pub(super) now: Timestamp,
    pub(super) attempt: Option<Attempt>,
    next: Attempt,
    wires: [VecDeque<Step>; 2],
    header: Option<Option<Resume>>,
    /// Frames and pieces of data that arrived, in all attempts.
    pub(super) arrived: usize,
    /// After how many of them the connection dies, in order.
    pub(super) cuts: VecDeque<usize>,
    /// Everything that each side has written.
    pub(super) written: [Vec<Step>; 2],
    /// What the server has stored.
    pub(super) stored: Resumption,
}

impl Pair {
    pub(super) fn new(configs: [Config; 2]) -> Self {
        let flows = [0, 1].map(|side| Flow::new(SIDES[side], &configs[side]));
        Self {
            configs,
            flows,
            now: NOW,
            attempt: None,
            next: Attempt::default(),
            wires: Default::default(),
            header: None,
            arrived: 0,
            cuts: VecDeque::new(),
            written: Default::default(),
            stored: Resumption::default(),
        }
    }

    pub(super) fn with(units: Units) -> Self {
        Self::new([0, 1].map(|side| config(side, units)))
    }

    pub(super) fn connect(&mut self) {
        let attempt = self.next;
        self.next = attempt.next();
        self.flows[0].attempt(self.now, attempt, None).unwrap();
        let resume = (attempt > Attempt::default()).then(|| self.flows[0].resume());
        (self.attempt, self.header) = (Some(attempt), Some(resume));
        self.wires = Default::default();
    }

    /// The connection dies. The sides notice it, or learn it from the next attempt.
    pub(super) fn cut(&mut self, noticed: [bool; 2]) {
        let Some(attempt) = self.attempt.take() else { return };
        for (flow, noticed) in self.flows.iter_mut().zip(noticed) {
            if noticed {
                flow.detached(attempt);
            }
        }
    }

    /// The server's process dies, and another takes its place with what is stored.
    pub(super) fn crash(&mut self) {
        self.cut([true, false]);
        self.flows[1] = Flow::restored(Side::Server, &self.configs[1], &self.stored);
    }

    /// What the server has to store is stored.
    pub(super) fn store(&mut self) {
        while let Some(written) = self.flows[1].unstored() {
            self.flows[1].stored(&written);
            self.stored = written;
        }
    }

    /// Takes what the side has to say to its wire.
    #[track_caller]
    pub(super) fn write(&mut self, side: usize) {
        let Some(attempt) = self.attempt else { return };
        if side == 1 && self.header.is_some() {
            return;
        }
        while let Ok(step) = self.flows[side].poll(self.now, attempt) {
            match &step {
                Step::Idle { .. } => return,
                Step::Failed(error) => panic!("side {side}: {error}\n{:#?}", self.story()),
                Step::Data(_) => self.check_turn(side),
                // Its peer has no such point, and takes the frame for a malformed one.
                Step::Control(Frame::SyncAck(ack)) => {
                    assert!(ack.serial > Serial::NONE, "{:#?}", self.story());
                }
                Step::Control(_) => {}
            }
            self.written[side].push(step.clone());
            self.wires[side].push_back(step);
        }
    }

    /// One frame, or one piece of data, arrives at the other side. False if nothing is under way.
    pub(super) fn deliver(&mut self, side: usize) -> bool {
        let Some(attempt) = self.attempt else { return false };
        if side == 0
            && let Some(resume) = self.header.take()
        {
            self.flows[1].attempt(self.now, attempt, resume.as_ref()).unwrap();
            return true;
        }
        let Some(step) = self.wires[side].pop_front() else { return false };
        let to = &mut self.flows[1 - side];
        match step {
            Step::Data(bytes) => {
                let messages = bytes.len() as u64 / MESSAGE_BYTES;
                to.data_in(attempt, Run::contiguous(bytes, messages)).unwrap();
            }
            Step::Control(frame) => to.control_in(attempt, frame).unwrap(),
            Step::Idle { .. } | Step::Failed(_) => {}
        }
        self.arrived += 1;
        if self.cuts.front() == Some(&self.arrived) {
            self.cuts.pop_front();
            self.cut([self.arrived.is_multiple_of(2), self.arrived.is_multiple_of(3)]);
        }
        true
    }

    /// Both sides write and read until nothing is left to be said.
    #[track_caller]
    pub(super) fn talk(&mut self) {
        loop {
            if self.attempt.is_none() {
                self.connect();
            }
            self.write(0);
            self.write(1);
            self.store();
            let moved = [self.deliver(0), self.deliver(1)];
            self.is_well();
            if moved == [false; 2] && self.attempt.is_some() {
                self.store();
                self.write(0);
                self.write(1);
                if self.wires.iter().all(VecDeque::is_empty) {
                    return;
                }
            }
        }
    }

    /// Nothing has gone wrong.
    #[track_caller]
    pub(super) fn is_well(&self) {
        for (side, flow) in self.flows.iter().enumerate() {
            assert_eq!(flow.failed(), None, "side {side} {:#?}", self.story());
        }
    }

    /// Data leaves the side that has the turn, or the one that gave it: as long as its peer lacks what comes before the turn
    /// it has not got that.
    //= test I16
    #[track_caller]
    fn check_turn(&self, side: usize) {
        let [own, peer] = [side, 1 - side].map(|side| self.flows[side].dialog().map(Dialog::owned));
        let (Some(own), Some(peer)) = (own, peer) else { return };
        let is_free =
            !self.flows[side].dialog().is_some_and(|dialog| dialog.available().contains(Token::Data));
        let is_ok = is_free || own.contains(Token::Data) || !peer.contains(Token::Data);
        assert!(is_ok, "side {side} speaks out of turn: {:#?}", self.story());
    }

    pub(super) fn give(&mut self, side: usize, numbers: impl IntoIterator<Item = u64>) {
        numbers.into_iter().for_each(|number| self.flows[side].app_sends(message(number)));
    }

    /// The next thing that the application gets.
    #[track_caller]
    pub(super) fn take(&mut self, side: usize) -> Vec<Got> {
        match self.flows[side].take() {
            Take::Messages(run) => numbers(run).into_iter().map(Got::Message).collect(),
            Take::Point(point) => vec![Got::Point(point)],
            Take::End => vec![Got::End],
            Take::Wait => Vec::new(),
            Take::Failed(error) => panic!("{error}"),
        }
    }

    /// Everything that the application can get now; it secures each point.
    #[track_caller]
    pub(super) fn read(&mut self, side: usize) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            let got = self.take(side);
            for got in &got {
                if let Got::Point(point) = got {
                    let generation = self.flows[side].delivers();
                    self.flows[side].secure_in(generation, point.serial, Bytes::new()).unwrap();
                }
            }
            let is_over = got.is_empty() || got == [Got::End];
            all.extend(got);
            if is_over {
                return all;
            }
        }
    }

    /// The numbers of the messages that the application can get now.
    #[track_caller]
    pub(super) fn messages(&mut self, side: usize) -> Vec<u64> {
        let number = |got| match got {
            Got::Message(number) => Some(number),
            Got::Point(_) | Got::End => None,
        };
        self.read(side).into_iter().filter_map(number).collect()
    }

    /// What was written, for a failure.
    pub(super) fn story(&self) -> Vec<String> {
        let name = |step: &Step| match step {
            Step::Data(bytes) => format!("{} bytes", bytes.len()),
            Step::Control(Frame::Dialog(Numbered { number, primitive, .. })) => {
                format!("{number}: {primitive:?}")
            }
            Step::Control(frame) => format!("{frame:?}"),
            Step::Idle { .. } | Step::Failed(_) => format!("{step:?}"),
        };
        let all = |side: usize| self.written[side].iter().map(move |step| format!("{side} {}", name(step)));
        all(0).chain(all(1)).collect()
    }
}
