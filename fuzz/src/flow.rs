//! One side of a stream, and a peer that does what it likes.

use std::time::Duration;

use bytes::Bytes;
use rpc_core::dialog::{Answer, Terms, Token, TokenSet};
use rpc_core::id::Attempt;
use rpc_core::negotiate::Units;
use rpc_core::stream::Config;
use rpc_core::stream::flow::{Flow, Side, Step, Take};
use rpc_core::time::Timestamp;
use rpc_proto::frames::{Arrived, Incoming, encode, parse_resume};

use super::choices::Choices;

const WINDOW_BYTES: u64 = 64 << 10;
const MESSAGE_BYTES_MAX: u32 = 16 << 10;
/// What a dialog may keep besides: pieces of typed and of expedited data, and states.
const DIALOG_BYTES_MAX: u64 = 4 << 20;

/// Each byte is an operation, of the peer, the application or the connection; those that need bytes take them from what
/// follows. Whatever comes, nothing panics, what is kept stays within the window, *secured* ≤ *delivered* ≤ *received*, and
/// a stream that has failed stays failed.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let terms = choices.byte();
    let side = if terms & 1 == 0 { Side::Client } else { Side::Server };
    let mut config = Config::default();
    config.window_bytes = WINDOW_BYTES;
    config.message_bytes_max = MESSAGE_BYTES_MAX;
    config.durable = side == Side::Server && terms & 2 == 2;
    let half_duplex = terms & 8 == 8;
    let dialog = Terms { side, units: Units::ALL, half_duplex, first_turn: Side::Client };
    config.dialog = (terms & 4 == 4).then_some(dialog);
    let mut one = One::new(Flow::new(side, &config), side);
    while !choices.are_over() {
        one.step(&mut choices);
        one.check();
    }
}

struct One {
    flow: Flow,
    side: Side,
    incoming: Incoming,
    attempt: Attempt,
    seconds: u64,
    has_failed: bool,
}

impl One {
    fn new(flow: Flow, side: Side) -> Self {
        let incoming = Incoming::new(MESSAGE_BYTES_MAX);
        let mut one =
            Self { flow, side, incoming, attempt: Attempt::default(), seconds: 0, has_failed: false };
        one.flow.attempt(one.now(), one.attempt, None).expect("the first attempt");
        one
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 16 {
            0..=3 => self.arrives(choices.piece()),
            4 => self.attempts(choices.piece()),
            5 => self.flow.detached(self.attempt),
            6 => {
                let _ = self.flow.transport_ended(self.attempt);
            }
            7 if self.flow.wants_data() => self.flow.app_sends(Bytes::from_static(b"\0\0\0\0\x03abc")),
            8 => {
                let _ = self.flow.app_syncs(Bytes::from_static(b"state"));
            }
            9 => self.flow.app_ended(),
            10 => {
                let _ = self.flow.take();
            }
            11 => self.seconds += 7,
            12 => {
                self.flow.secure_explicitly();
                if let Take::Point(point) = self.flow.take() {
                    self.flow.secure(point.serial, Bytes::new()).expect("it was shown");
                }
            }
            13 => self.speaks(choices.byte()),
            14 => {
                if let Some(unstored) = self.flow.unstored() {
                    self.flow.stored(&unstored);
                }
            }
            _ => {}
        }
        self.write();
    }

    /// The next bytes from the peer, in which there are whole messages and frames, or not.
    fn arrives(&mut self, piece: &[u8]) {
        self.incoming.push(Bytes::copy_from_slice(piece));
        loop {
            let fenced = match self.incoming.next() {
                Ok(None) => return,
                Ok(Some(Arrived::Messages(run))) => self.flow.data_in(self.attempt, run).is_err(),
                Ok(Some(Arrived::Control(frame))) => self.flow.control_in(self.attempt, frame).is_err(),
                Err(violation) => return self.flow.violated(violation),
            };
            if fenced {
                return;
            }
        }
    }

    /// Another attempt. At the server the peer says in `session-resume-bin` what it claims to have.
    fn attempts(&mut self, claim: &[u8]) {
        let resume = http::HeaderValue::from_bytes(claim).ok().and_then(|value| parse_resume(&value).ok());
        let resume = resume.filter(|_| self.side == Side::Server);
        let next = self.attempt.next();
        if self.flow.attempt(self.now(), next, resume.as_ref()).is_ok() {
            self.attempt = next;
            self.incoming = Incoming::new(MESSAGE_BYTES_MAX);
            let _ = self.flow.resume();
        }
    }

    /// The application takes part in the dialog.
    fn speaks(&mut self, what: u8) {
        match what % 8 {
            0 => {
                let _ = self.flow.give_all();
            }
            1 => {
                let _ = self.flow.send_typed(Bytes::from_static(b"typed"));
            }
            2 => {
                let _ = self.flow.send_expedited(Bytes::from_static(b"expedited"));
            }
            3 => {
                let _ = self.flow.take_typed();
            }
            4 => {
                let _ = self.flow.take_expedited();
            }
            5 => {
                let _ = self.flow.take_exception();
            }
            6 if self.flow.resynchronization().is_some() => {
                let answer = Answer { mine: TokenSet::of(Token::Data), ..Answer::default() };
                let _ = self.flow.answer_resynchronization(answer);
            }
            _ => self.flow.app_idle(),
        }
    }

    /// Everything that is to be written is, within a bound: a machine that always has more to say hangs its connection.
    /// What it writes can be read.
    fn write(&mut self) {
        let mut reader = Incoming::new(MESSAGE_BYTES_MAX);
        for _ in 0..10_000 {
            match self.flow.poll(self.now(), self.attempt) {
                Ok(Step::Data(_)) => {}
                Ok(Step::Control(frame)) => {
                    reader.push(encode(&frame));
                    assert_eq!(reader.next(), Ok(Some(Arrived::Control(frame))));
                }
                Ok(Step::Idle { .. } | Step::Failed(_)) | Err(_) => return,
            }
        }
        panic!("it has always more to write");
    }

    fn check(&mut self) {
        let progress = self.flow.progress();
        assert!(progress.received_secured <= progress.delivered, "{progress:?}");
        assert!(progress.delivered <= progress.received, "{progress:?}");
        assert!(progress.sent_secured <= progress.sent, "{progress:?}");
        let kept = self.flow.receiver().kept_bytes() + self.flow.sender().kept_bytes();
        let most = 2 * (WINDOW_BYTES + u64::from(MESSAGE_BYTES_MAX)) + DIALOG_BYTES_MAX;
        assert!(kept <= most, "{kept} bytes are kept");
        let failed = self.flow.failed();
        assert!(failed.is_some() || !self.has_failed, "it came back to life");
        self.has_failed = failed.is_some();
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(self.seconds))
    }
}
