//! HTTP/2 by hand: frames that no library would write.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rpc_tests::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes of HTTP/2.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// Longest that an attacker waits for room to write more.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![a, b, c, kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header in HPACK, neither indexed nor compressed.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(text.len(), &mut bytes);
        bytes.extend_from_slice(text);
    }
    bytes
}

/// A number with a prefix of seven bits.
fn length(mut length: usize, bytes: &mut Vec<u8>) {
    if length < 127 {
        bytes.push(length as u8);
        return;
    }
    bytes.push(127);
    length -= 127;
    while length >= 128 {
        bytes.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    bytes.push(length as u8);
}

/// The header block of a gRPC request.
pub(crate) fn block(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` stand in HPACK's own table.
    let mut block = vec![0x83, 0x86];
    block.extend(literal(b":path", path.as_bytes()));
    block.extend(literal(b":authority", b"server"));
    block.extend(literal(b"content-type", b"application/grpc"));
    block.extend(literal(b"te", b"trailers"));
    for (name, value) in headers {
        block.extend(literal(name.as_bytes(), value.as_bytes()));
    }
    block
}

/// A request without its body.
pub(crate) fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(super::ECHO, &[]))
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// The number of the nth request, from 0.
pub(crate) fn nth(call: u32) -> u32 {
    2 * call + 1
}

/// A connection of which one half may be left alone.
pub(crate) struct Raw {
    pub(crate) read: OwnedReadHalf,
    pub(crate) write: OwnedWriteHalf,
}

/// How a connection ended for whoever attacked over it.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// The code of the last GOAWAY.
    pub(crate) goaway: Option<u32>,
    /// Frames that came, by their type.
    pub(crate) frames: [u64; 10],
}

impl Raw {
    /// A connection that has said nothing.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let (read, write) = TcpStream::connect(address).await?.into_split();
        Ok(Self { read, write })
    }

    /// A connection that has said what comes first, with these settings.
    pub(crate) async fn greet(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::connect(address).await.unwrap();
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &settings), &frame(SETTINGS, ACK, 0, &[])].concat();
        raw.write.write_all(&greeting).await.unwrap();
        raw
    }

    /// Writes all of it unless the server does not take it, or ends the connection. Returns how many bytes were taken.
    pub(crate) async fn pour(write: &mut OwnedWriteHalf, pieces: impl Iterator<Item = Vec<u8>>) -> u64 {
        let mut taken = 0;
        for piece in pieces {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                match tokio::time::timeout(PATIENCE, write.write(rest)).await {
                    Ok(Ok(bytes)) if bytes > 0 => (taken, rest) = (taken + bytes as u64, &rest[bytes..]),
                    Ok(_) | Err(_) => return taken,
                }
            }
        }
        taken
    }

    /// Reads until the server has closed the connection, and answers PINGs if told so.
    pub(crate) async fn end(read: &mut OwnedReadHalf) -> End {
        let mut end = End::default();
        let closed = async {
            let mut head = [0; 9];
            while read.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                if read.read_exact(&mut payload).await.is_err() {
                    return;
                }
                if let Some(count) = end.frames.get_mut(usize::from(head[3])) {
                    *count += 1;
                }
                if head[3] == GOAWAY {
                    end.goaway = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                }
            }
        };
        soon("the server closes", closed).await;
        end
    }

    /// Pours and reads at the same time, until the server closes.
    pub(crate) async fn flood(self, pieces: impl Iterator<Item = Vec<u8>>) -> (u64, End) {
        let Self { mut read, mut write } = self;
        tokio::join!(Self::pour(&mut write, pieces), Self::end(&mut read))
    }
}
