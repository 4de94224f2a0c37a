//! Random dialogs over connections that die, each by its seed.

use bytes::Bytes;

use super::Random;
use super::talk::{Got, MESSAGE_BYTES, Pair, config, message, numbers, units};
use crate::dialog::{Answer, Answered, Request, ResyncKind, Token, TokenSet};
use crate::frame::{Frame, PointKind};
use crate::negotiate::{Unit, Units};
use crate::stream::digest::DigestKind;
use crate::stream::flow::Step;
use crate::stream::position::{Generation, Position, Serial};
use crate::stream::run::Run;
use crate::stream::{Config, Verify};

/// How many dialogs. A failure prints the seed.
const SEEDS: u64 = 2_000;
const KINDS: [ResyncKind; 3] = [ResyncKind::Restart, ResyncKind::Set, ResyncKind::Abandon];

/// What an application knows: the model that both flows are held against.
#[derive(Debug, Default)]
struct Application {
    /// What it gave and got, by generation.
    given: Vec<Vec<u64>>,
    got: Vec<Vec<u64>>,
    /// How many of what it gave in a generation lie before its last separating point.
    separated: Vec<usize>,
    /// The lowest generation that it may be given something of.
    least: Generation,
    /// The last point that it was given, and whether it is major.
    seen: Option<(Generation, Serial, PointKind)>,
    /// What it had given when it secured the peer's last major point.
    answered: Option<(usize, usize)>,
    /// The highest number that it sent, and its last separating point: those that come again are known.
    sent: u64,
    last_separating: (usize, Serial),
    /// The generation that it stated last.
    sends: Generation,
    units_closed: u64,
    resets: u32,
    /// The lowest serial to which the own direction may be restarted.
    floor: Serial,
    ended: bool,
}

fn of(all: &mut Vec<Vec<u64>>, generation: Generation) -> &mut Vec<u64> {
    let index = usize::try_from(generation.0).unwrap();
    if all.len() <= index {
        all.resize(index + 1, Vec::new());
    }
    &mut all[index]
}

struct Dialogs {
    seed: u64,
    random: Random,
    units: Units,
    pair: Pair,
    applications: [Application; 2],
    numbers: u64,
    counts: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    cuts: u32,
    resets: u32,
    units: u64,
    turns: u32,
    lost: u32,
    kept: usize,
}

