//! Finds where messages begin and end in the chunks of an HTTP/2 body, which know nothing of messages.

use bytes::{Buf, Bytes, BytesMut};

use super::run::{PREFIX_BYTES, Run, message_bytes};

/// Key of field 536870911 with wire type 2, the first bytes of the message that a control frame is.
pub const CONTROL_KEY: [u8; 5] = [0xFA, 0xFF, 0xFF, 0xFF, 0x0F];
/// Longest control frame, in bytes without the framing: 64 KiB of state and what goes with it.
pub const CONTROL_BYTES_MAX: usize = 80 << 10;

/// Pieces of one message that are kept before it is looked at whether copying them together saves memory.
const PIECES_MIN: usize = 64;
/// Pieces shorter than this on average are copied together: each costs some 100 bytes beside its own.
const PIECE_BYTES_MIN: usize = 1 << 10;

/// One direction of one attempt, cut into messages without copying.
///
/// Call [`next`](Splitter::next) until it answers `None` after each [`push`](Splitter::push). What is held back between
/// the two is at most one unfinished message. A new attempt begins with a new splitter: half a message of the old one
/// would spoil what follows.
#[derive(Debug)]
pub struct Splitter {
    message_bytes_max: u64,
    input: Bytes,
    /// The beginning of a message that is not whole yet, in pieces.
    held: Vec<Bytes>,
    held_bytes: u64,
}

/// What the next bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Messages of the user.
    Messages(Run),
    /// A control frame: the protobuf message in field 536870911.
    Control(Bytes),
}

/// A message or a control frame is longer than this side takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes, over the bound of {bytes_max}")]
pub struct TooLong {
    /// Its length, framing included.
    pub bytes: u64,
    /// The bound.
    pub bytes_max: u64,
}

impl Splitter {
    /// For messages of at most `message_bytes_max` bytes, without the framing.
    pub fn new(message_bytes_max: u32) -> Self {
        Self {
            message_bytes_max: u64::from(message_bytes_max) + PREFIX_BYTES as u64,
            input: Bytes::new(),
            held: Vec::new(),
            held_bytes: 0,
        }
    }

    /// Takes the next chunk, of any length.
    pub fn push(&mut self, chunk: Bytes) {
        if self.input.is_empty() {
            self.input = chunk;
        } else {
            // Only a caller that does not drain pays for this copy.
            let mut joined = BytesMut::with_capacity(self.input.len() + chunk.len());
            joined.extend_from_slice(&self.input);
            joined.extend_from_slice(&chunk);
            self.input = joined.freeze();
        }
    }

    /// The next messages or control frame; `None` if the rest is not whole.
    ///
    /// # Errors
    ///
    /// The next message is longer than the bound. The splitter is of no more use then.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: more comes with the next push")]
    pub fn next(&mut self) -> Result<Option<Piece>, TooLong> {
        if self.held.is_empty() { self.next_in_input() } else { self.next_with_held() }
    }

