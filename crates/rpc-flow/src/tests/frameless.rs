//! Callers that know no control frames, and send again from where they were told.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use rpc_core::id::Attempt;
use rpc_core::policy::{Checkpoint, Secure};
use rpc_core::stream::Config;
use rpc_core::stream::error::AttemptError;
use rpc_core::stream::flow::Side;
use rpc_core::stream::position::Position;
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};

use super::link::{Piece, pipe};
use super::typed::{Log, Page, Script, Seen, handler};
use super::{frame, message, run};
use crate::{Ended, Frames, How, NetBody, Stream};

const PAGES: u64 = 20;

/// The request as such a caller sends it.
fn upload() -> Bytes {
    let mut bytes = BytesMut::new();
    for number in 1..=PAGES {
        let page = Page { number, filler: Bytes::from(vec![7; number as usize % 5]) };
        bytes.put_u8(0);
        bytes.put_u32(page.encoded_len() as u32);
        page.encode(&mut bytes).unwrap();
    }
    bytes.freeze()
}

fn config() -> Config {
    let mut config = Config::default();
    config.checkpoint = Some(Checkpoint {
        every_messages: Some(3),
        every_bytes: None,
        every: None,
        secure: Secure::Automatic,
    });
    config
}

/// One connection that sends these bytes, in pieces, and then ends or dies.
fn connect(
    server: &Stream,
    number: u32,
    from: Position,
    bytes: Bytes,
    ends: bool,
) -> (NetBody, JoinHandle<Ended>) {
    let attempt = server.attempt_without_frames(Attempt(number), from).unwrap();
    assert_eq!(attempt.resume(), None);
    let (body, feed) = attempt.split();
    let (to, request) = pipe(1);
    tokio::spawn(async move {
        for piece in bytes.chunks(13) {
            let _ = to.send(Piece::Data(Bytes::copy_from_slice(piece))).await;
        }
        if ends {
            let _ = to.send(Piece::End).await;
        }
    });
    (body, tokio::spawn(feed.run(request)))
}

/// The messages of a response, which ends with OK.
async fn answer(mut body: NetBody) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match frame(&mut body).await.unwrap().unwrap() {
            Ok(data) => all.extend_from_slice(&data),
            Err(trailers) => {
                assert_eq!(trailers["grpc-status"], "0");
                return all;
            }
        }
    }
}

/// The connection dies after every single byte; the caller asks where to go on, or does not ask.
//= test S-29, I9
#[test]
fn an_upload_goes_on_where_it_is_secured_or_from_its_beginning() {
    let upload = upload();
    let (mut secured, pages) = (0, (1..=PAGES).map(Seen::Page).collect::<Vec<_>>());
    for (explicit, asks) in [(false, true), (false, false), (true, true), (true, false)] {
        for bytes in 0..=upload.len() {
            run(async {
                let server = Stream::new(Side::Server, &config());
                let requests = Script::new(0, explicit.then_some(0));
                let log = Log::default();
                let handler =
                    tokio::spawn(handler(server.clone(), [requests, Script::new(1, [])], log.clone()));
                let first = connect(&server, 0, Position::ORIGIN, upload.slice(..bytes), false);
                assert!(matches!(first.1.await.unwrap().how, How::Broken(_)));
                // Until the handler has nothing more to do.
                sleep(Duration::from_millis(1)).await;
                let from = server.resumption().requests.filter(|_| asks);
                let from = from.map_or(Position::ORIGIN, |point| point.position);
                assert!(from.within(server.progress().received));
                secured += from.messages;
                let rest = upload.slice(usize::try_from(from.bytes).unwrap()..);
                let (body, feed) = connect(&server, 1, from, rest, true);
                assert!(answer(body).await.len() > 5);
                assert!(matches!(feed.await.unwrap().how, How::Complete));
                handler.await.unwrap();
                assert_eq!(*log.lock().unwrap(), pages, "after {bytes} bytes");
                let end = server.resumption().requests.expect("all of it is secured");
                assert_eq!(end.position, Position { messages: PAGES, bytes: upload.len() as u64 });
            });
        }
    }
    assert!(secured > 1_000, "{secured} pages were not sent again");
}

//= test S-12, S-29
#[test]
fn a_place_where_no_message_ends_or_that_leaves_a_gap_is_refused() {
    run(async {
        let server = Stream::new(Side::Server, &config());
        let bytes = upload().slice(..100);
        let (_body, feed) = connect(&server, 0, Position::ORIGIN, bytes, false);
        let _ = feed.await;
        let received = server.progress().received;
        assert!(received.messages > 3);
        for from in [
            received.plus(1, 20),
            Position { messages: received.messages, bytes: received.bytes - 1 },
            Position { messages: 1, bytes: 0 },
        ] {
            let refused = server.attempt_without_frames(Attempt(1), from);
            assert!(matches!(refused, Err(AttemptError::Refused(_))), "{from}: {refused:?}");
        }
        assert!(server.attempt_without_frames(Attempt(1), received).is_ok());
        let again = server.attempt_without_frames(Attempt(1), received);
        assert!(matches!(again, Err(AttemptError::Fenced(_))));
    });
}

/// Reading on and taking run at the same time.
//= test S-11
#[test]
fn a_body_that_is_held_back_goes_on_whoever_is_first() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let mut config = config();
    config.window_bytes = 40;
    for _ in 0..300 {
        let call = async {
            let server = Stream::new(Side::Server, &config);
            let handler = tokio::spawn(handler(
                server.clone(),
                [Script::new(0, []), Script::new(1, [])],
                Log::default(),
            ));
            let (body, feed) = connect(&server, 0, Position::ORIGIN, upload(), true);
            assert!(answer(body).await.len() > 5);
            assert!(matches!(feed.await.unwrap().how, How::Complete));
            handler.await.unwrap();
        };
        runtime.block_on(async { timeout(Duration::from_secs(60), call).await }).expect("no end");
    }
}

/// Such a caller has no credit: it is held back by its body not being read.
//= test S-31, S-11
#[test]
fn a_body_is_read_no_further_than_the_window_while_nobody_takes_it() {
    run(async {
        let mut config = config();
        config.window_bytes = 100_000;
        let server = Stream::new(Side::Server, &config);
        let (_body, feed) = server.attempt(Attempt(0), None, Frames::Off).unwrap().split();
        let (to, request) = pipe(1);
        let feed = tokio::spawn(feed.run(request));
        let sender = tokio::spawn(async move {
            for index in 0..100 {
                to.send(Piece::Data(message(index, 9_995))).await.unwrap();
            }
            to.send(Piece::End).await.unwrap();
        });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(server.progress().received.messages, 10);
        assert!(!sender.is_finished());
        let mut body = server.app_body();
        let mut bytes = 0;
        while let Some(next) = frame(&mut body).await {
            bytes += next.unwrap().unwrap().len();
        }
        assert_eq!(bytes, 1_000_000);
        assert!(matches!(feed.await.unwrap().how, How::Complete));
        assert_eq!(server.progress().received_secured.messages, 100);
    });
}
