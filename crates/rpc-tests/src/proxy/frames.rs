//! The frames of HTTP/2, as far as a proxy must know them to keep some back (RFC 9113, section 4.1).

use super::Direction;

/// What a client says before its first frame has this length.
const PREFACE_BYTES: usize = 24;
/// Length, type, flags and stream of a frame.
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;

/// Lets frames of the connection itself and the heads of requests pass, and nothing else.
#[derive(Debug)]
pub(super) struct Mute {
    direction: Direction,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// So many bytes pass or do not, and then a frame begins.
    Within { left: usize, passes: bool },
    /// So many bytes of a frame's head have come.
    Head { bytes: [u8; HEAD_BYTES], have: usize },
}

const BETWEEN: State = State::Head { bytes: [0; HEAD_BYTES], have: 0 };

impl Mute {
    pub(super) fn new(direction: Direction) -> Self {
        let state = match direction {
            Direction::ToServer => State::Within { left: PREFACE_BYTES, passes: true },
            Direction::ToClient => BETWEEN,
        };
        Self { direction, state }
    }

    /// Takes out of `bytes` what does not pass. The head of a frame passes when it is whole.
    pub(super) fn keep(&mut self, bytes: &mut Vec<u8>) {
        let mut kept = Vec::with_capacity(bytes.len() + HEAD_BYTES);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            rest = self.step(rest, &mut kept);
        }
        *bytes = kept;
    }

    /// Takes some of `bytes` and returns the rest.
    fn step<'a>(&mut self, bytes: &'a [u8], kept: &mut Vec<u8>) -> &'a [u8] {
        match &mut self.state {
            State::Within { left, passes } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(*left));
                if *passes {
                    kept.extend_from_slice(taken);
                }
                *left -= taken.len();
                if *left == 0 {
                    self.state = BETWEEN;
                }
                rest
            }
            State::Head { bytes: head, have } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - *have));
                head[*have..*have + taken.len()].copy_from_slice(taken);
                *have += taken.len();
                if *have == HEAD_BYTES {
                    let head = *head;
                    self.begin(&head, kept);
                }
                rest
            }
        }
    }

    fn begin(&mut self, head: &[u8; HEAD_BYTES], kept: &mut Vec<u8>) {
        let left = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let is_head = matches!(head[3], HEADERS | CONTINUATION);
        let passes = stream == 0 || (is_head && self.direction == Direction::ToServer);
        if passes {
            kept.extend_from_slice(head);
        }
        self.state = if left == 0 { BETWEEN } else { State::Within { left, passes } };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// What passes of `bytes` when so many come at a time.
    fn passing(direction: Direction, bytes: &[u8], at_a_time: usize) -> Vec<u8> {
        let mut mute = Mute::new(direction);
        let mut all = Vec::new();
        for piece in bytes.chunks(at_a_time) {
            let mut piece = piece.to_vec();
            mute.keep(&mut piece);
            all.extend(piece);
        }
        all
    }

    #[test]
    fn requests_are_seen_and_their_bodies_are_not() {
        let preface = [b'P'; PREFACE_BYTES].to_vec();
        let (settings, ack) = (frame(4, 0, &[1; 12]), frame(4, 0, &[]));
        let (head, data, window) = (frame(HEADERS, 1, b"head"), frame(0, 1, b"data"), frame(8, 1, &[0; 4]));
        let sent = [&preface[..], &settings, &head, &data, &ack, &window, &head].concat();
        let kept = [&preface[..], &settings, &head, &ack, &head].concat();
        for at_a_time in 1..=sent.len() {
            assert_eq!(passing(Direction::ToServer, &sent, at_a_time), kept, "{at_a_time}");
        }
    }

    #[test]
    fn of_answers_nothing_is_seen() {
        let (settings, ping) = (frame(4, 0, &[1; 12]), frame(6, 0, &[7; 8]));
        let (head, data) = (frame(HEADERS, 1, b"head"), frame(0, 1, b"data"));
        let sent = [&settings[..], &head, &ping, &data].concat();
        assert_eq!(passing(Direction::ToClient, &sent, 7), [settings, ping].concat());
    }
}
