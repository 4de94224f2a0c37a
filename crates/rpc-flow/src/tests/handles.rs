//! What happens at the edges of the form with sync points.

use std::error::Error;

use bytes::Bytes;
use rpc_core::error::Reason;
use rpc_core::frame::STATE_BYTES_MAX;
use rpc_core::id::Attempt;
use rpc_core::policy::Secure;
use rpc_core::stream::flow::Side;
use rpc_core::stream::secured::{Resumption, Secured};
use rpc_core::stream::{Config, POINTS_UNCONFIRMED_MAX};
use rpc_proto::status::Details;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream as Messages, StreamExt as _};
use tonic::{Code, Status};

use super::pair::{Pair, Ready};
use super::typed::{
    Log, Page, Script, Seen, handler, read_plain, request_body, request_of, response_of, sent_state,
};
use super::{frame, run};
use crate::{AppEnd, Checkpointed, Checkpoints, Frames, Item, Outgoing, Reset, Stream};

fn page(number: u64) -> Outgoing<Page> {
    Outgoing::Message(Page { number, filler: Bytes::from_static(b"page") })
}

fn point(state: &'static [u8]) -> Outgoing<Page> {
    Outgoing::SyncPoint(Bytes::from_static(state))
}

fn too_long() -> Bytes {
    vec![b'x'; STATE_BYTES_MAX + 1].into()
}

/// Uploads these items, with a handle that is bound to the client's stream. A task of their own reads them.
fn upload(pair: &Pair, items: impl Messages<Item = Outgoing<Page>> + Send + 'static) -> JoinHandle<AppEnd> {
    let checkpoints = Checkpoints::new();
    checkpoints.bind(&pair.client);
    let mut messages = checkpoints.outgoing(items);
    let (to, pages) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(page) = messages.next().await {
            let _ = to.send(page).await;
        }
    });
    let client = pair.client.clone();
    tokio::spawn(async move { client.pump_app(request_body(ReceiverStream::new(pages), None)).await })
}

/// A handler that is to secure points and does not know of them: it would wait for ever where the window is full.
#[test]
fn a_handler_that_ignores_the_points_is_told_so() {
    run(async {
        let mut config = Config::default();
        config.secure = Secure::Explicit;
        let pair = Pair::new(&config);
        let _connected = pair.connect(0);
        let _upload = upload(&pair, tokio_stream::iter([page(1), page(2), point(b""), page(3)]));
        let log = Log::default();
        let mut request = request_of(&pair.server, None);
        for number in [1, 2] {
            assert_eq!(request.message().await.unwrap().unwrap().number, number);
        }
        let status = read_plain(request, log.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(Details::of(&status).reason, Some(Reason::CheckpointsIgnored));
        assert!(log.lock().unwrap().is_empty());
        assert_eq!(pair.client.resumption(), Resumption::default(), "nothing is secured");
    });
}

/// One that makes up its mind before the first point is in time.
#[test]
fn messages_may_be_read_before_the_points_are_asked_for() {
    run(async {
        let mut config = Config::default();
        config.secure = Secure::Explicit;
        let pair = Pair::new(&config);
        let _connected = pair.connect(0);
        let _upload = upload(&pair, tokio_stream::iter([page(1), page(2), point(b"two"), page(3)]));
        let mut request = request_of(&pair.server, None);
        assert_eq!(request.message().await.unwrap().unwrap().number, 1);
        let mut request = Checkpointed::new(request, &Checkpoints::of_stream(&pair.server)).unwrap();
        assert!(matches!(request.next().await.unwrap(), Some(Item::Message(page)) if page.number == 2));
        let Some(Item::SyncPoint(point)) = request.next().await.unwrap() else { panic!() };
        assert_eq!((point.position().messages, &point.state()[..]), (2, &b"two"[..]));
        assert!(matches!(request.next().await.unwrap(), Some(Item::Message(page)) if page.number == 3));
    });
}

/// Whatever polls the body between tonic and the application: it gets nothing past the point, and the point stays.
#[test]
fn a_body_that_is_polled_at_a_point_gives_nothing_until_the_point_was_taken() {
    run(async {
        let pair = Pair::new(&Config::default());
        let _connected = pair.connect(0);
        let _upload = upload(&pair, tokio_stream::iter([page(1), point(b"one"), page(2), point(b"two")]));
        let reading = Checkpoints::of_stream(&pair.server);
        let shared = &reading.stream().unwrap().shared;
        shared.with(|state| {
            state.flow.secure_explicitly();
            state.gate.attend();
        });
        let mut body = pair.server.app_body();
        assert!(matches!(frame(&mut body).await, Some(Ok(Ok(_)))));
        for _ in 0..3 {
            assert!(timeout(Duration::from_secs(1), frame(&mut body)).await.is_err());
        }
        let one = shared.with(|state| state.gate.take()).unwrap();
        assert_eq!(&one.state[..], b"one");
        assert!(matches!(frame(&mut body).await, Some(Ok(Ok(_)))));
    });
}

//= test S-33
#[test]
fn a_sender_of_too_many_points_waits_until_some_are_confirmed() {
    run(async {
        let pair = Pair::new(&Config::default());
        let _connected = pair.connect(0);
        let points = u64::try_from(POINTS_UNCONFIRMED_MAX).unwrap() + 100;
        let script = Script::new(points, 1..=points);
        let seen = script.seen();
        let (asked, mut asks) = mpsc::unbounded_channel();
        let items = tokio_stream::iter(0..2 * points).map(move |index| {
            asked.send(index).unwrap();
            match index % 2 {
                0 => page(index / 2 + 1),
                _ => Outgoing::SyncPoint(sent_state(usize::try_from(index / 2).unwrap())),
            }
        });
        let upload = upload(&pair, items);
        sleep(Duration::from_secs(1)).await;
        let most = 2 * POINTS_UNCONFIRMED_MAX + 2;
        assert!(asks.len() <= most, "{} items", asks.len());
        assert!(!upload.is_finished());
        let log = Log::default();
        let server = pair.server.clone();
        let handler = tokio::spawn(handler(server, [script, Script::new(1, [])], log.clone()));
        assert!(matches!(upload.await.unwrap(), AppEnd::Done(None)));
        handler.await.unwrap();
        assert_eq!(*log.lock().unwrap(), seen);
        asks.close();
    });
}

/// An end of the messages would be taken for the end of the request.
#[test]
fn a_state_that_is_too_long_fails_a_clients_call_and_never_ends_it_in_order() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let mut request = request_of(&pair.server, None);
        let items = [page(1), Outgoing::SyncPoint(too_long()), page(2)];
        let _upload = upload(&pair, tokio_stream::iter(items));
        let failed = loop {
            match request.message().await {
                Ok(Some(page)) => assert_eq!(page.number, 1),
                Ok(None) => panic!("ended in order"),
                Err(status) => break status,
            }
        };
        assert_eq!(Details::of(&failed).reason, Some(Reason::CallCancelled));
        let failure = pair.client.failure().unwrap();
        assert_eq!(failure.code(), Code::Internal);
        assert!(failure.message().contains("65537 bytes"), "{failure}");
        let _ = connected.client.await;
    });
}

