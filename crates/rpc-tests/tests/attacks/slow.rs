//! Peers that take nothing, or give a byte at a time.

use rpc_core::error::Reason;
use rpc_tests::session::proposal;
use tokio::io::AsyncWriteExt as _;
use tonic::Code;

use super::wire::*;
use super::*;

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;
/// Calls of one connection.
const CALLS: u32 = 150;

/// Nobody reads the replies, and nobody says so. The calls have their time, and then nothing of them is left.
#[tokio::test]
async fn replies_that_nobody_gives_room_to_are_given_up_with_their_calls() {
    let siege = Siege::lay().await;
    let token = rpc_tests::token::token("mallory", &[]);
    let wanted = rpc_tests::pb::ledger::v1::TestRequest { reply_bytes: 200_000, ..booking("large") };
    let body = rpc_tests::channel::frame(&wanted);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &bearer[..]), ("grpc-timeout", "2S")];
    let mut raw = Raw::greet(siege.address(), &[(INITIAL_WINDOW, 0)]).await;
    for call in 0..CALLS {
        let head = frame(HEADERS, END_HEADERS, nth(call), &block(ECHO, &headers));
        raw.write.write_all(&[head, frame(DATA, END_STREAM, nth(call), &body)].concat()).await.unwrap();
    }
    siege.server.books().until("large", |entry| entry.booked == u64::from(CALLS)).await;
    siege.is_held("zero windows").await;
    // It does not answer a PING either, and is given up.
    let end = Raw::end(&mut raw.read).await;
    assert_eq!(end.frames[usize::from(DATA)], 0, "there was no room for a byte: {end:?}");
    siege.is_over("zero windows").await;
    siege.lift().await;
}

/// As above, but whoever does it answers each PING, so that the connection looks alive. The deadlines of the calls do not
/// end them: HTTP/2 asks for the rest of a reply when there is room for it, and not before. What does is the age of the
/// connection, with its grace; up to then it has its streams at a time, each with the reply that it was given.
#[tokio::test]
async fn replies_that_nobody_gives_room_to_end_with_the_age_of_their_connection() {
    let siege = Siege::lay_with(
        |config| {
            impatient(config);
            config.lifetime.age = Duration::from_secs(4);
            config.lifetime.age_jitter_percent = 0;
        },
        |builder| builder,
    )
    .await;
    let token = rpc_tests::token::token("mallory", &[]);
    let (requests, connection) = {
        let io = tokio::net::TcpStream::connect(siege.address()).await.unwrap();
        h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(io).await.unwrap()
    };
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let wanted = rpc_tests::pb::ledger::v1::TestRequest { reply_bytes: 200_000, ..booking("large") };
    let body = rpc_tests::channel::frame(&wanted);
    let mut responses = Vec::new();
    for _ in 0..CALLS {
        let request = http::Request::post(format!("http://server{ECHO}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {token}"))
            .header("grpc-timeout", "2S")
            .body(())
            .unwrap();
        let (response, mut stream) =
            requests.clone().ready().await.unwrap().send_request(request, false).unwrap();
        stream.send_data(body.clone(), true).unwrap();
        responses.push(response);
    }
    let mut bodies = Vec::new();
    for response in responses {
        bodies.push(soon("a head", response).await.unwrap().into_body());
    }
    siege.is_held("zero windows").await;
    // Nobody lets go here: it is the server that does.
    let _ = soon("the connection ends", connection).await;
    siege.is_over("zero windows").await;
    drop((bodies, requests));
    siege.lift().await;
}

/// Requests of which a byte comes now and then are never admitted, and their deadline ends them.
#[tokio::test]
async fn bodies_that_come_a_byte_at_a_time_are_never_admitted_and_end_in_time() {
    let siege = Siege::lay().await;
    let mallory = Opened::propose(&siege.server.connect().await, "mallory", proposal()).await.unwrap();
    let body = rpc_tests::channel::frame(&booking("slow"));
    let mut calls = Vec::new();
    for slot in 0..60 {
        let channel = mallory.channel_for(&format!("{slot}.1.0")).with_header("grpc-timeout", "3S");
        let call = channel.withhold(rpc_tests::session::TRANSFER);
        call.give(body.slice(..1)).await;
        calls.push(call);
    }
    // A byte each, once in a while; the last one never comes.
    for at in 1..6 {
        for call in &calls {
            call.give(body.slice(at..=at)).await;
        }
        siege.good.calls(GOOD_CALLS_MIN).await;
    }
    siege.is_held("slow bodies").await;
    for call in calls {
        let answer = call.answer().await;
        let told = (answer.status().code(), answer.reason());
        assert_eq!(told, (Code::DeadlineExceeded, Some(Reason::DeadlineExceeded)));
    }
    assert_eq!(siege.server.books().entry("slow").started, 0);
    // Their sequences are unused.
    mallory.transfer("0.1.0", &booking("whole")).await.message::<TestReply>();
    drop(mallory);
    siege.is_over("slow bodies").await;
    siege.lift().await;
}

/// The same below HTTP/2: a frame of which a byte comes at a time is not a call, and its connection has no more time than
/// any other.
#[tokio::test]
async fn frames_that_come_a_byte_at_a_time_buy_no_time() {
    let siege = Siege::lay().await;
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(Raw::greet(siege.address(), &[]).await);
    }
    let whole = request(1, 0);
    let (mut ended, mut at) = (0, 0);
    soon("all are closed", async {
        while ended < crowd.len() {
            ended = 0;
            for raw in &mut crowd {
                // Never the last byte.
                let byte = whole[at % (whole.len() - 1)];
                ended += usize::from(at >= whole.len() - 1 || raw.write.write_all(&[byte]).await.is_err());
            }
            at += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    siege.is_held("slow frames").await;
    for mut raw in crowd {
        Raw::end(&mut raw.read).await;
    }
    siege.is_over("slow frames").await;
    siege.lift().await;
}
