//! Calls that end otherwise than after the last message of both sides.

use std::time::Duration;

use bytes::Bytes;
use rpc_core::error::Reason;
use rpc_core::frame::Head;
use rpc_core::id::Attempt;
use rpc_core::stream::Config;
use rpc_core::stream::error::{AttemptError, StreamError};
use rpc_core::stream::flow::Side;
use rpc_proto::status::Details;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::link::{Piece, pipe};
use super::pair::{Pair, Ready};
use super::{count, frame, message, ok_trailers, run};
use crate::{AppBody, AppEnd, Frames, How, Stream};

/// Everything up to the end of a body, and its error.
async fn drain(body: &mut AppBody) -> (Vec<u8>, Option<Status>) {
    let mut all = Vec::new();
    while let Some(next) = frame(body).await {
        match next {
            Ok(Ok(data)) => all.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(status) => return (all, Some(status)),
        }
    }
    (all, None)
}

fn forever() -> Ready {
    Ready::new((0..1_000).map(|index| message(index, 20_000))).without_end()
}

//= test S-24, W-21
#[test]
fn a_response_that_the_caller_drops_cancels_the_call() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let mut request = pair.server.app_body();
        let caller = pair.client.app_body();
        let client = pair.client.clone();
        let upload =
            tokio::spawn(async move { client.pump_app(Ready::new([message(0, 10)]).without_end()).await });
        assert!(matches!(frame(&mut request).await, Some(Ok(Ok(_)))));
        drop(caller);
        let (_, status) = drain(&mut request).await;
        let status = status.expect("not an end");
        assert_eq!(status.code(), Code::Aborted, "CANCELLED would be an end to tonic");
        assert_eq!(Details::of(&status).reason, Some(Reason::CallCancelled));
        let ended = connected.client.await.unwrap();
        assert!(matches!(ended.how, How::Failed(StreamError::Cancelled)));
        let told = Status::from_header_map(&ended.trailers.expect("the cancel is answered")).unwrap();
        assert_eq!(told.code(), Code::Cancelled);
        assert!(matches!(upload.await.unwrap(), AppEnd::Stopped));
        assert!(matches!(connected.server.await.unwrap().how, How::Failed(_)), "read to its end");
    });
}

//= test W-23, S-22, S-23
#[test]
fn an_upload_that_breaks_off_is_never_complete_to_the_handler() {
    run(async {
        // The caller's own body fails.
        let pair = Pair::new(&Config::default());
        let _connected = pair.connect(0);
        let (to, body) = pipe(1);
        to.send(Piece::Data(message(0, 10))).await.unwrap();
        drop(to);
        assert!(matches!(pair.client.pump_app(body).await, AppEnd::Failed(_)));
        let (_, status) = drain(&mut pair.server.app_body()).await;
        assert_eq!(status.expect("not an end").code(), Code::Aborted);

        // The request ends in order without END, as a proxy might make it, or is lost; and nobody resumes.
        for ends in [true, false] {
            let server = Stream::new(Side::Server, &Config::default());
            let (_body, feed) = server.attempt(Attempt(0), None, Frames::On).unwrap().split();
            let (to, request) = pipe(4);
            to.send(Piece::Data(message(0, 10))).await.unwrap();
            if ends {
                to.send(Piece::End).await.unwrap();
            }
            drop(to);
            let how = feed.run(request).await.how;
            assert!(if ends { matches!(how, How::Short) } else { matches!(how, How::Broken(_)) });
            let mut body = server.app_body();
            assert!(matches!(frame(&mut body).await, Some(Ok(Ok(_)))));
            assert!(timeout(Duration::from_secs(60), frame(&mut body)).await.is_err(), "it may be resumed");
            server.abandon(Status::deadline_exceeded("too late"));
            let (_, status) = drain(&mut body).await;
            assert_eq!(status.expect("not an end").code(), Code::DeadlineExceeded);
        }
    });
}

