//! The two sides of one stream, and the connections between them, which die.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use rpc_core::frame::Frame;
use rpc_core::id::Attempt;
use rpc_core::stream::Config;
use rpc_core::stream::flow::{Flow, Side, Step, Take};
use rpc_core::stream::position::Serial;
use rpc_core::stream::run::{PREFIX_BYTES, Run};
use rpc_core::stream::secured::{Resumption, Secured};
use rpc_core::time::Timestamp;
use rpc_proto::frames::{Arrived, Incoming, encode, parse_resume, resume_value};

pub(super) const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// Longest message of an application, without the framing.
const MESSAGE_BYTES_MAX: u64 = 300;

/// One side with its application, which numbers its messages.
pub(super) struct Peer {
    pub(super) flow: Flow,
    incoming: Incoming,
    /// What it wrote that has not arrived.
    wire: VecDeque<u8>,
    /// The number of the next message that its application gives.
    pub(super) given: u64,
    /// The number of the next message that its application expects, at least.
    pub(super) got: u64,
    /// Its application has given everything, and has got everything.
    pub(super) ended: [bool; 2],
    /// The last point that its application saw and is to secure, and how often the stream was resynchronized before.
    seen: Option<(u32, Serial)>,
}

impl Peer {
    fn new(flow: Flow, sent: Option<&Secured>, received: Option<&Secured>) -> Self {
        let messages = |point: Option<&Secured>| point.map_or(0, |point| point.position.messages);
        let incoming = Incoming::new(MESSAGE_BYTES_MAX as u32);
        let (given, got) = (messages(sent), messages(received));
        Self { flow, incoming, wire: VecDeque::new(), given, got, ended: [false; 2], seen: None }
    }
}

pub(super) struct Pair {
    pub(super) peers: [Peer; 2],
    configs: [Config; 2],
    pub(super) now: Timestamp,
    attempt: Option<Attempt>,
    next: Attempt,
    /// The request of the attempt has not arrived: the value of its `session-resume-bin`.
    header: Option<Option<http::HeaderValue>>,
    stored: Resumption,
    pub(super) crashes: u32,
    /// How many messages each application had given when its process died.
    lost: [u64; 2],
    /// How many the server's application gives in all, if it had given them and ended before its process died.
    all: Option<u64>,
    /// Messages may be missing: the two sides went back to an earlier point.
    pub(super) may_skip: bool,
}

impl Pair {
    pub(super) fn new(configs: [Config; 2]) -> Self {
        let peers = [0, 1].map(|side| Peer::new(Flow::new(SIDES[side], &configs[side]), None, None));
        Self {
            peers,
            configs,
            now: Timestamp::ORIGIN,
            attempt: None,
            next: Attempt::default(),
            header: None,
            stored: Resumption::default(),
            crashes: 0,
            lost: [0; 2],
            all: None,
            may_skip: false,
        }
    }

    pub(super) fn connect(&mut self) {
        if self.attempt.is_some() {
            return;
        }
        let attempt = self.next;
        self.next = attempt.next();
        for peer in &mut self.peers {
            peer.wire.clear();
            peer.incoming = Incoming::new(MESSAGE_BYTES_MAX as u32);
        }
        let client = &mut self.peers[0].flow;
        client.attempt(self.now, attempt, None).expect("a new attempt");
        let resume = (attempt > Attempt::default()).then(|| resume_value(&client.resume()));
        (self.attempt, self.header) = (Some(attempt), Some(resume));
    }

    /// The request arrives at the server.
    pub(super) fn arrive(&mut self) {
        let (Some(attempt), Some(header)) = (self.attempt, self.header.take()) else { return };
        let resume = header.map(|value| parse_resume(&value).expect("the client wrote it"));
        let begun = self.peers[1].flow.attempt(self.now, attempt, resume.as_ref());
        begun.expect("the client keeps to the protocol");
    }

