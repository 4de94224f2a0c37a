//! Requests that hold secrets where they do not belong, or text that must not come back.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use rpc_proto::pb::session::v1::{
    AbortRequest, OpenRequest, QueryRequest, RenewRequest, ServiceRequest, Unit,
};
use rpc_tests::channel::{Channel, frame};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::session::{Opened, TRANSFER, nonce};
use rpc_tests::soon;

use super::canaries::{INPUT, PAYLOAD};
use super::log::Log;
use super::{chain, token};

const ECHO: &str = "/ledger.v1.TestLedger/Echo";
const STORE: &str = "/vault.v1.Vault/Store";
const OPEN: &str = "/session.v1.SessionService/Open";

pub(crate) async fn send_anything(log: &Log, address: SocketAddr) {
    let bare = Channel::connect(address).await.unwrap();
    let units = [Unit::ExactlyOnce, Unit::Resume, Unit::MinorSynchronize, Unit::Activity].map(i32::from);
    let proposal = OpenRequest { nonce: nonce(), units: units.into(), ..OpenRequest::default() };
    let alice = Opened::propose_with(&bare, &token(Duration::from_secs(600)), proposal).await.unwrap();
    let rotated =
        alice.renew(Some(&token(Duration::from_secs(600))), RenewRequest { rotate_ticket: true }).await;
    log.write("answers", &format!("{:?} {rotated:?}", alice.response));
    let alice = alice.with_ticket(&rotated.unwrap().ticket);

    let message = frame(&TestRequest { id: "x".into(), payload: PAYLOAD.into(), ..TestRequest::default() });
    for (channel, path, body) in requests(&bare, &alice, &message) {
        let text = match soon(path, channel.call_bytes(path, body)).await {
            // A reply's message is its caller's; errors and headers are for everybody.
            Ok(answer) => format!("{:?} {:?} {:?}", answer.headers, answer.trailers, answer.status()),
            // What is far too long is not read to its end.
            Err(error) => chain(&error),
        };
        log.write("answers", &text);
    }
    let query = QueryRequest { slot: 0, sequence: 1, ..QueryRequest::default() };
    log.write("answers", &format!("{:?}", alice.service().query(query).await));
    let abort = AbortRequest { reason: "x".repeat(129) };
    log.write("answers", &format!("{:?}", alice.service().abort(abort).await));
    alice.abort().await;
    let gone = alice.transfer("0.2.0", &TestRequest::default()).await;
    log.write("answers", &format!("{:?}", gone.status()));
}

/// Requests that are wrong, with what they must not hear again.
fn requests(bare: &Channel, alice: &Opened, message: &Bytes) -> Vec<(Channel, &'static str, Bytes)> {
    let canary = INPUT.as_bytes();
    let encoded = STANDARD_NO_PAD.encode(canary.repeat(10));
    let mut all = Vec::new();
    for value in [format!("Bearer {INPUT}"), INPUT.to_owned(), format!("Bearer {INPUT}.{INPUT}.{INPUT}")] {
        all.push((bare.with_header("authorization", value), ECHO, message.clone()));
    }
    let expired = token(Duration::ZERO);
    let other = token(Duration::from_secs(60)) + "x";
    for token in [expired, other] {
        all.push((bare.bearer(&token), ECHO, message.clone()));
        all.push((alice.channel().bearer(&token), TRANSFER, message.clone()));
    }
    for name in ["session", "session-ticket", "session-call", "grpc-timeout", "session-frames"] {
        for path in [ECHO, TRANSFER, STORE] {
            all.push((bare.with_header(name, INPUT), path, message.clone()));
            all.push((alice.channel().with_header(name, INPUT), path, message.clone()));
        }
    }
    for name in ["session-resume-bin", "session-activity-bin"] {
        for value in [INPUT, &encoded] {
            let channel =
                alice.channel_for("1.1.1").with_header("session-frames", "1").with_header(name, value);
            all.push((channel, STORE, message.clone()));
        }
    }
    // Tickets of others, and good ones in the wrong place.
    all.push((alice.with_number(77).channel(), ECHO, message.clone()));
    all.push((alice.with_ticket(&[7; 32]).channel(), ECHO, message.clone()));
    // Bodies: not framed, not decodable, too long, no control frame.
    let framed = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        Bytes::from([&[0][..], &length, bytes].concat())
    };
    let control = framed(&[&[0xfa, 0xff, 0xff, 0xff, 0x0f, canary.len() as u8][..], canary].concat());
    for (slot, body) in
        [(2, Bytes::from(canary)), (3, framed(canary)), (4, framed(&canary.repeat(200_000))), (5, control)]
    {
        let call = format!("{slot}.1.0");
        all.push((alice.channel(), ECHO, body.clone()));
        all.push((alice.channel_for(&call), TRANSFER, body.clone()));
        let call = format!("{}.1.0", slot + 10);
        all.push((alice.channel_for(&call).with_header("session-frames", "1"), STORE, body));
    }
    // A good call, once more with another request, and an opening that asks for what there is not.
    all.push((alice.channel_for("0.1.0"), TRANSFER, message.clone()));
    all.push((alice.channel_for("0.1.1"), TRANSFER, message.clone()));
    all.push((alice.channel_for("0.1.2"), TRANSFER, framed(b"\x0a\x01y")));
    let services = vec![ServiceRequest { name: INPUT.to_owned(), ..ServiceRequest::default() }];
    let strange = OpenRequest { nonce: Bytes::from(canary), services, ..OpenRequest::default() };
    all.push((bare.bearer(&token(Duration::from_secs(60))), OPEN, frame(&strange)));
    all
}
