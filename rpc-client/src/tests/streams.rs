//! Streams that are resumed, against a server that speaks the protocol over connections that are cut.

use std::time::Duration;

use futures_util::StreamExt as _;
use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::QueryRequest;
use rpc_proto::status::Refusal;
use tokio::time::timeout;
use tonic::{Code, Request, Response};

use super::fake::QUERY;
use super::stream_server::{
    CHAT, FAILS, PLAIN_FAILS, SILENT, Server, UP, all, chat, down, message, path, stub, up,
};
use super::{NEVER, Raw, event};
use crate::{Event, OutcomeExt as _, ReleaseError, Session, StreamWatch};

fn watch<T>(response: &Response<T>) -> StreamWatch {
    response.extensions().get::<StreamWatch>().unwrap().clone()
}

/// Makes a call of each kind, and returns how often they were resumed.
async fn each_kind(session: &Session, messages: usize) -> u32 {
    let wanted: Vec<_> = (0..messages).map(message).collect();
    let uploaded = up(session, messages).await.unwrap();
    assert_eq!(uploaded.get_ref(), &message(7));
    assert_eq!(uploaded.metadata().get("x-handler").unwrap(), "yes");
    let watch_up = watch(&uploaded);
    assert_eq!(watch_up.sent().messages, messages as u64);
    let downloaded = down(session).await.unwrap();
    assert_eq!(downloaded.metadata().get("x-handler").unwrap(), "yes");
    let watch_down = watch(&downloaded);
    assert_eq!(all(downloaded.into_inner()).await.unwrap(), wanted);
    assert_eq!(watch_down.received().messages, messages as u64);
    let chatted = chat(session, CHAT, messages).await.unwrap();
    let watch_chat = watch(&chatted);
    assert_eq!(all(chatted.into_inner()).await.unwrap(), wanted);
    watch_up.resumes() + watch_down.resumes() + watch_chat.resumes()
}

//= test W-19
#[tokio::test(start_paused = true)]
async fn undisturbed_streams_have_one_attempt_and_leave_their_slot() {
    let server = Server::new(500, [], vec![]);
    let session = server.session().await;
    assert_eq!(each_kind(&session, 500).await, 0);
    assert_eq!(server.calls(), ["0.1.0", "0.2.0", "0.3.0"]);
    session.release().await.unwrap();
}

//= test S-13
//= test S-27
#[tokio::test(start_paused = true)]
async fn cut_streams_go_on_and_nobody_notices() {
    for seed in 1..=20_u64 {
        let cuts = (0..12).map(|turn| 900 + (seed * 7_919 + turn * 104_729) % 30_000);
        let server = Server::new(3_000, cuts, vec![]);
        let session = server.session().await;
        let mut events = session.events();
        let resumes = each_kind(&session, 3_000).await;
        assert!(resumes > 0, "seed {seed}: nothing was cut");
        event(&mut events, |event| matches!(event, Event::StreamResumed(_))).await;
    }
}

