//! Work that is begun and given up at once, by the caller or by the server because of the caller.

use super::wire::*;
use super::*;

/// Requests of one attack. Each would be work.
const REQUESTS: u32 = 1_500;

/// What an attack sends for its nth request, and the GOAWAY with which it ends.
type Attack = (&'static str, fn(u32) -> Vec<u8>, u32);

/// CVE-2023-44487: the caller resets.
const RAPID_RESET: [Attack; 3] = [
    (
        "requests that are reset",
        |call| [request(nth(call), END_STREAM), reset(nth(call))].concat(),
        ENHANCE_YOUR_CALM,
    ),
    (
        "requests that are reset before their end",
        |call| [request(nth(call), 0), reset(nth(call))].concat(),
        ENHANCE_YOUR_CALM,
    ),
    (
        "requests that are reset after data",
        |call| {
            let data = frame(DATA, 0, nth(call), &[0, 0, 0, 0, 0]);
            [request(nth(call), 0), data, reset(nth(call))].concat()
        },
        ENHANCE_YOUR_CALM,
    ),
];

/// CVE-2025-8671: the server resets, since the caller breaks a rule of the stream.
const MADE_YOU_RESET: [Attack; 9] = [
    (
        "a window that overflows",
        |call| {
            let update = frame(WINDOW_UPDATE, 0, nth(call), &0x7fff_ffff_u32.to_be_bytes());
            [request(nth(call), 0), update].concat()
        },
        ENHANCE_YOUR_CALM,
    ),
    (
        "a window that grows by nothing",
        |call| [request(nth(call), 0), frame(WINDOW_UPDATE, 0, nth(call), &[0; 4])].concat(),
        PROTOCOL_ERROR,
    ),
    (
        "data after the end",
        |call| [request(nth(call), END_STREAM), frame(DATA, 0, nth(call), b"x")].concat(),
        PROTOCOL_ERROR,
    ),
    (
        "headers after the end",
        |call| [request(nth(call), END_STREAM), request(nth(call), END_STREAM)].concat(),
        PROTOCOL_ERROR,
    ),
    (
        "a stream that depends on itself",
        |call| {
            let own = [&nth(call).to_be_bytes()[..], &[1]].concat();
            [request(nth(call), 0), frame(PRIORITY, 0, nth(call), &own)].concat()
        },
        ENHANCE_YOUR_CALM,
    ),
    (
        "a priority of another length",
        |call| [request(nth(call), 0), frame(PRIORITY, 0, nth(call), &[0; 3])].concat(),
        PROTOCOL_ERROR,
    ),
    (
        "more data than was announced",
        |call| {
            let announced = block(ECHO, &[("content-length", "1")]);
            let data = frame(DATA, END_STREAM, nth(call), b"xyz");
            [frame(HEADERS, END_HEADERS, nth(call), &announced), data].concat()
        },
        ENHANCE_YOUR_CALM,
    ),
    (
        "headers without a path",
        |call| frame(HEADERS, END_HEADERS | END_STREAM, nth(call), &[0x83, 0x86]),
        ENHANCE_YOUR_CALM,
    ),
    (
        "capitals in a name",
        |call| {
            let block = [&block(ECHO, &[])[..], &literal(b"X-Capital", b"1")].concat();
            frame(HEADERS, END_HEADERS | END_STREAM, nth(call), &block)
        },
        PROTOCOL_ERROR,
    ),
];

async fn besiege(attacks: &[Attack]) {
    let siege = Siege::lay().await;
    let mut wrong = Vec::new();
    for (name, attack, code) in attacks {
        let raw = Raw::greet(siege.address(), &[]).await;
        // In pieces of many requests, as one who wants to be fast would.
        let calls: Vec<Vec<u8>> = (0..REQUESTS).map(attack).collect();
        let pieces = calls.chunks(100).map(<[Vec<u8>]>::concat);
        let (_, end) = raw.flood(pieces).await;
        if end.goaway != Some(*code) {
            wrong.push(format!("{name}: {end:?}"));
        }
        siege.is_held(name).await;
        siege.is_over(name).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    siege.lift().await;
}

#[tokio::test]
async fn rapid_reset_ends_its_connection_and_no_other() {
    besiege(&RAPID_RESET).await;
}

#[tokio::test]
async fn made_you_reset_ends_its_connection_and_no_other() {
    besiege(&MADE_YOU_RESET).await;
}

/// Slow enough that each request reaches its handler: then it is a caller who gives up, which is no attack, and each
/// handler has ended when its caller has gone.
#[tokio::test]
async fn resets_one_by_one_leave_no_handler_behind() {
    let siege = Siege::lay().await;
    let bare = siege.server.connect().await;
    let token = rpc_tests::token::token("mallory", &[]);
    let channel = bare.bearer(&token);
    siege.server.books().hold("held");
    for call in 1..=300 {
        let body = rpc_tests::channel::frame(&booking("held"));
        let body = tonic::body::Body::new(http_body_util::Full::new(body));
        let going = AbortOnDropHandle::new(tokio::spawn(channel.send(ECHO, body)));
        siege.server.books().until("held", |entry| entry.started == call).await;
        drop(going);
    }
    siege.server.books().until("held", |entry| entry.stopped == 300).await;
    siege.is_held("resets one by one").await;
    drop((bare, channel));
    siege.server.books().let_go("held");
    siege.is_over("resets one by one").await;
    siege.lift().await;
}
