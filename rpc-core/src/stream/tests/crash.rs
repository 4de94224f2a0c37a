//! A client, and a server that may crash.

use bytes::Bytes;

use super::messages;
use crate::frame::Frame;
use crate::id::Attempt;
use crate::policy::Secure;
use crate::stream::Config;
use crate::stream::digest::DigestKind;
use crate::stream::flow::{Flow, Side, Step, Take};
use crate::stream::position::{Position, Serial};
use crate::stream::run::Run;
use crate::stream::secured::Resumption;
use crate::time::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::ORIGIN;

pub(super) fn config(side: Side) -> Config {
    let durable = side == Side::Server;
    Config { secure: Secure::Explicit, digest: DigestKind::Blake3, durable, ..Config::default() }
}

/// Messages `from..to` of 100 bytes each.
pub(super) fn part(from: u8, to: u8) -> Bytes {
    messages(&(from..to).map(|fill| (95, fill)).collect::<Vec<_>>())
}

pub(super) fn at(messages: u64) -> Position {
    Position { messages, bytes: messages * 100 }
}

/// A client and a server that may crash.
pub(super) struct Call {
    pub(super) client: Flow,
    pub(super) server: Flow,
    attempt: Attempt,
}

impl Call {
    pub(super) fn new() -> Self {
        let [client, server] = [Side::Client, Side::Server].map(|side| Flow::new(side, &config(side)));
        let mut call = Self { client, server, attempt: Attempt(0) };
        call.client.attempt(NOW, call.attempt, None).unwrap();
        call.server.attempt(NOW, call.attempt, None).unwrap();
        call
    }

    /// The server dies, and another takes its place with what it had stored. They are not connected.
    pub(super) fn crash(&mut self, stored: &Resumption) {
        self.server = Flow::restored(Side::Server, &config(Side::Server), stored);
    }

    pub(super) fn reconnect(&mut self) {
        self.attempt = self.attempt.next();
        self.client.attempt(NOW, self.attempt, None).unwrap();
        let resume = self.client.resume();
        self.server.attempt(NOW, self.attempt, Some(&resume)).unwrap();
    }

    /// With nothing in the request's headers: what the client has comes as a frame.
    pub(super) fn reconnect_without_header(&mut self) {
        self.attempt = self.attempt.next();
        self.client.attempt(NOW, self.attempt, None).unwrap();
        self.server.attempt(NOW, self.attempt, None).unwrap();
    }

    pub(super) fn up(&mut self) -> Vec<Step> {
        pass(&mut self.client, &mut self.server, self.attempt)
    }

    pub(super) fn down(&mut self) -> Vec<Step> {
        pass(&mut self.server, &mut self.client, self.attempt)
    }

    /// Back and forth until both are silent.
    pub(super) fn talk(&mut self) {
        while self.up().len() + self.down().len() > 0 {}
        assert_eq!((self.client.failed(), self.server.failed()), (None, None));
    }

    pub(super) fn talk_until_failed(&mut self) {
        while self.client.failed().is_none() && self.server.failed().is_none() {
            assert!(self.up().len() + self.down().len() > 0, "nobody has noticed");
        }
    }
}

/// Hands `to` what `from` writes; answers what that was.
fn pass(from: &mut Flow, to: &mut Flow, attempt: Attempt) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = from.poll(NOW, attempt).unwrap();
        match step.clone() {
            Step::Data(bytes) => {
                let messages = bytes.len() as u64 / 100;
                to.data_in(attempt, Run::contiguous(bytes, messages)).unwrap();
            }
            Step::Control(frame) => to.control_in(attempt, frame).unwrap(),
            Step::Idle { .. } | Step::Failed(_) => return steps,
        }
        steps.push(step);
    }
}

/// What the application gets until it has to wait: the number of messages and the states of points.
pub(super) fn read(flow: &mut Flow) -> (u64, Vec<Bytes>) {
    let (mut count, mut states) = (0, Vec::new());
    loop {
        match flow.take() {
            Take::Messages(run) => count += run.messages(),
            Take::Point(point) => states.push(point.state),
            Take::End | Take::Wait => return (count, states),
            Take::Failed(error) => panic!("{error}"),
        }
    }
}

pub(super) fn acks(steps: &[Step]) -> Vec<Serial> {
    let serial = |step: &Step| match step {
        Step::Control(Frame::SyncAck(ack)) => Some(ack.serial),
        _ => None,
    };
    steps.iter().filter_map(serial).collect()
}
