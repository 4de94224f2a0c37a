//! `session-resume-bin`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderValue;
use prost::Message;
use rpc_core::stream::position::Generation;
use rpc_core::stream::resume::Resume;

use super::Malformed;
use super::wire::{position_from_wire, position_to_wire, received_from_wire, received_to_wire};
use crate::pb::session::v1 as pb;

/// Longest value that is looked at. The longest that anybody has reason to send has 167 characters; the rest is for fields
/// to come.
const VALUE_BYTES_MAX: usize = 1 << 10;

/// The value of `session-resume-bin`: base64 without padding, as gRPC wants it for binary headers.
pub fn resume_value(resume: &Resume) -> HeaderValue {
    let bytes = pb::Resume {
        generation: resume.generation.0,
        send_from: Some(position_to_wire(resume.send_from)),
        received: Some(received_to_wire(&resume.received)),
    }
    .encode_to_vec();
    HeaderValue::from_str(&STANDARD_NO_PAD.encode(bytes)).expect("base64 is a header value")
}

/// What a value of `session-resume-bin` says. Padding is accepted, as gRPC asks of readers.
///
/// # Errors
///
/// It is too long, or not base64 of a `Resume` that has all of its parts.
pub fn parse_resume(value: &HeaderValue) -> Result<Resume, Malformed> {
    let malformed = Malformed("session-resume-bin");
    let text = value.as_bytes();
    if text.len() > VALUE_BYTES_MAX {
        return Err(malformed);
    }
    let bytes = if text.ends_with(b"=") { STANDARD.decode(text) } else { STANDARD_NO_PAD.decode(text) };
    let resume = pb::Resume::decode(&*bytes.map_err(|_| malformed)?).map_err(|_| malformed)?;
    Ok(Resume {
        generation: Generation(resume.generation),
        send_from: position_from_wire(resume.send_from)?,
        received: received_from_wire(resume.received.ok_or(malformed)?)?,
    })
}
