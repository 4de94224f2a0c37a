//! The first bytes of an HTTP/2 connection, read before HTTP/2 code sees it.
//!
//! h2 has no deadline for them, and calls its handshake done before the peer's SETTINGS have come: one that sends nothing,
//! or half of them, would stay. Reading them ahead costs a well-behaved peer no round trip, since clients send them unasked (RFC 9113, section 3.4), and peers that
//! speak something else are known from the first byte that differs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What a client says first.
const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length (3), type, flags, stream (4).
const FRAME_HEAD_BYTES: usize = 9;
const SETTINGS: u8 = 4;
/// The largest frame that may be sent before our own SETTINGS allow more.
const FRAME_BYTES_MAX: usize = 16_384;
/// A client's preface is about 100 bytes.
const FIRST_READ_BYTES: usize = 512;

/// Why there is no HTTP/2 on a stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrefaceError {
    /// The peer went away.
    #[error("peer closed during the preface")]
    Closed,
    /// The peer speaks something else.
    #[error("not an HTTP/2 preface")]
    NotHttp2,
    /// The stream failed.
    #[error("read failed during the preface")]
    Io(#[source] io::Error),
}

/// Waits for the client's preface and the SETTINGS frame that ends it. The answer gives them to its reader again.
///
/// # Errors
///
/// See [`PrefaceError`]. There is no deadline here.
pub(super) async fn read<T: AsyncRead + Unpin>(mut io: T) -> Result<Rewind<T>, PrefaceError> {
    let mut seen = BytesMut::with_capacity(FIRST_READ_BYTES);
    while !is_complete(&seen)? {
        // `read_buf` makes room for a few bytes where there is none; `is_complete` bounds the whole.
        if io.read_buf(&mut seen).await.map_err(PrefaceError::Io)? == 0 {
            return Err(PrefaceError::Closed);
        }
    }
    Ok(Rewind { ahead: seen.freeze(), io })
}

/// Whether `seen` holds the whole preface, as far as it can be told.
fn is_complete(seen: &[u8]) -> Result<bool, PrefaceError> {
    let common = seen.len().min(MAGIC.len());
    if seen[..common] != MAGIC[..common] {
        return Err(PrefaceError::NotHttp2);
    }
    let Some(frame) = seen.get(MAGIC.len()..).filter(|frame| frame.len() >= FRAME_HEAD_BYTES) else {
        return Ok(false);
    };
    let payload_bytes = usize::from(frame[0]) << 16 | usize::from(frame[1]) << 8 | usize::from(frame[2]);
    if frame[3] != SETTINGS || payload_bytes > FRAME_BYTES_MAX {
        return Err(PrefaceError::NotHttp2);
    }
    Ok(frame.len() >= FRAME_HEAD_BYTES + payload_bytes)
}

/// A stream whose first bytes are read again.
pub(super) struct Rewind<T> {
    ahead: Bytes,
    io: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewind<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        if self.ahead.is_empty() {
            // Gives the memory back, which the connection would otherwise hold for its life.
            self.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewind<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    fn preface() -> Vec<u8> {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        [MAGIC, &settings[..]].concat()
    }

    #[test]
    fn it_is_complete_with_its_last_byte_and_not_before() {
        let whole = preface();
        for end in 0..whole.len() {
            assert!(!is_complete(&whole[..end]).unwrap(), "{end} bytes");
        }
        assert!(is_complete(&whole).unwrap());
        assert!(is_complete(&[&whole[..], b"more"].concat()).unwrap());
        assert!(is_complete(&[MAGIC, &EMPTY_SETTINGS].concat()).unwrap());
    }

    #[test]
    fn anything_else_is_known_at_the_first_byte_that_differs() {
        let other_frame = [MAGIC, &[0, 0, 0, 1, 0, 0, 0, 0, 1]].concat();
        let too_large = [MAGIC, &[0, 0x40, 1, 4, 0, 0, 0, 0, 0]].concat();
        for bytes in [&b"G"[..], b"POST / HTTP/1.1", b"PRI * HTTP/1", &[0x16, 3, 1], &other_frame, &too_large]
        {
            assert!(matches!(is_complete(bytes), Err(PrefaceError::NotHttp2)), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        let sent = [preface(), b"and the rest".to_vec()].concat();
        let mut stream = read(&sent[..]).await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_reader_with_little_room_gets_all_of_it() {
        let sent = preface();
        let mut stream = read(&sent[..]).await.unwrap();
        let mut received = Vec::new();
        while let Ok(byte) = stream.read_u8().await {
            received.push(byte);
        }
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_peer_that_goes_away_in_the_middle_is_told_apart() {
        assert!(matches!(read(&MAGIC[..10]).await, Err(PrefaceError::Closed)));
    }
}