#[test]
fn a_handler_gets_its_mistakes_as_errors_of_its_response() {
    run(async {
        let pair = Pair::new(&Config::default());
        let bound = Checkpoints::of_stream(&pair.server);
        let items = [Ok(page(1)), Err(Status::data_loss("own")), Ok(Outgoing::SyncPoint(too_long()))];
        let mut response = bound.outgoing_results(tokio_stream::iter(items));
        assert_eq!(response.next().await.unwrap().unwrap().number, 1);
        assert_eq!(response.next().await.unwrap().unwrap_err().message(), "own");
        assert_eq!(response.next().await.unwrap().unwrap_err().code(), Code::Internal);
        assert!(response.next().await.is_none());

        let plain = Checkpoints::new();
        let mut response = plain.outgoing_results(tokio_stream::iter([Ok(page(1)), Ok(point(b""))]));
        assert!(response.next().await.unwrap().is_ok());
        let status = response.next().await.unwrap().unwrap_err();
        assert_eq!(Details::of(&status).reason, Some(Reason::CheckpointsRequired));
        let refused = Checkpointed::new(request_of(&pair.server, None), &plain).unwrap_err();
        assert_eq!(Details::of(&refused).reason, Some(Reason::CheckpointsRequired));
    });
}

/// Over a channel that knows no checkpoints nothing is ever said to be secured. In a session the points would be missed.
#[test]
fn points_before_the_call_go_nowhere_and_a_checkpointed_call_that_begins_then_fails() {
    run(async {
        let checkpoints = Checkpoints::new();
        let messages = checkpoints.outgoing(tokio_stream::iter([page(1), point(b"lost"), page(2)]));
        assert_eq!(messages.map(|page| page.number).collect::<Vec<_>>().await, [1, 2]);
        assert_eq!(checkpoints.progress(), Default::default());
        let late = Stream::new(Side::Client, &Config::default());
        assert!(checkpoints.bind(&late));
        let failure = late.failure().unwrap();
        assert_eq!(Details::of(&failure).reason, Some(Reason::CheckpointsRequired));
    });
}

