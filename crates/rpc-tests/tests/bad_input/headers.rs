//! Session headers that are missing, repeated, too long or nonsense.

use http::HeaderMap;
use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::{SESSION, SESSION_CALL, SESSION_TICKET, ticket_value};
use rpc_tests::channel::Channel;
use rpc_tests::session::booking;
use tonic::Code;

use crate::scene::{ECHO, QUERY, Scene, TRANSFER, Told};

const INVALID: Told = (Code::InvalidArgument, Reason::HeaderInvalid, None);
const REPEATED: Told = (Code::InvalidArgument, Reason::HeaderRepeated, None);
const NO_TICKET: Told = (Code::InvalidArgument, Reason::TicketMissing, None);

/// The three headers, in the order given, however often.
fn channel(scene: &Scene, headers: &[(&'static str, &[u8])]) -> Channel {
    headers.iter().fold(scene.bare().clone(), |channel, (name, value)| channel.with_header(name, value))
}

async fn refuses(scene: &Scene, headers: &[(&'static str, &[u8])], told: Told) {
    let name = format!("{headers:?}");
    let channel = channel(scene, headers);
    for path in [ECHO, QUERY] {
        scene.refuses(&format!("{path} {name}"), &channel, path, &booking("bad"), told).await;
    }
    let calls: Vec<_> = headers.iter().filter(|(name, _)| *name == "session-call").collect();
    // No call id, no call; two of them, and nobody knows which attempt was meant.
    let outcome = if calls.len() < 2 { Outcome::NotExecuted } else { Outcome::Unknown };
    scene.refuses(&name, &channel, TRANSFER, &booking("bad"), (told.0, told.1, Some(outcome))).await;
}

//= test W-3
//= test W-7
#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    let scene = Scene::set().await;
    let ticket = ticket_value(&scene.alice.ticket);
    let values: [&[u8]; 14] = [
        b"",
        b"0",
        b"01",
        b"+1",
        b"-1",
        b"1 ",
        b"0x1",
        b"1.0",
        b"1e3",
        b"one",
        b"\xff",
        b"18446744073709551616",
        b"000000000000000000001",
        b"111111111111111111111",
    ];
    for value in values {
        // HTTP strips spaces around a value, so that one is a good number.
        if value != b"1 " {
            refuses(&scene, &[("session", value), ("session-ticket", ticket.as_bytes())], INVALID).await;
        }
    }
}

//= test W-4
//= test W-7
#[tokio::test]
async fn a_ticket_that_is_none_is_refused() {
    let scene = Scene::set().await;
    let number = scene.alice.number.to_string();
    let good = ticket_value(&scene.alice.ticket);
    let good = good.to_str().unwrap();
    let values = [
        String::new(),
        good[..42].to_owned(),
        format!("{good}A"),
        format!("{good}="),
        format!("{}=", &good[..42]),
        format!("+{}", &good[1..]),
        format!("/{}", &good[1..]),
        // Bits beyond the 32 bytes: the same ticket must not have two spellings.
        format!("{}B", &good[..42]),
        "x".repeat(8_000),
    ];
    for value in &values {
        refuses(&scene, &[("session", number.as_bytes()), ("session-ticket", value.as_bytes())], INVALID)
            .await;
    }
}

//= test W-5
//= test W-7
#[tokio::test]
async fn a_call_id_that_is_none_is_refused() {
    let scene = Scene::set().await;
    let values: [&[u8]; 16] = [
        b"",
        b"0",
        b"0.2",
        b"0.2.0.0",
        b"0.0.0",
        b"00.2.0",
        b"0.02.0",
        b"0.2.00",
        b"+0.2.0",
        b"-1.2.0",
        b"0,2,0",
        b"a.2.0",
        b"4294967296.2.0",
        b"0.18446744073709551616.0",
        b"0.2.4294967296",
        b"0000000000000000000000000000000000000.2.0",
    ];
    for value in values {
        let call = scene.alice.channel().with_header("session-call", value);
        let name = format!("{value:?}");
        scene.refuses(&name, &call, ECHO, &booking("bad"), INVALID).await;
        let told = (INVALID.0, INVALID.1, Some(Outcome::Unknown));
        scene.refuses(&name, &call, TRANSFER, &booking("bad"), told).await;
    }
}

//= test W-6
#[tokio::test]
async fn a_repeated_header_is_refused_whatever_it_says() {
    let scene = Scene::set().await;
    let number = scene.alice.number.to_string();
    let ticket = ticket_value(&scene.alice.ticket);
    let (number, ticket): (&[u8], &[u8]) = (number.as_bytes(), ticket.as_bytes());
    let (session, proof): ((_, &[u8]), (_, &[u8])) = (("session", number), ("session-ticket", ticket));
    refuses(&scene, &[session, session, proof], REPEATED).await;
    refuses(&scene, &[session, ("session", b"9"), proof], REPEATED).await;
    refuses(&scene, &[session, proof, proof], REPEATED).await;
    let call: (_, &[u8]) = ("session-call", b"0.2.0");
    refuses(&scene, &[session, proof, call, call], REPEATED).await;
}

//= test W-8
//= test W-9
#[tokio::test]
async fn headers_that_belong_together_come_together() {
    let scene = Scene::set().await;
    let number = scene.alice.number.to_string();
    let ticket = ticket_value(&scene.alice.ticket);
    let (session, proof) = (("session", number.as_bytes()), ("session-ticket", ticket.as_bytes()));
    let call: (_, &[u8]) = ("session-call", b"0.2.0");
    refuses(&scene, &[session], NO_TICKET).await;
    refuses(&scene, &[session, call], NO_TICKET).await;
    // Before anything is looked up: whether there is such a session makes no difference.
    refuses(&scene, &[("session", b"999999")], NO_TICKET).await;
    for alone in [&[proof][..], &[call], &[proof, call]] {
        let token = rpc_tests::token::token("alice", &[]);
        let channel = channel(&scene, alone);
        // Without a number it is no session call, and its token is asked for first.
        let missing = (Code::Unauthenticated, Reason::TokenMissing, None);
        scene.refuses("no token", &channel, ECHO, &booking("bad"), missing).await;
        scene.refuses("with token", &channel.bearer(&token), ECHO, &booking("bad"), INVALID).await;
    }
}

//= test C-25
#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let scene = Scene::set().await;
    for value in ["", "1", "S", "1s", "-1S", "123456789S", "1.5S"] {
        let plain = scene.alice.channel().with_header("grpc-timeout", value);
        scene.refuses(value, &plain, ECHO, &booking("bad"), INVALID).await;
        for (call, outcome) in [("0.2.0", Outcome::NotExecuted), ("0.2.1", Outcome::Unknown)] {
            let protected = scene.alice.channel_for(call).with_header("grpc-timeout", value);
            let told = (Code::InvalidArgument, Reason::HeaderInvalid, Some(outcome));
            scene.refuses(value, &protected, TRANSFER, &booking("bad"), told).await;
        }
    }
    let twice = scene.alice.channel().with_header("grpc-timeout", "1S").with_header("grpc-timeout", "1S");
    scene.refuses("twice", &twice, ECHO, &booking("bad"), INVALID).await;
}

/// What the whole of all headers may weigh is HTTP/2's to bound; the connection lives on.
#[tokio::test]
async fn headers_over_the_bound_of_http2_are_refused_by_it() {
    let scene = Scene::set().await;
    let heavy = scene.alice.channel().with_header("x-heavy", vec![b'x'; 20_000]);
    let refused = rpc_tests::soon("heavy", heavy.send(ECHO, tonic::body::Body::empty())).await;
    if let Ok(response) = refused {
        assert_eq!(response.status(), http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    scene.alice.query(0, 1).await;
    let mut headers = HeaderMap::new();
    for name in [SESSION, SESSION_TICKET, SESSION_CALL] {
        headers.insert(name, "x".repeat(5_000).parse().unwrap());
    }
    scene.refuses("long", &scene.bare().with(headers), ECHO, &booking("bad"), INVALID).await;
}
