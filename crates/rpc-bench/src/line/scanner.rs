//! Finds the messages of a benchmark in the bytes of an HTTP/2 connection from the server.

use std::collections::BTreeMap;

/// Bytes before the payload of an HTTP/2 frame: length, type, flags, stream.
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
/// Of SETTINGS: it confirms those of the client.
const ACK: u8 = 1;
/// Bytes that gRPC puts before a message.
const FRAMING: usize = 5;
/// Bytes of a message with which its index is known: the framing of gRPC, the key of the field, and the index.
const INDEXED: usize = FRAMING + 9;
/// The key of the index.
const INDEX_KEY: u8 = 0x09;

/// A part of a message of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Of which.
    pub(super) index: u64,
    /// Which bytes of it, framing included.
    pub(super) from: u64,
    /// Up to which.
    pub(super) to: u64,
    /// It is whole with this part.
    pub(super) is_last: bool,
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The server's settings: the connection is up.
    Settings,
    /// A part of a message.
    Part(Part),
}

/// One connection. Whatever is not a message of a benchmark is passed over, control frames of sessions too.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    header: Vec<u8>,
    /// Of the present frame, still to come.
    left: usize,
    messages: BTreeMap<u32, Message>,
}

/// The present message of a stream.
#[derive(Debug, Default)]
struct Message {
    begin: Vec<u8>,
    seen: u64,
}

impl Scanner {
    /// Nothing came yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Found)) {
        while !bytes.is_empty() || self.is_due() {
            if self.header.len() < FRAME_HEADER {
                take(&mut bytes, &mut self.header, FRAME_HEADER);
                if let &[a, b, c, ..] = &*self.header
                    && self.header.len() == FRAME_HEADER
                {
                    self.left = u32::from_be_bytes([0, a, b, c]) as usize;
                }
                continue;
            }
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            bytes = rest;
            self.left -= payload.len();
            self.payload(payload, &mut found);
        }
    }

    /// A frame without payload is over with its header.
    fn is_due(&self) -> bool {
        self.header.len() == FRAME_HEADER && self.left == 0
    }

    fn payload(&mut self, payload: &[u8], found: &mut impl FnMut(Found)) {
        let &[_, _, _, kind, flags, a, b, c, d] = &*self.header else { return };
        let stream = u32::from_be_bytes([a, b, c, d]);
        if kind == DATA {
            self.messages.entry(stream).or_default().feed(payload, found);
        }
        if self.left == 0 {
            if kind == SETTINGS && flags & ACK == 0 {
                found(Found::Settings);
            }
            self.header.clear();
        }
    }
}

impl Message {
    fn feed(&mut self, mut data: &[u8], found: &mut impl FnMut(Found)) {
        while !data.is_empty() {
            take(&mut data, &mut self.begin, FRAMING);
            let &[_, a, b, c, d, ..] = &*self.begin else { return };
            let total = FRAMING as u64 + u64::from(u32::from_be_bytes([a, b, c, d]));
            if self.seen == 0 {
                let wanted = total.min(INDEXED as u64);
                take(&mut data, &mut self.begin, wanted as usize);
                // Nothing is told before the index is known.
                if (self.begin.len() as u64) < wanted {
                    return;
                }
                self.pass(wanted, total, found);
            }
            let rest = (data.len() as u64).min(total - self.seen);
            data = &data[rest as usize..];
            if rest > 0 {
                self.pass(rest, total, found);
            }
            if self.seen == total {
                *self = Self::default();
            }
        }
    }

    /// So many bytes more have passed.
    fn pass(&mut self, bytes: u64, total: u64, found: &mut impl FnMut(Found)) {
        let from = self.seen;
        self.seen += bytes;
        let index = self.begin.get(FRAMING + 1..INDEXED).and_then(|index| index.try_into().ok());
        if let (Some(&INDEX_KEY), Some(index)) = (self.begin.get(FRAMING), index) {
            let index = u64::from_le_bytes(index);
            found(Found::Part(Part { index, from, to: self.seen, is_last: self.seen == total }));
        }
    }
}

/// Moves bytes until `to` has this many.
fn take(from: &mut &[u8], to: &mut Vec<u8>, length: usize) {
    let (taken, rest) = from.split_at(length.saturating_sub(to.len()).min(from.len()));
    to.extend_from_slice(taken);
    *from = rest;
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::payload;
    use crate::pb::owned::Payload;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    fn grpc(message: &[u8]) -> Vec<u8> {
        [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat()
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let messages =
            [1, 2, 3].map(|index| grpc(&Payload { index, data: payload::data(64) }.encode_to_vec()));
        let control = grpc(&[0xFA, 0xFF, 0xFF, 0xFF, 0x0F, 0]);
        let data = [&messages[0][..], &control, &messages[1], &messages[2][..30]].concat();
        let bytes = [
            frame(SETTINGS, 0, 0, &[0; 6]),
            frame(SETTINGS, ACK, 0, &[]),
            frame(DATA, 0, 1, &data[..20]),
            frame(DATA, 0, 3, &grpc(&[])),
            frame(DATA, 0, 1, &data[20..]),
        ]
        .concat();
        for size in 1..bytes.len() {
            let (mut scanner, mut settings, mut whole, mut last) = (Scanner::new(), 0, vec![], None);
            for chunk in bytes.chunks(size) {
                scanner.feed(chunk, |found| match found {
                    Found::Settings => settings += 1,
                    Found::Part(part) => {
                        if part.is_last {
                            whole.push(part.index);
                        }
                        last = Some((part.index, part.to));
                    }
                });
            }
            assert_eq!((settings, &whole[..], last), (1, &[1, 2][..], Some((3, 30))), "{size}");
        }
    }
}