//= test W-21, W-22
#[test]
fn an_answer_before_the_request_is_whole_ends_the_call_in_order() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let mut response = pair.client.app_body();
        let client = pair.client.clone();
        let upload = tokio::spawn(async move { client.pump_app(forever()).await });
        let mut request = pair.server.app_body();
        assert!(matches!(frame(&mut request).await, Some(Ok(Ok(_)))));
        drop(request);
        let answer = Ready::new([message(7, 70)]).trailers(ok_trailers());
        let AppEnd::Done(Some(trailers)) = pair.server.pump_app(answer).await else { panic!() };
        pair.server.conclude(trailers);
        let ended = connected.client.await.unwrap();
        assert!(matches!(ended.how, How::Complete), "{ended:?}");
        pair.client.conclude(ended.trailers.unwrap());
        let (data, error) = drain(&mut response).await;
        assert_eq!((Bytes::from(data), error.is_none()), (message(7, 70), true));
        assert!(matches!(upload.await.unwrap(), AppEnd::Stopped));
        assert!(matches!(connected.server.await.unwrap().how, How::Complete));
        connected.link.await.unwrap();
    });
}

/// A task of the handler that read on after the answer waited for ever: its caller had the answer, and sent no END.
//= test W-23
#[test]
fn who_reads_the_request_after_the_answer_learns_that_no_more_comes() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let client = pair.client.clone();
        let upload = Ready::new([message(0, 10)]).without_end();
        tokio::spawn(async move { client.pump_app(upload).await });
        let mut request = pair.server.app_body();
        let reading = tokio::spawn(async move { drain(&mut request).await.1 });
        let answer = Ready::new([message(7, 70)]).trailers(ok_trailers());
        let AppEnd::Done(Some(trailers)) = pair.server.pump_app(answer).await else { panic!() };
        pair.server.conclude(trailers);
        let ended = connected.client.await.unwrap();
        pair.client.conclude(ended.trailers.unwrap());
        assert!(matches!(connected.server.await.unwrap().how, How::Complete));
        let status = reading.await.unwrap().expect("never a shorter stream");
        assert_eq!(Details::of(&status).reason, Some(Reason::StreamIncomplete));
        connected.link.await.unwrap();
    });
}

/// Confirmations of an upload travel with responses that nobody reads.
//= test S-25, S-11
#[test]
fn a_reader_that_never_reads_stops_the_data_and_not_the_confirmations() {
    run(async {
        let mut config = Config::default();
        config.window_bytes = 1 << 20;
        let pair = Pair::new(&config);
        let _connected = pair.connect(0);
        let _unread = pair.client.app_body();
        let server = pair.server.clone();
        let _answer = tokio::spawn(async move { server.pump_app(forever()).await });
        let mut request = pair.server.app_body();
        let handler = tokio::spawn(async move { drain(&mut request).await });
        let upload = Ready::new((0..500).map(|index| message(index, 60_000)));
        assert!(matches!(pair.client.pump_app(upload).await, AppEnd::Done(None)));
        let (data, error) = handler.await.unwrap();
        assert_eq!((count(&data), error.is_none()), (500, true));
        let sent = pair.server.progress().sent.bytes;
        assert!(sent > 900_000 && sent <= 1 << 20, "{sent}");
        assert_eq!(pair.client.progress().delivered.bytes, 0);
    });
}

//= test S-14
#[test]
fn an_older_attempt_ends_at_once_at_both_sides() {
    run(async {
        let pair = Pair::new(&Config::default());
        let (mut body, feed) = pair.server.attempt(Attempt(0), None, Frames::On).unwrap().split();
        let (_to, request) = pipe(1);
        let feed = tokio::spawn(feed.run(request));
        let silent = tokio::spawn(async move {
            assert!(matches!(frame(&mut body).await, Some(Ok(Ok(_)))), "its credit");
            let next = frame(&mut body).await;
            (next, frame(&mut body).await)
        });
        sleep(Duration::from_secs(1)).await;
        let resume = rpc_core::stream::resume::Resume::default();
        let newer = pair.server.attempt(Attempt(1), Some(&resume), Frames::On).unwrap();
        assert!(matches!(feed.await.unwrap().how, How::Fenced));
        let (first, then) = silent.await.unwrap();
        assert!(matches!(first, Some(Err(reset)) if reset.attempt == Attempt(0)));
        assert!(then.is_none());
        let again = pair.server.attempt(Attempt(1), Some(&resume), Frames::On);
        assert!(matches!(again, Err(AttemptError::Fenced(_))));
        drop(newer);
        assert_eq!(pair.server.watch().borrow().attempt, None, "its connection is lost");
    });
}