impl Dialogs {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let all = [
            Unit::HalfDuplex,
            Unit::MajorSynchronize,
            Unit::DataSeparation,
            Unit::Resynchronize,
            Unit::TypedData,
            Unit::ExpeditedData,
        ];
        let on: Vec<Unit> = all.into_iter().filter(|_| !random.one_in(4)).collect();
        let units = units(&on);
        let digest = if random.one_in(4) { DigestKind::Blake3 } else { DigestKind::Crc32c };
        let window_messages = 2 << random.below(5);
        let credit = Position { messages: window_messages, bytes: window_messages * 13 };
        let configs = [0, 1].map(|side| Config {
            digest,
            verify: Verify::AtOnce,
            window_messages,
            window_bytes: window_messages * 120,
            credit_at_first: credit,
            ..config(side, units)
        });
        Self {
            seed,
            random,
            units,
            pair: Pair::new(configs),
            applications: Default::default(),
            numbers: 0,
            counts: Counts::default(),
        }
    }

    #[track_caller]
    fn run(&mut self) {
        for _ in 0..60 {
            self.turn(true);
        }
        let mut turns = 0;
        while !self.pair.flows.iter().all(|flow| flow.is_secured() && flow.is_received()) {
            self.turn(false);
            turns += 1;
            assert!(turns < 2_000, "seed {}: no end: {}", self.seed, self.last());
        }
        for (side, peer) in [(0, 1), (1, 0)] {
            let generation = self.pair.flows[side].sender().generation();
            let given = of(&mut self.applications[side].given, generation).clone();
            let got = of(&mut self.applications[peer].got, generation);
            assert_eq!(&given, got, "seed {}: {generation}", self.seed);
        }
    }

    fn turn(&mut self, is_wild: bool) {
        self.pair.now = self.pair.now + std::time::Duration::from_millis(40);
        if self.pair.attempt.is_none() && self.random.one_in(2) {
            self.pair.connect();
        }
        for side in [0, 1] {
            self.give(side, is_wild);
            self.take(side, is_wild);
            if is_wild {
                self.ask(side);
            }
            self.settle(side, is_wild);
            self.write(side);
            self.check(side);
        }
        for _ in 0..1 + self.random.below(12) {
            let side = self.random.below(2);
            self.pair.deliver(side);
            self.pair.is_well();
            self.check(side);
        }
        if is_wild && self.random.one_in(12) && self.pair.attempt.is_some() {
            let noticed = [0, 1].map(|_| self.random.one_in(2));
            self.pair.cut(noticed);
            self.counts.cuts += 1;
        }
    }

    /// Writes, and remembers what lies before separating points.
    #[track_caller]
    fn write(&mut self, side: usize) {
        let before = self.pair.written[side].len();
        self.pair.write(side);
        let Application { given, separated, sent, sends, last_separating, .. } = &mut self.applications[side];
        for step in &self.pair.written[side][before..] {
            match step {
                Step::Data(bytes) => {
                    let messages = bytes.len() as u64 / MESSAGE_BYTES;
                    let last = numbers(Run::contiguous(bytes.clone(), messages)).into_iter().max();
                    *sent = last.max(Some(*sent)).unwrap();
                }
                Step::Control(Frame::Sync(point)) if point.kind == PointKind::Separating => {
                    let generation = usize::try_from(sends.0).unwrap();
                    if *last_separating >= (generation, point.serial) {
                        continue;
                    }
                    *last_separating = (generation, point.serial);
                    let given = given.get(generation).into_iter().flatten();
                    let count = given.filter(|number| **number <= *sent).count();
                    separated.resize(separated.len().max(generation + 1), 0);
                    separated[generation] = count;
                }
                Step::Control(Frame::At(at)) => *sends = at.generation,
                Step::Control(_) | Step::Idle { .. } | Step::Failed(_) => {}
            }
        }
    }

    fn give(&mut self, side: usize, is_wild: bool) {
        let flow = &mut self.pair.flows[side];
        if !flow.wants_data() {
            return;
        }
        if !is_wild {
            if !std::mem::replace(&mut self.applications[side].ended, true) {
                flow.app_ended();
            }
            return;
        }
        let generation = flow.sender().generation();
        for _ in 0..self.random.below(3) {
            self.numbers += 1;
            flow.app_sends(message(self.numbers));
            of(&mut self.applications[side].given, generation).push(self.numbers);
        }
        if self.random.one_in(3) {
            flow.app_idle();
        }
    }

    /// The end of the story, and where the two sides stand.
    fn last(&self) -> String {
        let mut story = self.pair.story();
        let states = self.pair.flows.each_ref().map(|flow| {
            let progress = flow.progress();
            format!(
                "{:?} {:?} {} given, {} sent, {} kept, {:?}",
                flow.dialog().unwrap().state(),
                flow.sender().serials(),
                flow.sender().given(),
                progress.sent,
                flow.sender().is_closing_unit(),
                progress,
            )
        });
        story.retain(|line| !line.contains("Keepalive"));
        format!("{}\n{states:#?}", story.join("\n"))
    }

    #[track_caller]
    fn take(&mut self, side: usize, is_wild: bool) {
        for _ in 0..if is_wild { self.random.below(3) } else { 9 } {
            for got in self.pair.take(side) {
                let generation = self.pair.flows[side].delivers();
                match got {
                    Got::Message(number) => self.got(side, generation, number),
                    Got::Point(point) => {
                        self.applications[side].seen = Some((generation, point.serial, point.kind));
                    }
                    Got::End => {}
                }
            }
            if !is_wild || self.random.one_in(3) {
                self.secure(side);
            }
        }
    }

    //= test I9, I14
    #[track_caller]
    fn got(&mut self, side: usize, generation: Generation, number: u64) {
        let [own, peer] = [side, 1 - side];
        assert!(generation >= self.applications[own].least, "seed {}: of an older generation", self.seed);
        self.is_drained_before(own, generation);
        self.applications[own].least = generation;
        let got = of(&mut self.applications[own].got, generation);
        got.push(number);
        let at = got.len() - 1;
        let given = of(&mut self.applications[peer].given, generation);
        assert_eq!(given.get(at), Some(&number), "seed {}: {generation}", self.seed);
    }

    /// Everything before the last separating point of the older generations was delivered.
    #[track_caller]
    fn is_drained_before(&mut self, side: usize, generation: Generation) {
        let separated = self.applications[1 - side].separated.clone();
        for (older, separated) in separated.into_iter().enumerate() {
            let older = Generation(u32::try_from(older).unwrap());
            if older < generation && older >= self.applications[side].least {
                let got = of(&mut self.applications[side].got, older).len();
                assert!(
                    got >= separated,
                    "seed {}: {side} has {got} of {separated} in {older}: {}",
                    self.seed,
                    self.last()
                );
                self.counts.kept += separated.min(1);
            }
        }
    }

    fn secure(&mut self, side: usize) {
        let Some((generation, serial, kind)) = self.applications[side].seen else { return };
        let flow = &mut self.pair.flows[side];
        if kind == PointKind::Major && generation == flow.receiver().generation() {
            let own = flow.sender().generation();
            let given = of(&mut self.applications[side].given, own).len();
            let is_first = flow.receiver().secured_serial() < serial;
            if is_first && !flow.is_closing_unit() {
                self.applications[side].answered = Some((usize::try_from(own.0).unwrap(), given));
            }
        }
        flow.secure_in(generation, serial, Bytes::new()).unwrap();
    }

    /// What an application may ask for at any time: it is done or refused.
    fn ask(&mut self, side: usize) {
        let flow = &mut self.pair.flows[side];
        match self.random.below(12) {
            0 => drop(flow.app_places(PointKind::Minor, Bytes::from_static(b"minor")).ok()),
            1 => drop(flow.app_places(PointKind::Separating, Bytes::new()).ok()),
            2 => drop(flow.app_places(PointKind::Major, Bytes::new()).ok()),
            3 => drop(flow.give_all().ok()),
            4 => {
                let token = Token::ALL[self.random.below(3)];
                if flow.give(TokenSet::of(token)).is_ok() {
                    self.counts.turns += 1;
                }
            }
            5 => drop(flow.send_typed(Bytes::from_static(b"typed")).ok()),
            6 => drop(flow.send_expedited(Bytes::from_static(b"expedited")).ok()),
            7 => {
                let request = self.request(side);
                let _ = self.pair.flows[side].resynchronize(request);
            }
            _ => {}
        }
        let flow = &mut self.pair.flows[side];
        if self.random.one_in(2) {
            let _ = (flow.take_typed(), flow.take_expedited());
        }
    }

    fn request(&mut self, side: usize) -> Request {
        let kind = KINDS[self.random.below(3)];
        let flow = &self.pair.flows[side];
        let mut serial = |serials: crate::dialog::Serials| {
            let least = serials.restart.max(Serial::FIRST).0;
            let number = match kind {
                ResyncKind::Restart => {
                    least + self.random.below((serials.next.0 - least + 1) as usize) as u64
                }
                ResyncKind::Set => 1 + self.random.below(20) as u64,
                ResyncKind::Abandon => 1_000_000 * (u64::from(flow.resets()) + 1),
            };
            (!self.random.one_in(4)).then_some(Serial(number))
        };
        let (own, other) = (serial(flow.sender().serials()), serial(flow.receiver().serials()));
        Request { kind, own, other, wishes: vec![], state: Bytes::from_static(b"asked") }
    }

    /// Answers what is asked for, and hears the answers.
    #[track_caller]
    fn settle(&mut self, side: usize, is_wild: bool) {
        let resets = self.pair.flows[side].resets();
        if std::mem::replace(&mut self.applications[side].resets, resets) != resets {
            self.applications.iter_mut().for_each(|application| application.answered = None);
        }
        let flow = &mut self.pair.flows[side];
        if let Some(request) = flow.resynchronization()
            && (!is_wild || self.random.one_in(3))
        {
            if request.other.is_some() && request.kind != ResyncKind::Restart {
                self.applications[side].floor = Serial::NONE;
            }
            let answer = Answer { state: Bytes::from_static(b"answered"), mine: TokenSet::NONE };
            flow.answer_resynchronization(answer).unwrap();
        }
        match flow.take_answered() {
            Some(Answered::Confirmed(confirmation)) => {
                let floor = self.applications[side].floor;
                if let Some(serial) = confirmation.own {
                    let is_restart = confirmation.kind == ResyncKind::Restart;
                    //= test I12, D-12
                    assert!(!is_restart || serial >= floor, "seed {}: {serial}, {floor}", self.seed);
                    self.applications[side].floor = if is_restart { floor } else { Serial::NONE };
                }
                self.counts.resets += 1;
                let generation = self.pair.flows[side].receiver().generation();
                self.is_drained_before(side, generation);
                self.applications[side].least = generation;
            }
            Some(Answered::Lost) => self.counts.lost += 1,
            None => {}
        }
    }

    /// What must hold after each step.
    #[track_caller]
    fn check(&mut self, side: usize) {
        let flow = &self.pair.flows[side];
        let (sender, receiver) = (flow.sender(), flow.receiver());
        //= test I10, I12
        for serials in [sender.serials(), receiver.serials()] {
            let is_ok = serials.restart <= serials.next && serials.unconfirmed <= serials.next;
            assert!(is_ok, "seed {}: side {side}: {serials:?} {}", self.seed, self.last());
        }
        assert!(sender.secured() <= sender.base_position());
        assert!(receiver.delivered() <= receiver.received());
        if flow.delivers() == receiver.generation() {
            assert!(receiver.secured() <= receiver.delivered(), "seed {}", self.seed);
        }
        //= test I11
        let peer = self.pair.flows[1 - side].receiver();
        if peer.generation() == sender.generation() {
            assert!(sender.secured() <= peer.secured(), "seed {}: freed before it was secured", self.seed);
        }
        //= test I6
        let window = self.pair.configs[side].window_bytes;
        assert!(receiver.kept_bytes() <= window * 2, "{} waiting", receiver.kept_bytes());
        //= test I15
        let owned = self.pair.flows.each_ref().map(|flow| flow.dialog().unwrap().owned());
        assert!(owned[0].and(owned[1]).is_empty(), "seed {}: {owned:?}", self.seed);
        self.check_unit(side);
    }

    /// A unit was closed: everything that the other side gave before its answer was delivered.
    //= test I17, S-6
    #[track_caller]
    fn check_unit(&mut self, side: usize) {
        let flow = &self.pair.flows[side];
        if flow.units_closed() == self.applications[side].units_closed {
            return;
        }
        self.applications[side].units_closed = flow.units_closed();
        self.counts.units += 1;
        let serials = flow.sender().serials();
        self.applications[side].floor = serials.restart;
        if let Some((generation, given)) = self.applications[1 - side].answered.take() {
            let generation = Generation(u32::try_from(generation).unwrap());
            let got = of(&mut self.applications[side].got, generation).len();
            assert!(got >= given, "seed {}: {got} of {given} before the answer", self.seed);
        }
    }
}

//= test I6, I9, I10, I11, I12, I13, I14, I15, I16, I17, S-6, S-7, D-11, D-16
#[test]
fn every_dialog_comes_to_its_end_whatever_the_connection_does() {
    let mut all = Counts::default();
    for seed in 0..SEEDS {
        let mut dialogs = Dialogs::new(seed);
        dialogs.run();
        let Counts { cuts, resets, units, turns, lost, kept } = dialogs.counts;
        assert!(resets == 0 || dialogs.units.contains(Unit::Resynchronize));
        all = Counts {
            cuts: all.cuts + cuts,
            resets: all.resets + resets,
            units: all.units + units,
            turns: all.turns + turns,
            lost: all.lost + lost,
            kept: all.kept + kept,
        };
    }
    let Counts { cuts, resets, units, turns, lost, kept } = all;
    assert!(cuts > 4_000 && resets > 4_000 && units > 1_000 && turns > 2_000, "too quiet: {all:?}");
    assert!(lost > 50 && kept > 300, "too quiet: {all:?}");
}