//= test S-13
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_wherever_its_connection_is_cut() {
    for cut in (400..6_000).step_by(23) {
        let server = Server::new(100, [cut, cut], vec![]);
        let session = server.session().await;
        each_kind(&session, 100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_as_it_is() {
    let refused = |reason| Refusal::new(reason, "as told").outcome(Outcome::NotExecuted).into_status();
    let server = Server::new(5, [], vec![refused(Reason::ScopeMissing)]);
    let session = server.session().await;
    let status = up(&session, 5).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::ScopeMissing));
    assert_eq!(status.outcome(), Some(Outcome::NotExecuted));
    assert!(status.call().is_some());
    up(&session, 5).await.unwrap();
    assert_eq!(server.calls(), ["0.1.0", "0.1.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_asks_for_another_try_gets_it() {
    let refused = Refusal::new(Reason::TransportLost, "later").outcome(Outcome::NotExecuted).into_status();
    let server = Server::new(5, [], vec![refused]);
    let session = server.session().await;
    up(&session, 5).await.unwrap();
    assert_eq!(server.calls(), ["0.1.0", "0.1.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_handlers_error_before_any_message_is_the_calls() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let status = chat(&session, FAILS, 5).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such thing"));
    assert_eq!(status.outcome(), Some(Outcome::Done));
    // The slot is free at once.
    up(&session, 5).await.unwrap();
    assert_eq!(server.calls(), ["0.1.0", "0.2.0"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_stream_without_a_promise_has_its_outcome_too() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let status = chat(&session, PLAIN_FAILS, 5).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::NotFound, Some(Outcome::Done)));
    assert!(status.call().is_some());
}

//= test S-24
#[tokio::test(start_paused = true)]
async fn a_dropped_response_cancels_and_its_slot_is_settled() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let mut events = session.events();
    let stream = chat(&session, SILENT, 5).await.unwrap();
    drop(stream);
    server.stream_is(|view| view.failed == Some(rpc_core::stream::error::StreamError::Cancelled)).await;
    event(&mut events, |event| matches!(event, Event::CallSettled(_))).await;
    let query: QueryRequest = server.session_service().seen(QUERY)[0].parse();
    assert_eq!((query.settle, query.cancel), (true, true));
}

//= test S-24
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_its_head_is_cancelled() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let mut events = session.events();
    let requests = Request::new(tokio_stream::pending::<Vec<u8>>());
    let mut stub = stub(&session);
    let calling = stub.client_streaming(requests, path(UP), Raw);
    let _ = timeout(Duration::from_secs(1), calling).await.unwrap_err();
    event(&mut events, |event| matches!(event, Event::CallSettled(_))).await;
    server.stream_is(|view| view.failed.is_some()).await;
}

//= test C-43
#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_stream_and_its_resumes() {
    let server = Server::new(5, (0..1_000).map(|_| 2_000), vec![]);
    let session = server.session().await;
    let mut request = Request::new(tokio_stream::pending::<Vec<u8>>());
    request.set_timeout(Duration::from_secs(30));
    let response = stub(&session).streaming(request, path(SILENT), Raw).await.unwrap();
    let status = all(response.into_inner()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.outcome(), Some(Outcome::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_ends_its_streams_truthfully() {
    let gone = Refusal::new(Reason::SessionUnknown, "forgotten").outcome(Outcome::NotExecuted).into_status();
    let server = Server::new(5, [2_000], vec![]);
    let session = server.session().await;
    let response = chat(&session, SILENT, 5).await.unwrap();
    server.refuse(gone);
    let status = all(response.into_inner()).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::SessionUnknown));
    assert_eq!(status.outcome(), Some(Outcome::Unknown));
}

//= test W-21
#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_request_costs_no_connection() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    for _ in 0..2_000 {
        let requests = Request::new(tokio_stream::iter([message(0)]).chain(tokio_stream::pending()));
        let calling = stub(&session).streaming(requests, path(FAILS), Raw).await;
        assert_eq!(calling.unwrap_err().code(), Code::NotFound);
    }
    assert!(server.calls().iter().all(|call| call.ends_with(".0")), "a connection was lost");
}

#[tokio::test(start_paused = true)]
async fn a_released_session_leaves_no_task_of_a_stream_behind() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let response = chat(&session, SILENT, 5).await.unwrap();
    let released = timeout(NEVER, session.release()).await.expect("the release hangs");
    assert!(matches!(released, Err(ReleaseError::Aborted)), "{released:?}");
    let status = all(response.into_inner()).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::SessionEnded));
    assert_eq!(status.outcome(), Some(Outcome::Unknown));
}

//= test S-25
#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_holds_the_sender_within_the_window_and_keeps_its_slot() {
    let messages = 100_000;
    let server = Server::new(messages, [50_000, 50_000], vec![]);
    let session = server.session().await;
    let response = down(&session).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let ahead = watch(&response).received().messages;
    assert!(ahead < messages as u64 / 2, "{ahead} messages were kept for nobody");
    let waiting = timeout(Duration::from_secs(1), up(&session, 5)).await;
    assert!(waiting.is_err(), "the slot of a call that is still read was given out");
    assert_eq!(all(response.into_inner()).await.unwrap().len(), messages);
}
