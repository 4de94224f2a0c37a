//! gRPC's framing on h2's streams, with their flow control.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use prost::Message as _;

use crate::error::BenchError;
use crate::payload::Tally;
use crate::pb::shared::Payload;
use crate::variants::Source;

/// The flag of compression, and the length.
const PREFIX_BYTES: usize = 5;
/// Messages are put together up to this size, as tonic does.
const BATCH_BYTES: usize = 32 << 10;

/// Appends a message with its prefix.
pub(super) fn put(message: &impl prost::Message, into: &mut BytesMut) {
    let len = message.encoded_len();
    into.reserve(PREFIX_BYTES + len);
    into.put_u8(0);
    into.put_u32(len as u32);
    message.encode_raw(into);
}

/// A single message with its prefix.
pub(super) fn framed(message: &impl prost::Message) -> Bytes {
    let mut bytes = BytesMut::new();
    put(message, &mut bytes);
    bytes.freeze()
}

/// Sends all of it, as fast as the peer takes it.
pub(super) async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), BenchError> {
    while data.has_remaining() {
        stream.reserve_capacity(data.len());
        let granted = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let granted = granted.ok_or_else(|| BenchError::new("the stream was closed"))??;
        let piece = data.split_to(granted.min(data.len()));
        if !piece.is_empty() {
            stream.send_data(piece, false)?;
        }
    }
    Ok(())
}

/// Sends messages with this payload for so long, and answers what they were.
pub(super) async fn send_for(
    stream: &mut SendStream<Bytes>,
    time: Duration,
    size: usize,
    data: &Bytes,
) -> Result<Tally, BenchError> {
    let mut tally = Tally::default();
    let mut batch = BytesMut::with_capacity(BATCH_BYTES);
    for index in Source::new(time, size, |_| ()) {
        tally.make();
        put(&Payload { index, data: data.clone() }, &mut batch);
        if batch.len() >= BATCH_BYTES {
            send(stream, batch.split().freeze()).await?;
        }
    }
    send(stream, batch.freeze()).await?;
    Ok(tally)
}

/// The next bytes, `None` at the end, with the peer told that there is room again.
pub(super) async fn chunk(stream: &mut RecvStream) -> Result<Option<Bytes>, BenchError> {
    let Some(chunk) = stream.data().await else { return Ok(None) };
    let chunk = chunk?;
    stream.flow_control().release_capacity(chunk.len())?;
    Ok(Some(chunk))
}

/// All bytes of a body.
pub(super) async fn whole(stream: &mut RecvStream) -> Result<Bytes, BenchError> {
    let Some(first) = chunk(stream).await? else { return Ok(Bytes::new()) };
    if stream.is_end_stream() {
        return Ok(first);
    }
    let mut more = None;
    while let Some(next) = chunk(stream).await? {
        more.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&next);
    }
    Ok(more.map_or(first, BytesMut::freeze))
}

/// Whole messages out of pieces.
#[derive(Default)]
pub(super) struct Messages {
    buffer: BytesMut,
}

impl Messages {
    /// Takes a piece, and gives each message that is whole now, without its prefix.
    ///
    /// # Errors
    ///
    /// Those of `each`.
    pub(super) fn take(
        &mut self,
        piece: Bytes,
        mut each: impl FnMut(Bytes) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        // Most pieces begin where a message does, and then nothing is copied but what is left over.
        let mut bytes = if self.buffer.is_empty() {
            piece
        } else {
            self.buffer.extend_from_slice(&piece);
            match length(&self.buffer) {
                Some(len) if self.buffer.len() >= PREFIX_BYTES + len => self.buffer.split().freeze(),
                _ => return Ok(()),
            }
        };
        while let Some(len) = length(&bytes).filter(|len| bytes.len() >= PREFIX_BYTES + len) {
            bytes.advance(PREFIX_BYTES);
            each(bytes.split_to(len))?;
        }
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let [_, a, b, c, d] = *bytes.first_chunk::<PREFIX_BYTES>()?;
    Some(u32::from_be_bytes([a, b, c, d]) as usize)
}

/// A payload, as far as it has to be looked at.
pub(super) fn payload(message: Bytes) -> Result<Payload, BenchError> {
    Ok(Payload::decode(message)?)
}

/// Appends an encoded message with its prefix.
pub(super) fn put_raw(message: &[u8], into: &mut BytesMut) {
    into.reserve(PREFIX_BYTES + message.len());
    into.put_u8(0);
    into.put_u32(message.len() as u32);
    into.put_slice(message);
}
