//! Follows the frames in the bytes that a peer sends, by their heads alone.

/// Length of an HTTP/2 frame head: 24 bits of length, type, flags, 31 bits of stream.
const HEAD_BYTES: usize = 9;
const TYPE_SETTINGS: u8 = 4;
const TYPE_GOAWAY: u8 = 7;
const FLAG_ACK: u8 = 1;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head([u8; HEAD_BYTES]);

impl Head {
    /// Tells whether this can be the first frame of a server: RFC 9113, 3.4.
    pub(super) fn is_preface(self) -> bool {
        let [_, _, _, kind, flags, stream @ ..] = self.0;
        kind == TYPE_SETTINGS && flags & FLAG_ACK == 0 && stream == [0; 4]
    }

    /// Tells whether the peer says goodbye with this frame.
    pub(super) fn is_goaway(self) -> bool {
        self.0[3] == TYPE_GOAWAY
    }

    fn payload_bytes(self) -> usize {
        let [high, middle, low, ..] = self.0;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }
}

/// Finds the heads of frames in bytes that come in arbitrary pieces.
#[derive(Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    filled: usize,
    payload_left: usize,
}

impl Frames {
    /// Takes the next bytes and tells of each head that they complete.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Head)) {
        loop {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = bytes.len().min(HEAD_BYTES - self.filled);
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD_BYTES {
                let head = Head(self.head);
                self.filled = 0;
                self.payload_left = head.payload_bytes();
                found(head);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![high, middle, low, kind, flags, 0, 0, 0, 0];
        // The payload looks like goodbyes, and must not be read.
        bytes.resize(HEAD_BYTES + payload, TYPE_GOAWAY);
        bytes
    }

    #[test]
    fn heads_are_found_whatever_the_pieces() {
        let bytes =
            [frame(4, 0, 6), frame(4, 1, 0), frame(0, 0, 70_000), frame(7, 0, 8), frame(6, 0, 8)].concat();
        for piece in [1, 2, 9, 10, 1_000, bytes.len()] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for bytes in bytes.chunks(piece) {
                frames.read(bytes, |head| found.push(head));
            }
            let kinds: Vec<_> = found.iter().map(|head| (head.0[3], head.payload_bytes())).collect();
            assert_eq!(kinds, [(4, 6), (4, 0), (0, 70_000), (7, 8), (6, 8)], "pieces of {piece}");
            let prefaces: Vec<_> = found.iter().map(|head| head.is_preface()).collect();
            assert_eq!(prefaces, [true, false, false, false, false], "an ACK is no preface");
            assert_eq!(found.iter().filter(|head| head.is_goaway()).count(), 1);
        }
    }

    #[test]
    fn another_protocol_is_no_preface() {
        let mut first = None;
        Frames::default().read(b"HTTP/1.1 400 Bad Request\r\n\r\n", |head| first = first.or(Some(head)));
        assert!(!first.unwrap().is_preface());
    }
}