    /// Everything under way is lost. Each side may notice, or learn it from the next attempt.
    pub(super) fn cut(&mut self, noticed: [bool; 2]) {
        let Some(attempt) = self.attempt.take() else { return };
        self.header = None;
        for (peer, noticed) in self.peers.iter_mut().zip(noticed) {
            if noticed {
                peer.flow.detached(attempt);
            }
        }
    }

    /// The server stores what it has to.
    pub(super) fn store(&mut self) {
        while let Some(unstored) = self.peers[1].flow.unstored() {
            self.peers[1].flow.stored(&unstored);
            self.stored = unstored;
        }
    }

    /// The server's process dies, and another one goes on with what is stored. Its handler gives again what it gave.
    pub(super) fn crash(&mut self) {
        // Of a call that did not arrive nothing is stored.
        if !self.configs[1].durable || self.peers[1].flow.current().is_none() {
            return;
        }
        self.cut([true, false]);
        self.crashes += 1;
        self.lost[1] = self.lost[1].max(self.peers[1].given);
        if self.peers[1].ended[0] {
            self.all = Some(self.peers[1].given);
        }
        let flow = Flow::restored(Side::Server, &self.configs[1], &self.stored);
        let Resumption { requests, responses } = &self.stored;
        self.peers[1] = Peer::new(flow, responses.as_ref(), requests.as_ref());
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// The application of `side` gives so many messages, or as many as it has: what it gave before its process died, it
    /// gives again, and no more where it had come to its end.
    pub(super) fn give(&mut self, side: usize, messages: usize) {
        let all = self.all.filter(|_| side == 1);
        let peer = &mut self.peers[side];
        let messages = all.map_or(messages, |all| messages.min(all.saturating_sub(peer.given) as usize));
        if messages == 0 || peer.ended[0] || !peer.flow.wants_data() {
            return;
        }
        let mut batch = BytesMut::new();
        for number in (peer.given..).take(messages) {
            batch.extend_from_slice(&message(side, number));
        }
        peer.given += messages as u64;
        peer.flow.app_sends(batch.freeze());
    }

    /// The application of `side` has no more to give. One that begins anew has what it gave before, at least.
    pub(super) fn end(&mut self, side: usize) {
        let missing = self.lost[side].saturating_sub(self.peers[side].given);
        if missing > 0 {
            self.give(side, missing.min(64) as usize);
        } else if !std::mem::replace(&mut self.peers[side].ended[0], true) {
            self.peers[side].flow.app_ended();
        }
    }

    /// The application of `side` asks for more.
    pub(super) fn take(&mut self, side: usize) -> bool {
        match self.peers[side].flow.take() {
            Take::Messages(run) => self.got(side, run),
            Take::Point(point) => {
                let peer = &mut self.peers[side];
                // What a separating point kept of the time before a resynchronization is not to be secured.
                let is_old = peer.flow.receiver().is_before_base();
                peer.seen = (!is_old).then_some((peer.flow.resets(), point.serial));
            }
            Take::End => self.peers[side].ended[1] = true,
            Take::Wait => return false,
            Take::Failed(error) => panic!("side {side} fails: {error}"),
        }
        !self.peers[side].ended[1]
    }

    fn got(&mut self, side: usize, run: Run) {
        let messages = run.messages();
        let bytes = run.into_bytes();
        let mut rest = &bytes[..];
        for _ in 0..messages {
            let number = rest.get(PREFIX_BYTES..PREFIX_BYTES + 8).expect("a whole message");
            let number = u64::from_be_bytes(number.try_into().expect("eight bytes"));
            let expected = self.peers[side].got;
            assert!(number == expected || self.may_skip && number > expected, "{number}, not {expected}");
            rest = rest.strip_prefix(&message(1 - side, number)[..]).expect("as it was given");
            self.peers[side].got = number + 1;
        }
        assert!(rest.is_empty(), "half a message");
    }

    /// The application of `side` has secured the last point that it saw.
    pub(super) fn secure(&mut self, side: usize) {
        let peer = &mut self.peers[side];
        let Some((resets, serial)) = peer.seen.take() else { return };
        // What lies before a resynchronization needs it no more.
        if resets == peer.flow.resets() {
            peer.flow.secure(serial, Bytes::from_static(b"state")).expect("it was shown");
        }
    }

    /// What `side` has to say goes on its wire.
    pub(super) fn write(&mut self, side: usize) {
        let Some(attempt) = self.attempt else { return };
        if side == 1 && self.header.is_some() {
            return;
        }
        let peer = &mut self.peers[side];
        for _ in 0..10_000 {
            match peer.flow.poll(self.now, attempt) {
                Ok(Step::Data(bytes)) => peer.wire.extend(&bytes),
                Ok(Step::Control(frame)) => peer.wire.extend(&readable(&frame)),
                Ok(Step::Failed(error)) => panic!("side {side} fails: {error}"),
                Ok(Step::Idle { .. }) | Err(_) => return,
            }
        }
        panic!("side {side} has always more to write");
    }

    /// So many bytes of what `side` wrote arrive. False if nothing is under way.
    pub(super) fn deliver(&mut self, side: usize, bytes: usize) -> bool {
        let Some(attempt) = self.attempt else { return false };
        if side == 0 {
            self.arrive();
        }
        let wire = &mut self.peers[side].wire;
        let piece: Bytes = wire.drain(..bytes.min(wire.len())).collect::<Vec<u8>>().into();
        if piece.is_empty() {
            return false;
        }
        let to = &mut self.peers[1 - side];
        to.incoming.push(piece);
        while let Some(arrived) = to.incoming.next().expect("the peer keeps to the protocol") {
            let done = match arrived {
                Arrived::Messages(run) => to.flow.data_in(attempt, run),
                Arrived::Control(frame) => to.flow.control_in(attempt, frame),
            };
            done.expect("the current attempt");
        }
        true
    }

    /// What holds after every step.
    pub(super) fn check(&self) {
        for side in [0, 1] {
            let (sender, receiver) = (&self.peers[side].flow, &self.peers[1 - side].flow);
            assert_eq!(sender.failed(), None, "side {side}");
            let window = self.configs[side].window_bytes;
            let (sent, received) = (sender.progress(), receiver.progress());
            assert!(received.delivered <= received.received, "{received:?}");
            // What a separating point kept lies before what was agreed on as secured.
            let is_old = receiver.receiver().is_before_base();
            assert!(is_old || received.received_secured <= received.delivered, "{received:?}");
            assert!(sent.sent_secured <= sent.sent, "{sent:?}");
            if !self.may_skip {
                assert!(sent.sent_secured <= received.received_secured, "freed before it was secured");
            }
            if !self.may_skip && self.crashes == 0 {
                assert!(received.received <= sent.sent, "more than was sent");
            }
            let kept = sender.sender().kept_bytes();
            assert!(kept <= window + 32 * (MESSAGE_BYTES_MAX + 200), "{kept} bytes are kept of {window}");
        }
    }

    /// One turn without faults: everybody writes, reads, takes and secures.
    pub(super) fn turn(&mut self) -> bool {
        self.connect();
        self.arrive();
        let mut moved = false;
        for side in [0, 1] {
            self.write(side);
            self.store();
            self.write(side);
            moved |= self.deliver(side, usize::MAX);
            while self.take(1 - side) {
                self.secure(1 - side);
            }
            self.secure(1 - side);
            self.check();
        }
        moved
    }
}

/// The frame in bytes, which are read as what it is.
fn readable(frame: &Frame) -> Bytes {
    let bytes = encode(frame);
    let mut incoming = Incoming::new(MESSAGE_BYTES_MAX as u32);
    incoming.push(bytes.clone());
    assert_eq!(incoming.next(), Ok(Some(Arrived::Control(frame.clone()))));
    bytes
}

/// A number, and as many bytes as that says.
fn message(side: usize, number: u64) -> Bytes {
    let padding = (number * 37 + side as u64) % (MESSAGE_BYTES_MAX - 8);
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(8 + padding as u32);
    bytes.put_u64(number);
    bytes.put_bytes(side as u8, padding as usize);
    bytes.freeze()
}
