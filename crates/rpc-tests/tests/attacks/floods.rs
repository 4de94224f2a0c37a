//! Frames by the hundred thousand that cost their sender nothing.

use super::wire::*;
use super::*;

/// A flood of one frame.
struct Flood {
    name: &'static str,
    /// What is said once.
    first: Vec<u8>,
    /// What is said again and again.
    again: Vec<u8>,
    /// How often.
    times: u32,
    /// The GOAWAY with which it ends; NO_ERROR where the connection is only asked to go, since no request came.
    code: u32,
}

const NO_ERROR: u32 = 0;

fn flood(name: &'static str, first: &[u8], again: Vec<u8>, times: u32, code: u32) -> Flood {
    Flood { name, first: first.to_vec(), again, times, code }
}

fn floods() -> Vec<Flood> {
    let begun = request(1, 0);
    let headers = frame(HEADERS, 0, 1, &block(ECHO, &[]));
    let ping = frame(PING, 0, 0, &[7; 8]);
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let empty_settings = frame(SETTINGS, 0, 0, &[]);
    let priority = frame(PRIORITY, 0, 101, &[0, 0, 0, 0, 1]);
    let unknown = frame(0x55, 0, 0, &[0; 20]);
    let more = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
    let empty = frame(DATA, 0, 1, &[]);
    let byte = frame(DATA, 0, 1, &[0]);
    let padded = frame(DATA, 8, 1, &[0]);
    let nothing = frame(CONTINUATION, 0, 1, &[]);
    let some = frame(CONTINUATION, 0, 1, &literal(b"x-more", &[b'x'; 100]));
    let large = frame(CONTINUATION, 0, 1, &literal(b"x-more", &[b'x'; 16_000]));
    vec![
        flood("empty CONTINUATION", &headers, nothing, 100_000, ENHANCE_YOUR_CALM),
        flood("small CONTINUATION", &headers, some, 50_000, ENHANCE_YOUR_CALM),
        flood("large CONTINUATION", &headers, large, 2_000, ENHANCE_YOUR_CALM),
        flood("empty DATA", &begun, empty, 100_000, ENHANCE_YOUR_CALM),
        flood("padded empty DATA", &begun, padded, 100_000, ENHANCE_YOUR_CALM),
        flood("DATA of a byte", &begun, byte, 100_000, ENHANCE_YOUR_CALM),
        flood("SETTINGS", &[], settings, 50_000, NO_ERROR),
        flood("empty SETTINGS", &[], empty_settings, 50_000, NO_ERROR),
        flood("PING", &[], ping, 50_000, NO_ERROR),
        flood("PRIORITY", &[], priority, 50_000, NO_ERROR),
        flood("WINDOW_UPDATE", &[], more, 50_000, NO_ERROR),
        flood("frames that nobody knows", &[], unknown, 50_000, NO_ERROR),
        flood(
            "SETTINGS with an ACK that nobody awaits",
            &[],
            frame(SETTINGS, ACK, 0, &[]),
            10,
            PROTOCOL_ERROR,
        ),
        flood("PING with an ACK that nobody awaits", &[], frame(PING, ACK, 0, &[1; 8]), 50_000, NO_ERROR),
        flood("CONTINUATION of nothing", &[], frame(CONTINUATION, 0, 1, &[]), 10, PROTOCOL_ERROR),
        flood(
            "PUSH_PROMISE",
            &[],
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
            10,
            PROTOCOL_ERROR,
        ),
        flood("DATA of no stream", &[], frame(DATA, 0, 1, b"x"), 10, PROTOCOL_ERROR),
        flood("DATA for the connection", &[], frame(DATA, 0, 0, b"x"), 10, PROTOCOL_ERROR),
        flood(
            "a window of a connection that overflows",
            &[],
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            2,
            FLOW_CONTROL_ERROR,
        ),
        flood(
            "an initial window that is too large",
            &[],
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
            1,
            PROTOCOL_ERROR,
        ),
        flood("a frame over its bound", &begun, frame(DATA, 0, 1, &vec![0; 65 << 10]), 1, FRAME_SIZE_ERROR),
        flood(
            "headers over the bound of a frame",
            &[],
            frame(HEADERS, END_HEADERS, 1, &vec![0; 65 << 10]),
            1,
            FRAME_SIZE_ERROR,
        ),
        flood(
            "an index that HPACK does not have",
            &[],
            frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0x7f]),
            1,
            // RFC 9113 has COMPRESSION_ERROR; h2 says so only of headers that are too long.
            PROTOCOL_ERROR,
        ),
        flood(
            "HPACK that grows",
            &[],
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb()),
            1,
            ENHANCE_YOUR_CALM,
        ),
    ]
}