#[test]
fn whoever_waits_for_a_call_hears_when_it_begins_and_when_it_never_will() {
    run(async {
        let stream = Stream::new(Side::Client, &Config::default());
        let checkpoints = Checkpoints::new();
        let request = checkpoints.request(());
        let waiting = tokio::spawn({
            let checkpoints = checkpoints.clone();
            async move { checkpoints.started().await.map(|watch| watch.resumes()) }
        });
        sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished() && checkpoints.watch().is_none());
        let handle = request.extensions().get::<Checkpoints>().unwrap().clone();
        assert!(handle.bind(&stream));
        assert!(!handle.bind(&Stream::new(Side::Client, &Config::default())), "one handle is for one call");
        drop((request, handle));
        assert_eq!(waiting.await.unwrap(), Some(0));
        assert!(checkpoints.started().await.is_some());

        let refused = Checkpoints::of_activity("nightly", None);
        let request = refused.request(());
        let waiting = tokio::spawn({
            let refused = refused.clone();
            async move { refused.started().await.is_none() }
        });
        sleep(Duration::from_secs(1)).await;
        drop(request);
        assert!(waiting.await.unwrap());
    });
}

/// What came before the end of a stream may still be read, but nobody will count it as secured.
#[test]
fn a_point_of_a_stream_that_is_over_cannot_be_secured() {
    run(async {
        let pair = Pair::new(&Config::default());
        let _connected = pair.connect(0);
        let items = tokio_stream::iter([page(1), point(b"one"), page(2), point(b"two")]);
        let _upload = upload(&pair, items.chain(tokio_stream::pending()));
        let checkpoints = Checkpoints::of_stream(&pair.server);
        let mut request = Checkpointed::new(request_of(&pair.server, None), &checkpoints).unwrap();
        let early = request.trailers().await.unwrap_err();
        assert_eq!(early.code(), Code::FailedPrecondition);
        assert!(matches!(request.next().await, Ok(Some(Item::Message(_)))));
        let Ok(Some(Item::SyncPoint(one))) = request.next().await else { panic!() };
        let long = one.secure(too_long()).await.unwrap_err();
        assert_eq!(long.code(), Code::Internal);
        assert!(matches!(request.next().await, Ok(Some(Item::Message(_)))));
        let Ok(Some(Item::SyncPoint(two))) = request.next().await else { panic!() };
        pair.server.abandon(Status::aborted("taken over"));
        assert_eq!(two.secure("stored").await.unwrap_err().message(), "taken over");
        assert_eq!(pair.server.resumption(), Resumption::default());
        assert_eq!(request.next().await.unwrap_err().message(), "taken over");
    });
}

/// A point that is dropped is secured with the next one; the last of all is the stream's own.
#[test]
fn a_caller_reads_points_and_then_the_answers_metadata() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let (client, server) = (pair.client.clone(), pair.server.clone());
        let _request = tokio::spawn(async move { client.pump_app(Ready::new([])).await });
        let scripts = [Script::new(0, []), Script::new(6, [2, 4])];
        let handler = tokio::spawn(handler(server, scripts, Log::default()));
        let mut checkpoints = Checkpoints::new();
        checkpoints.bind(&pair.client);
        checkpoints = checkpoints.clone();
        let response = response_of(&pair.client, None);
        let mut response = Checkpointed::new(response, &checkpoints).unwrap();
        assert_eq!(response.resumed(), None);
        let concluding = tokio::spawn(async move {
            let ended = connected.client.await.unwrap();
            let mut trailers = ended.trailers.unwrap();
            trailers.insert("note", "read".parse().unwrap());
            trailers
        });
        let mut seen = Vec::new();
        let client = pair.client.clone();
        tokio::spawn(async move { client.conclude(concluding.await.unwrap()) });
        while let Some(item) = response.next().await.unwrap() {
            seen.push(match item {
                Item::Message(page) => Seen::Page(page.number),
                Item::SyncPoint(point) if point.position().messages == 2 => Seen::Point(2),
                Item::SyncPoint(point) => {
                    let messages = point.position().messages;
                    point.secure("").await.unwrap();
                    Seen::Point(messages)
                }
            });
        }
        let mut expected: Vec<_> = (1..=6).map(Seen::Page).collect();
        expected.insert(2, Seen::Point(2));
        expected.insert(5, Seen::Point(4));
        expected.push(Seen::Point(6));
        assert_eq!(seen, expected);
        assert_eq!(response.trailers().await.unwrap().unwrap().get("note").unwrap(), "read");
        assert_eq!(response.progress().received_secured.messages, 6);
        handler.await.unwrap();
    });
}

