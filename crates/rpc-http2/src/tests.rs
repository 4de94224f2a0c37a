//! Bodies and silence between the two ends of one connection.

use std::{
    collections::VecDeque,
    error::Error,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::{
    io::duplex,
    task::JoinHandle,
    time::{Instant, advance, timeout},
};

use super::*;

type BoxError = Box<dyn Error + Send + Sync>;

/// The window of a stream in these tests: HTTP/2's own.
const WINDOW: usize = 65_535;

/// A body of given frames, one of which may be an error. Between them it is asked again.
struct Given(VecDeque<Poll<Result<Frame<Bytes>, BoxError>>>);

impl Given {
    fn new(frames: impl IntoIterator<Item = Poll<Result<Frame<Bytes>, BoxError>>>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for Given {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(Poll::Ready(frame)) => Poll::Ready(Some(frame)),
            Some(Poll::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

fn data(len: usize) -> Poll<Result<Frame<Bytes>, BoxError>> {
    Poll::Ready(Ok(Frame::data(Bytes::from(vec![7; len]))))
}

/// One stream between a client that sends its request body and a server that reads it.
async fn stream() -> (SendStream<Bytes>, RecvStream, impl Sized, server::SendResponse<Bytes>) {
    let (near, far) = duplex(1 << 20);
    let (near, far) = tokio::join!(client::handshake(near), server::handshake(far));
    let (mut sender, connection) = near.unwrap();
    let mut accepting = far.unwrap();
    tokio::spawn(connection);
    let (response, outgoing) = sender.send_request(Request::new(()), false).unwrap();
    let (request, respond) = accepting.accept().await.unwrap().unwrap();
    tokio::spawn(async move {
        let _sender = sender;
        while accepting.accept().await.is_some() {}
    });
    (outgoing, request.into_body(), response, respond)
}

fn send(stream: SendStream<Bytes>, body: Given) -> JoinHandle<Result<(), h2::Error>> {
    tokio::spawn(Outgoing::new(stream, body))
}

#[tokio::test]
async fn a_body_arrives_whole_with_its_trailers() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    for waits in [0, 1] {
        let (outgoing, incoming, _response, _respond) = stream().await;
        let frames = [data(10), data(0), data(20), Poll::Ready(Ok(Frame::trailers(trailers.clone())))];
        let waiting = |frame| std::iter::repeat_with(|| Poll::Pending).take(waits).chain([frame]);
        let sent = send(outgoing, Given::new(frames.into_iter().flat_map(waiting)));
        let whole = Incoming::new(incoming).collect().await.unwrap();
        assert_eq!(whole.trailers(), Some(&trailers));
        assert_eq!(whole.to_bytes().len(), 30);
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_frame_that_is_the_only_one_says_so() {
    let (outgoing, mut incoming, _response, _respond) = stream().await;
    send(outgoing, Given::new([data(20)])).await.unwrap().unwrap();
    assert_eq!(incoming.data().await.unwrap().unwrap().len(), 20);
    assert!(incoming.is_end_stream(), "no frame of its own for the end");
    let (outgoing, mut incoming, _response, _respond) = stream().await;
    send(outgoing, Given::new([])).await.unwrap().unwrap();
    assert!(incoming.data().await.is_none_or(|data| data.unwrap().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn more_than_the_peer_has_room_for_waits_until_it_reads() {
    let (outgoing, incoming, _response, _respond) = stream().await;
    let mut sent = send(outgoing, Given::new([data(WINDOW), data(WINDOW), data(WINDOW)]));
    assert!(timeout(Duration::from_secs(9), &mut sent).await.is_err(), "nobody reads");
    let whole = Incoming::new(incoming).collect().await.unwrap().to_bytes();
    assert_eq!(whole.len(), 3 * WINDOW);
    sent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_body_that_fails_resets_its_stream_with_the_reason_it_gives() {
    let failures = [
        (BoxError::from(h2::Error::from(Reason::CANCEL)), Reason::CANCEL),
        (BoxError::from("of its own"), Reason::INTERNAL_ERROR),
    ];
    for (error, reason) in failures {
        let (outgoing, incoming, _response, _respond) = stream().await;
        let sent = send(outgoing, Given::new([data(10), Poll::Pending, Poll::Ready(Err(error))]));
        let seen = Incoming::new(incoming).collect().await.unwrap_err();
        assert_eq!(seen.reason(), Some(reason));
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_reset_ends_a_body_that_waits_for_its_source_or_for_room() {
    for frames in [vec![data(1)], vec![data(WINDOW), data(1)]] {
        let (outgoing, _incoming, _response, mut respond) = stream().await;
        let forever = http_body_util::StreamBody::new(and_no_end(frames));
        let sent = tokio::spawn(Outgoing::new(outgoing, forever));
        tokio::task::yield_now().await;
        respond.send_reset(Reason::REFUSED_STREAM);
        let error = sent.await.unwrap().unwrap_err();
        assert!(matches!(error.reason(), Some(Reason::REFUSED_STREAM | Reason::STREAM_CLOSED)), "{error:?}");
    }
}

/// The frames, and then nothing more for ever.
fn and_no_end(
    frames: Vec<Poll<Result<Frame<Bytes>, BoxError>>>,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, BoxError>> + Unpin {
    let mut frames = VecDeque::from(frames);
    futures_util::stream::poll_fn(move |_| frames.pop_front().map_or(Poll::Pending, |frame| frame.map(Some)))
}

#[tokio::test]
async fn a_reset_without_an_error_ends_a_response_in_peace() {
    for (reason, fails) in [(Reason::NO_ERROR, false), (Reason::CANCEL, true)] {
        let (near, far) = duplex(1 << 20);
        let (near, far) = tokio::join!(client::handshake::<_>(near), server::handshake(far));
        let (mut sender, connection) = near.unwrap();
        tokio::spawn(connection);
        let mut accepting = far.unwrap();
        tokio::spawn(async move {
            let (_request, mut respond) = accepting.accept().await.unwrap().unwrap();
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"all there is"), false).unwrap();
            // The data leaves before the reset, which would take it back.
            _ = timeout(Duration::from_millis(20), accepting.accept()).await;
            body.send_reset(reason);
            while accepting.accept().await.is_some() {}
        });
        let (response, _outgoing) = sender.send_request(Request::new(()), false).unwrap();
        let mut body = Incoming::new(response.await.unwrap().into_body());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "all there is");
        let end = body.frame().await;
        assert_eq!(end.is_some_and(|end| end.is_err()), fails, "{reason:?}");
    }
}

const INTERVAL: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client's connection whose peer has begun and then does nothing, and what watches it.
async fn silent() -> (Silence, std::sync::Arc<LastHeard>, impl Sized) {
    let (near, far) = duplex(1 << 20);
    let (near, far) = tokio::join!(client::handshake::<_>(near), server::handshake::<_>(far));
    let (sender, mut connection) = near.unwrap();
    let heard = LastHeard::new();
    let silence = Silence::new(INTERVAL, TIMEOUT, heard.clone(), connection.ping_pong().unwrap());
    (silence, heard, (sender, connection, far.unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_for_both_times_is_gone() {
    let (mut silence, _heard, _kept) = silent().await;
    let since = Instant::now();
    poll_fn(|cx| silence.poll_gone(cx)).await;
    assert_eq!(since.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_heard_counts_as_life() {
    let (mut silence, heard, _kept) = silent().await;
    for _ in 0..20 {
        let quiet = timeout(Duration::from_secs(25), poll_fn(|cx| silence.poll_gone(cx))).await;
        assert!(quiet.is_err(), "asked after 20 s, and heard after 25");
        heard.note();
    }
    let since = Instant::now();
    advance(Duration::from_millis(1)).await;
    poll_fn(|cx| silence.poll_gone(cx)).await;
    assert_eq!(since.elapsed().as_secs(), 30);
}