    /// Forgets what is held back: what comes next begins with a message.
    pub(super) fn clear(&mut self) {
        self.input = Bytes::new();
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Whether nothing is held back: the bytes so far end with a whole message.
    pub fn is_whole(&self) -> bool {
        self.held.is_empty() && self.input.is_empty()
    }

    fn next_in_input(&mut self) -> Result<Option<Piece>, TooLong> {
        let (mut end, mut messages) = (0, 0);
        while let Some(length) = message_bytes(&self.input[end..]) {
            if messages > 0 && length > self.message_bytes_max {
                break;
            }
            self.check(length)?;
            let Some(message) =
                usize::try_from(length).ok().and_then(|length| self.input[end..].get(..length))
            else {
                break;
            };
            if let Some(frame) = control_range(message) {
                if messages > 0 {
                    break;
                }
                let message = self.input.split_to(message.len());
                return control(message.slice(frame)).map(Some);
            }
            end += message.len();
            messages += 1;
        }
        if messages == 0 {
            self.hold_input();
            return Ok(None);
        }
        Ok(Some(Piece::Messages(Run::contiguous(self.input.split_to(end), messages))))
    }

    fn next_with_held(&mut self) -> Result<Option<Piece>, TooLong> {
        let Some(length) = self.held_length() else {
            self.hold_input();
            return Ok(None);
        };
        self.check(length)?;
        let missing = usize::try_from(length - self.held_bytes).unwrap_or(usize::MAX);
        if self.input.len() < missing {
            self.hold_input();
            return Ok(None);
        }
        if missing > 0 {
            self.held.push(self.input.split_to(missing));
        }
        let parts = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        if !may_be_control(&parts) {
            return Ok(Some(Piece::Messages(Run::pieces(parts))));
        }
        let message = Run::pieces(parts).into_bytes();
        match control_range(&message) {
            Some(frame) => control(message.slice(frame)).map(Some),
            None => Ok(Some(Piece::Messages(Run::contiguous(message, 1)))),
        }
    }

    /// Length of the message that is held, once its prefix is there: from the held pieces and the input.
    fn held_length(&self) -> Option<u64> {
        let mut prefix = [0; PREFIX_BYTES];
        let bytes = self.held.iter().chain([&self.input]).flat_map(|part| part.iter());
        let mut filled = 0;
        for (place, byte) in prefix.iter_mut().zip(bytes) {
            *place = *byte;
            filled += 1;
        }
        message_bytes(&prefix[..filled])
    }

    fn hold_input(&mut self) {
        if self.input.is_empty() {
            return;
        }
        self.held_bytes += self.input.len() as u64;
        self.held.push(std::mem::take(&mut self.input));
        let short = self.held_bytes < (self.held.len() * PIECE_BYTES_MIN) as u64;
        if self.held.len() >= PIECES_MIN && short {
            self.held = vec![Run::pieces(std::mem::take(&mut self.held)).into_bytes()];
        }
    }

    fn check(&self, bytes: u64) -> Result<(), TooLong> {
        // A frame may be longer than the messages of a stream that has only short ones.
        let bytes_max = self.message_bytes_max.max((CONTROL_BYTES_MAX + 2 * PREFIX_BYTES) as u64);
        if bytes > bytes_max { Err(TooLong { bytes, bytes_max }) } else { Ok(()) }
    }
}

fn control(frame: Bytes) -> Result<Piece, TooLong> {
    if frame.len() > CONTROL_BYTES_MAX {
        return Err(TooLong { bytes: frame.len() as u64, bytes_max: CONTROL_BYTES_MAX as u64 });
    }
    Ok(Piece::Control(frame))
}

/// Whether the first bytes are those of a control frame; spares long messages the copy.
fn may_be_control(parts: &[Bytes]) -> bool {
    let mut begin = parts.iter().flat_map(|part| part.iter());
    begin.next() == Some(&0) && begin.skip(PREFIX_BYTES - 1).take(CONTROL_KEY.len()).eq(&CONTROL_KEY)
}

/// Where in a whole message the control frame lies that it is; `None` for a message of the user.
///
/// Only a message without compression that consists of exactly the one field is a frame. All others are the user's,
/// whatever they begin with.
//= W-15
pub(super) fn control_range(message: &[u8]) -> Option<std::ops::Range<usize>> {
    // The first byte tells nearly all others apart, without a call.
    if message.get(PREFIX_BYTES) != CONTROL_KEY.first() {
        return None;
    }
    let field = message.get(PREFIX_BYTES..).filter(|_| message.first() == Some(&0))?;
    let mut rest = field.strip_prefix(&CONTROL_KEY)?;
    let length = varint(&mut rest)?;
    (length == rest.len() as u64).then(|| message.len() - rest.len()..message.len())
}

/// A protobuf varint of at most five bytes, which is enough for any length.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        if !bytes.has_remaining() {
            return None;
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