#[test]
fn debug_shows_neither_states_nor_messages() {
    run(async {
        let secret = Bytes::from_static(b"hush");
        let state = format!("{secret:?}");
        let secured =
            Secured { sender_state: secret.clone(), receiver_state: secret.clone(), ..secured().await };
        let resumption = Resumption { requests: Some(secured.clone()), responses: Some(secured) };
        let checkpoints = Checkpoints::of_activity(secret.clone(), Some(resumption.clone()));
        let server = Stream::resumed(Side::Server, &Config::default(), &resumption);
        let reading = Checkpointed::new(request_of(&server, None), &Checkpoints::of_stream(&server)).unwrap();
        let page = Page { number: 1, filler: secret.clone() };
        assert!(Checkpoints::of_stream(&server).resumed().is_some());
        server.pump_app(Ready::new([super::message(104, 30)])).await;
        let attempt = server.attempt(Attempt(0), None, Frames::On).unwrap();
        let (mut body, feed) = attempt.split();
        let _ = frame(&mut body).await;
        let shown = format!(
            "{checkpoints:?} {reading:?} {body:?} {feed:?} {:?} {:?} {:?} {:?} {:?}",
            checkpoints.resumed().unwrap(),
            Outgoing::<Page>::SyncPoint(secret.clone()),
            Outgoing::Message(page.clone()),
            Item::Message(page),
            server,
        );
        assert_eq!(checkpoints.resumed().unwrap().state(), &secret);
        assert_eq!(checkpoints.resumed_incoming().unwrap().peer_state(), &secret);
        for hidden in [&state, "hush", "hhhh", &format!("{:?}", secret.to_vec())] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    });
}

/// It would take the rest of an upload for the whole, or begin a download again where its caller goes on.
//= test S-36
#[test]
fn a_handler_that_does_not_ask_where_it_goes_on_is_told_so() {
    run(async {
        let at = secured().await;
        let ignored = |status: &Status| Details::of(status).reason == Some(Reason::CheckpointsIgnored);
        let requests = Resumption { requests: Some(at.clone()), responses: None };
        let server = Stream::resumed(Side::Server, &Config::default(), &requests);
        let status = request_of(&server, None).message().await.unwrap_err();
        assert!(ignored(&status), "{status:?}");
        let server = Stream::resumed(Side::Server, &Config::default(), &requests);
        let checkpoints = Checkpoints::of_stream(&server);
        assert!(checkpoints.resumed().is_none(), "of the other direction");
        assert!(ignored(&request_of(&server, None).message().await.unwrap_err()));
        let server = Stream::resumed(Side::Server, &Config::default(), &requests);
        assert!(Checkpoints::of_stream(&server).resumed_incoming().is_some());
        let mut asked = request_of(&server, None);
        assert!(timeout(Duration::from_millis(1), asked.message()).await.is_err(), "it waits");

        let responses = Resumption { requests: None, responses: Some(at) };
        let answer = || Ready::new([super::message(104, 30)]);
        let server = Stream::resumed(Side::Server, &Config::default(), &responses);
        assert!(matches!(server.pump_app(answer()).await, AppEnd::Stopped));
        assert!(ignored(&server.failure().unwrap()));
        let server = Stream::resumed(Side::Server, &Config::default(), &responses);
        assert!(Checkpoints::of_stream(&server).resumed().is_some());
        assert!(matches!(server.pump_app(answer()).await, AppEnd::Done(_)));
    });
}

/// Some point that was secured.
async fn secured() -> Secured {
    let pair = Pair::new(&Config::default());
    let _connected = pair.connect(0);
    let _upload = upload(&pair, tokio_stream::iter([page(1), point(b"one")]));
    let mut request = request_of(&pair.server, None);
    assert!(request.message().await.unwrap().is_some());
    assert!(request.message().await.unwrap().is_none());
    pair.server.resumption().requests.unwrap()
}

/// Both ends ask the causes of a body's error for the reason of the reset, behind the status that tonic makes of it.
#[test]
fn an_attempt_that_is_over_is_reset_with_cancel() {
    let reset = Reset { attempt: Attempt(3) };
    assert_eq!(reset.to_string(), "attempt 3 is over");
    let status = Status::from_error(Box::new(reset));
    let mut cause: Option<&(dyn Error + 'static)> = Some(&status);
    let reason = loop {
        let error = cause.expect("one of the causes is of HTTP/2");
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            break error.reason();
        }
        cause = error.source();
    };
    assert_eq!(reason, Some(h2::Reason::CANCEL));
}