//= test W-19, W-20
#[test]
fn the_head_is_waited_for_and_silence_is_broken() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let client = pair.client.clone();
        let head = tokio::spawn(async move { client.head().await });
        sleep(Duration::from_secs(100)).await;
        assert!(!head.is_finished());
        let expected = Head { entries: vec![(Bytes::from_static(b"name"), Bytes::from_static(b"value"))] };
        pair.server.answer_head(expected.clone());
        assert_eq!(head.await.unwrap(), Some(expected));
        pair.client.abandon(Status::unavailable("the session ended"));
        let mut response = pair.client.app_body();
        assert_eq!(drain(&mut response).await.1.expect("no end").message(), "the session ended");
        let ways = connected.link.await.unwrap();
        assert!((5..8).contains(&ways[0].frames), "one in 20 s: {}", ways[0].frames);
    });
}

#[test]
fn an_error_that_comes_instead_of_an_answer_reaches_the_caller() {
    run(async {
        for code in [Code::PermissionDenied, Code::Ok] {
            let client = Stream::new(Side::Client, &Config::default());
            let (mut body, feed) = client.attempt(Attempt(0), None, Frames::On).unwrap().split();
            let (to, response) = pipe(4);
            let trailers = crate::status::to_trailers(&Status::new(code, "no"));
            to.send(Piece::Trailers(trailers)).await.unwrap();
            to.send(Piece::End).await.unwrap();
            let ended = feed.run(response).await;
            assert!(matches!(ended.how, How::Short));
            assert!(frame(&mut body).await.is_none(), "ended, not reset");
            client.conclude(ended.trailers.unwrap());
            let (_, status) = drain(&mut client.app_body()).await;
            let expected = if code == Code::Ok { Code::Aborted } else { code };
            assert_eq!(status.expect("not an end").code(), expected);
        }
    });
}

/// An HTTP/2 server may stop reading a request that it has answered: then the transport drops the request body while
/// the response is still to be read.
#[test]
fn a_dropped_request_body_is_a_lost_connection_only_when_nothing_more_comes() {
    run(async {
        let trailers = Piece::Trailers(crate::status::to_trailers(&Status::not_found("no")));
        for pieces in [vec![trailers, Piece::End], Vec::new()] {
            let answered = !pieces.is_empty();
            let client = Stream::new(Side::Client, &Config::default());
            let (body, feed) = client.attempt(Attempt(0), None, Frames::On).unwrap().split();
            let (to, response) = pipe(4);
            let feed = tokio::spawn(feed.run(response));
            for piece in pieces {
                to.send(piece).await.unwrap();
            }
            drop(body);
            let ended = feed.await.unwrap();
            assert!(if answered {
                matches!(ended.how, How::Short)
            } else {
                matches!(ended.how, How::Broken(_))
            });
            assert_eq!(client.watch().borrow().attempt, None);
        }
    });
}

/// The other body of the attempt is reset: half a connection is of no use.
#[test]
fn a_dropped_feed_or_response_body_is_a_lost_connection() {
    run(async {
        let server = Stream::new(Side::Server, &Config::default());
        let (mut body, feed) = server.attempt(Attempt(0), None, Frames::On).unwrap().split();
        drop(feed);
        assert!(matches!(frame(&mut body).await, Some(Err(reset)) if reset.attempt == Attempt(0)));

        let server = Stream::new(Side::Server, &Config::default());
        let (body, feed) = server.attempt(Attempt(0), None, Frames::On).unwrap().split();
        let (_to, request) = pipe(1);
        let feed = tokio::spawn(feed.run(request));
        drop(body);
        assert!(matches!(feed.await.unwrap().how, How::Broken(_)));
    });
}