/// A header of 3,900 bytes in HPACK's table, and 4,000 references of a byte each: 4 KB that mean 16 MB.
fn bomb() -> Vec<u8> {
    let mut entry = literal(b"x-bomb", &[b'x'; 3_900]);
    entry[0] = 0x40;
    [vec![0x83, 0x86], entry, vec![0xbe; 4_000]].concat()
}

impl Flood {
    /// What went wrong, if it did not end as it should.
    async fn pour(self, address: SocketAddr) -> Option<String> {
        let Self { name, first, again, times, code } = self;
        let raw = Raw::greet(address, &[]).await;
        // Some 16 KiB at a time.
        let each = (16_384 / again.len()).clamp(1, times as usize);
        let piece = again.repeat(each);
        let pieces = std::iter::once(first).chain((0..times as usize / each).map(|_| piece.clone()));
        let (taken, end) = raw.flood(pieces).await;
        (end.goaway != Some(code)).then(|| format!("{name}: {taken} bytes, {end:?}"))
    }
}

#[tokio::test]
async fn floods_of_frames_end_their_connection_and_no_other() {
    let hasty = |config: &mut Config| {
        impatient(config);
        // Floods that are no error go on until a connection without a request has had its time.
        config.timeouts.first_request = Duration::from_secs(1);
        config.lifetime.grace = Duration::from_millis(300);
    };
    let siege = Siege::lay_with(hasty, |builder| builder).await;
    let mut wrong = Vec::new();
    for flood in floods() {
        let name = flood.name;
        wrong.extend(flood.pour(siege.address()).await);
        siege.is_held(name).await;
        siege.is_over(name).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    siege.lift().await;
}

/// Whoever asks and does not listen is not listened to: what the server owes is bounded, and so is what it has read.
#[tokio::test]
async fn floods_that_want_answers_and_read_none_are_not_read_on() {
    let siege = Siege::lay().await;
    for (name, again) in
        [("PING", frame(PING, 0, 0, &[7; 8])), ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))]
    {
        let Raw { mut read, mut write } = Raw::greet(siege.address(), &[]).await;
        let piece = again.repeat(1_000);
        let all = 256 << 20;
        let taken = Raw::pour(&mut write, (0..all / piece.len()).map(|_| piece.clone())).await;
        assert!(taken < 64 << 20, "{name}: {taken} bytes were taken");
        siege.is_held(name).await;
        // It answers nothing, and no request has come: its time is over.
        Raw::end(&mut read).await;
        siege.is_over(name).await;
    }
    siege.lift().await;
}

/// 16 KiB of headers are bounded before anything is made of them. The connection lives, until it is plainly abused.
#[tokio::test]
async fn headers_that_are_too_large_are_answered_or_end_their_connection() {
    let siege = Siege::lay().await;
    for (bytes, many, goaway) in
        [(17_000, 1, NO_ERROR), (30_000, 1, NO_ERROR), (16_000, 30, COMPRESSION_ERROR)]
    {
        let raw = Raw::greet(siege.address(), &[]).await;
        let list: Vec<u8> = (0..many).flat_map(|_| literal(b"x-heavy", &vec![b'x'; bytes])).collect();
        let block = [block(ECHO, &[]), list].concat();
        let mut frames = Vec::new();
        for (index, part) in block.chunks(16_384).enumerate() {
            let last = (index + 1) * 16_384 >= block.len();
            let kind = if index == 0 { HEADERS } else { CONTINUATION };
            let flags = if last { END_HEADERS } else { 0 } | if index == 0 { END_STREAM } else { 0 };
            frames.push(frame(kind, flags, 1, part));
        }
        let (_, end) = raw.flood(frames.into_iter()).await;
        assert_eq!(end.goaway, Some(goaway), "{bytes} x {many}: {end:?}");
        let answered = end.frames[usize::from(HEADERS)];
        assert_eq!(answered, u64::from(goaway == NO_ERROR), "{bytes} x {many}: {end:?}");
        siege.is_held("large headers").await;
        siege.is_over("large headers").await;
    }
    siege.lift().await;
}
