//! The settings of HTTP/2, frame by frame.

use rpc_server::net::{CloseReason, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::harness::{Client, Server};

/// What a client says first.
pub(crate) const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A SETTINGS frame that changes nothing.
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Types of frames.
pub(crate) const HEADERS: u8 = 1;
const SETTINGS_TYPE: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// `GET /` with END_STREAM and END_HEADERS on `stream`, in HPACK's static table.
pub(crate) fn request(stream: u16) -> Vec<u8> {
    let [high, low] = stream.to_be_bytes();
    vec![0, 0, 3, HEADERS, 5, 0, 0, high, low, 0x82, 0x84, 0x86]
}

/// RST_STREAM with CANCEL.
fn reset(stream: u16) -> Vec<u8> {
    let [high, low] = stream.to_be_bytes();
    vec![0, 0, 4, 3, 0, 0, 0, high, low, 0, 0, 0, 8]
}

/// The payload of the next frame of type `wanted`, if one comes before the end.
pub(crate) async fn frame(stream: &mut DuplexStream, wanted: u8) -> Option<Vec<u8>> {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == wanted {
            return Some(payload);
        }
    }
    None
}

async fn greeted(server: &Server) -> DuplexStream {
    let mut stream = server.connect().await;
    stream.write_all(&[MAGIC, SETTINGS].concat()).await.unwrap();
    stream
}

#[tokio::test(start_paused = true)]
async fn the_limits_are_announced() {
    let server = Server::start(&Config::default());
    let mut stream = greeted(&server).await;
    let settings = frame(&mut stream, SETTINGS_TYPE).await.unwrap();
    let value = |name: u8| {
        let entry = settings.chunks(6).find(|entry| entry[1] == name).unwrap();
        u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]])
    };
    assert_eq!(value(3), 200, "concurrent streams");
    assert_eq!(value(4), 1 << 20, "window of a stream");
    assert_eq!(value(5), 64 << 10, "frame");
    assert_eq!(value(6), 16 << 10, "header list");
    let update = frame(&mut stream, WINDOW_UPDATE).await.unwrap();
    let added = u32::from_be_bytes(update.try_into().unwrap());
    assert_eq!(added + 65_535, 4 << 20, "window of the connection");
}

#[tokio::test(start_paused = true)]
async fn values_that_http2_does_not_have_are_brought_into_its_range() {
    for extreme in [0, u32::MAX] {
        let mut config = Config::default();
        config.http2.frame_bytes_max = extreme;
        config.http2.stream_window_bytes = extreme.max(1 << 16);
        config.http2.connection_window_bytes = extreme.max(1 << 16);
        config.http2.send_buffer_bytes_max = usize::MAX;
        config.http2.keepalive_interval = std::time::Duration::MAX;
        config.http2.keepalive_timeout = std::time::Duration::MAX;
        let server = Server::start(&config);
        Client::start(server.connect().await).await.call("/now").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let server = Server::start(&Config::default());
    let mut stream = greeted(&server).await;
    let flood: Vec<u8> =
        (0..300).flat_map(|call| [request(2 * call + 1), reset(2 * call + 1)].concat()).collect();
    stream.write_all(&flood).await.unwrap();
    let goaway = frame(&mut stream, GOAWAY).await.unwrap();
    assert_eq!(goaway[7], 11, "ENHANCE_YOUR_CALM");
    assert_eq!(server.app.opened()[0].handle().closed().await, CloseReason::Error);
}