/// A handler whose response body fails: what it gave goes out, and the owner says how it ended.
#[test]
fn a_response_body_that_fails_ends_with_what_its_owner_says() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let (to, body) = pipe(2);
        to.send(Piece::Data(message(0, 10))).await.unwrap();
        drop(to);
        assert!(matches!(pair.server.pump_app(body).await, AppEnd::Failed(_)));
        pair.server.conclude(crate::status::to_trailers(&Status::data_loss("broken")));
        let ended = connected.client.await.unwrap();
        assert!(matches!(ended.how, How::Complete));
        let status = Status::from_header_map(&ended.trailers.unwrap()).unwrap();
        assert_eq!(status.code(), Code::DataLoss);
    });
}

/// A program that knows no control frames.
//= test W-14
#[test]
fn a_caller_without_frames_sees_none_and_its_end_is_an_end() {
    run(async {
        let mut config = Config::default();
        config.window_bytes = 10_000;
        let server = Stream::new(Side::Server, &config);
        let (mut body, feed) = server.attempt(Attempt(0), None, Frames::Off).unwrap().split();
        let (to, request) = pipe(4);
        let feed = tokio::spawn(feed.run(request));
        to.send(Piece::Data(message(0, 10))).await.unwrap();
        to.send(Piece::End).await.unwrap();
        let (data, error) = drain(&mut server.app_body()).await;
        assert_eq!((Bytes::from(data), error.is_none()), (message(0, 10), true));
        assert!(matches!(feed.await.unwrap().how, How::Complete));
        server.answer_head(Head::default());
        let answers: Vec<_> = (0..100).map(|index| message(index, 700)).collect();
        let answer = Ready::new(answers.clone()).trailers(ok_trailers());
        let handler = tokio::spawn({
            let server = server.clone();
            async move {
                let AppEnd::Done(Some(trailers)) = server.pump_app(answer).await else { panic!() };
                server.conclude(trailers);
            }
        });
        let mut written = Vec::new();
        let trailers = loop {
            match frame(&mut body).await.unwrap().unwrap() {
                Ok(data) => written.extend_from_slice(&data),
                Err(trailers) => break trailers,
            }
        };
        assert_eq!((written, trailers), (answers.concat(), ok_trailers()));
        handler.await.unwrap();

        let server = Stream::new(Side::Server, &config);
        let (_body, feed) = server.attempt(Attempt(0), None, Frames::Off).unwrap().split();
        let (to, request) = pipe(4);
        to.send(Piece::Data(message(0, 10).slice(..9))).await.unwrap();
        to.send(Piece::End).await.unwrap();
        assert!(matches!(feed.run(request).await.how, How::Short), "half a message is no end");
    });
}

/// What a peer did wrong is told to the application and to the peer.
#[test]
fn a_peer_that_breaks_the_protocol_is_told_so() {
    run(async {
        let server = Stream::new(Side::Server, &Config::default());
        let (mut body, feed) = server.attempt(Attempt(0), None, Frames::On).unwrap().split();
        let (to, request) = pipe(4);
        let head = rpc_proto::frames::encode(&rpc_core::frame::Frame::Head(Head::default()));
        to.send(Piece::Data(head)).await.unwrap();
        to.send(Piece::End).await.unwrap();
        assert!(matches!(feed.run(request).await.how, How::Failed(StreamError::Violation(_))));
        let trailers = frame(&mut body).await.unwrap().unwrap().unwrap_err();
        let told = Status::from_header_map(&trailers).unwrap();
        assert_eq!(Details::of(&told).reason, Some(Reason::ProtocolViolated));
        let (_, status) = drain(&mut server.app_body()).await;
        assert_eq!(status.expect("not an end").code(), Code::Internal);
    });
}

/// Who waits for the failure of a stream costs it nothing while it goes on, and is told at once.
#[test]
fn a_failure_is_told_to_who_waits_for_it_now_and_later() {
    run(async {
        let pair = Pair::new(&Config::default());
        let waiting = tokio::spawn({
            let server = pair.server.clone();
            async move { server.until_failed().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        pair.server.abandon(Status::aborted("by hand"));
        waiting.await.unwrap();
        pair.server.until_failed().await;
    });
}
