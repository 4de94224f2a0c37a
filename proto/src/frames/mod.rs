//! Control frames and `session-resume-bin`, between bytes and core types.
//!
//! - [`encode`] gives a frame the bytes that go into an HTTP/2 body, [`Incoming`] finds frames and messages in one.
//! - [`resume_value`] and [`parse_resume`] are the header of a resumed stream.

mod debug;
mod dialog;
mod resume;
mod resumption;
mod wire;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use rpc_core::frame::Frame;
use rpc_core::stream::error::Violation;
use rpc_core::stream::run::Run;
use rpc_core::stream::splitter::{CONTROL_KEY, Piece, Splitter};

use crate::pb::session::v1::ControlFrame;

pub use dialog::{holdings_from_wire, holdings_to_wire, token_from_wire, token_to_wire};
pub use resume::{parse_resume, resume_value};
pub use resumption::{resumption_from_wire, resumption_to_wire};

/// Bytes that are not the frame or header they should be. It does not repeat them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// The frame as a gRPC message: flag, length, field 536870911.
//= W-15
pub fn encode(frame: &Frame) -> Bytes {
    let frame = wire::to_wire(frame);
    let length = frame.encoded_len();
    let field = CONTROL_KEY.len() + prost::length_delimiter_len(length) + length;
    let mut bytes = BytesMut::with_capacity(1 + size_of::<u32>() + field);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(field).expect("a frame is bounded by the state in it"));
    bytes.put_slice(&CONTROL_KEY);
    frame.encode_length_delimited(&mut bytes).expect("BytesMut grows");
    bytes.freeze()
}

/// The frame in field 536870911; `None` if it is one that this version does not know, which is ignored.
///
/// # Errors
///
/// The bytes are no `ControlFrame`, or lack what the frame must have, or are over a bound.
//= W-11
pub fn decode(bytes: Bytes) -> Result<Option<Frame>, Malformed> {
    let frame = ControlFrame::decode(bytes).map_err(|_| Malformed("control frame"))?;
    frame.frame.map(wire::from_wire).transpose()
}

/// What comes next in an incoming body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// Messages of the user.
    Messages(Run),
    /// A control frame.
    Control(Frame),
}

/// The incoming body of one attempt, cut into messages and frames. A new attempt needs a new one.
#[derive(Debug)]
pub struct Incoming {
    splitter: Splitter,
}

impl Incoming {
    /// For messages of at most `message_bytes_max` bytes, without the framing.
    pub fn new(message_bytes_max: u32) -> Self {
        Self { splitter: Splitter::new(message_bytes_max) }
    }

    /// Takes the next DATA, of any length. Call [`next`](Self::next) until it answers `None` after each.
    pub fn push(&mut self, data: Bytes) {
        self.splitter.push(data);
    }

    /// The next messages or frame; `None` if the rest is not whole.
    ///
    /// # Errors
    ///
    /// A message over the bound, or a frame that does not parse: the stream is over.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: more comes with the next push")]
    pub fn next(&mut self) -> Result<Option<Arrived>, Violation> {
        loop {
            return Ok(match self.splitter.next()? {
                None => None,
                Some(Piece::Messages(run)) => Some(Arrived::Messages(run)),
                Some(Piece::Control(bytes)) => match decode(bytes).map_err(|_| Violation::Malformed)? {
                    Some(frame) => Some(Arrived::Control(frame)),
                    None => continue,
                },
            });
        }
    }

    /// Whether what came ends with a whole message.
    pub fn is_whole(&self) -> bool {
        self.splitter.is_whole()
    }
}

#[cfg(test)]
mod tests;
