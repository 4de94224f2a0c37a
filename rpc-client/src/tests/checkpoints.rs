//! Streams whose points the program sees: its own before and during the call, and those of responses.

use std::time::Duration;

use futures_util::StreamExt as _;
use rpc_core::error::{Outcome, Reason};
use rpc_core::negotiate::Unit;
use rpc_core::stream::secured::Resumption;
use rpc_proto::frames::parse_resume;
use rpc_proto::headers::{SESSION_ACTIVITY, SESSION_CALL, SESSION_RESUME};
use rpc_proto::pb::session::v1::OpenRequest;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

use super::fake::OPEN;
use super::stream_server::{BARE, CHAT, DOWN, GIVE, SECURE, SILENT, Server, all, message, path, stub, up};
use super::{NEVER, Raw};
use crate::{Checkpoints, CheckpointsExt as _, Item, OutcomeExt as _, Outgoing, Session, StreamWatch};

/// Messages, with a point after every ten.
fn items(range: std::ops::Range<usize>) -> Vec<Outgoing<Vec<u8>>> {
    let mut items = Vec::new();
    for index in range {
        items.push(Outgoing::Message(message(index)));
        if index % 10 == 9 {
            items.push(Outgoing::SyncPoint(format!("client at {}", index + 1).into()));
        }
    }
    items
}

async fn upload(
    session: &Session,
    checkpoints: &Checkpoints,
    items: Vec<Outgoing<Vec<u8>>>,
) -> Result<Response<Vec<u8>>, Status> {
    let request = checkpoints.request(checkpoints.outgoing(tokio_stream::iter(items)));
    timeout(NEVER, stub(session).client_streaming(request, path(SECURE), Raw)).await.expect("the call hangs")
}

async fn started(checkpoints: &Checkpoints) -> Option<StreamWatch> {
    timeout(NEVER, checkpoints.started()).await.expect("whoever waits for the call hangs")
}

#[tokio::test(start_paused = true)]
async fn a_service_with_checkpoints_proposes_what_its_streams_need() {
    let server = Server::new(0, [], vec![]);
    server.builder().window_bytes(1 << 16).open().await.unwrap();
    let open: OpenRequest = server.session_service().seen(OPEN)[0].parse();
    for unit in [Unit::Resume, Unit::MinorSynchronize, Unit::Activity] {
        assert!(open.units.contains(&i32::from(unit.number())), "{unit:?}");
    }
    assert!(!open.units.contains(&i32::from(Unit::Digest.number())));
    assert_eq!(open.window_bytes, 1 << 16);
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_watched_before_its_response() {
    let server = Server::new(0, [3_000, 3_000], vec![]);
    let session = server.session().await;
    let checkpoints = Checkpoints::new();
    let watching = async {
        let watch = started(&checkpoints).await.unwrap();
        let confirmed = |state: &'static str| {
            let mut changes = watch.changes();
            async move {
                let secured =
                    |view: &crate::View| view.confirmed.as_ref().is_some_and(|ack| ack.state == state);
                timeout(NEVER, changes.wait_for(secured)).await.expect("the point is secured").unwrap();
            }
        };
        confirmed("server at 200").await;
        assert_eq!(watch.secured().messages, 200);
        assert_eq!(checkpoints.progress(), watch.progress());
        server.go();
    };
    let (answer, ()) = tokio::join!(upload(&session, &checkpoints, items(0..200)), watching);
    let answer = answer.unwrap();
    assert_eq!(answer.get_ref(), &message(200));
    let watch: &StreamWatch = answer.extensions().get().unwrap();
    assert!(watch.resumes() > 0, "nothing was cut");
    assert_eq!(answer.checkpoints().unwrap().progress(), watch.progress());
}

#[tokio::test(start_paused = true)]
async fn points_need_checkpoints() {
    let server = Server::new(0, [], vec![]);
    let session = server.session().await;
    let checkpoints = Checkpoints::new();
    let request = checkpoints.request(tokio_stream::iter([message(0)]));
    let status = stub(&session).streaming(request, path(BARE), Raw).await.unwrap_err();
    assert_eq!(
        (status.code(), status.reason()),
        (Code::FailedPrecondition, Some(Reason::CheckpointsRequired))
    );
    assert_eq!(status.outcome(), Some(Outcome::NotExecuted));
    assert!(started(&checkpoints).await.is_none());
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_begins_is_not_waited_for() {
    let server = Server::new(0, [], vec![]);
    let session = server.builder().slot_wait(Duration::from_secs(1)).open().await.unwrap();
    let requests = Request::new(tokio_stream::pending::<Vec<u8>>());
    let _has_the_slot = stub(&session).streaming(requests, path(SILENT), Raw).await.unwrap();
    let checkpoints = Checkpoints::new();
    let (uploaded, watch) = tokio::join!(upload(&session, &checkpoints, items(0..5)), started(&checkpoints));
    assert_eq!(uploaded.unwrap_err().reason(), Some(Reason::SlotsExhausted));
    assert!(watch.is_none());
    let checkpoints = Checkpoints::new();
    let dropped = timeout(Duration::from_millis(1), upload(&session, &checkpoints, items(0..5)));
    let (dropped, watch) = tokio::join!(dropped, started(&checkpoints));
    assert!(dropped.is_err() && watch.is_none());
    session.abort("over").await.unwrap();
    let checkpoints = Checkpoints::new();
    let status = upload(&session, &checkpoints, items(0..5)).await.unwrap_err();
    assert_eq!((status.reason(), status.outcome()), (Some(Reason::SessionEnded), Some(Outcome::NotExecuted)));
    assert!(started(&checkpoints).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn checkpoints_are_one_calls() {
    let server = Server::new(0, [], vec![]);
    let session = server.session().await;
    server.go();
    let checkpoints = Checkpoints::new();
    upload(&session, &checkpoints, items(0..5)).await.unwrap();
    let status = upload(&session, &checkpoints, items(0..5)).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::FailedPrecondition, Some(Outcome::NotExecuted)));
    // Its slot is free again.
    server.go();
    upload(&session, &Checkpoints::new(), items(0..5)).await.unwrap();
    assert_eq!(server.calls(), ["0.1.0", "0.2.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_too_long_ends_the_call_with_that_error() {
    let server = Server::new(0, [], vec![]);
    let session = server.session().await;
    let checkpoints = Checkpoints::new();
    let long = Outgoing::SyncPoint(vec![0; 65_537].into());
    let status = upload(&session, &checkpoints, vec![Outgoing::Message(message(0)), long]).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::Internal, Some(Outcome::Unknown)));
    assert!(status.message().contains("65537"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_is_secured_by_its_reader() {
    let server = Server::new(35, [1_500], vec![]);
    let session = server.session().await;
    let response = stub(&session).server_streaming(Request::new(message(7)), path(GIVE), Raw).await.unwrap();
    let watch = response.extensions().get::<StreamWatch>().unwrap().clone();
    let mut response = response.into_checkpointed().unwrap();
    let (mut messages, mut points) = (0, Vec::new());
    while let Some(item) = timeout(NEVER, response.next()).await.expect("the stream hangs").unwrap() {
        match item {
            Item::Message(given) => {
                assert_eq!(given, message(messages));
                messages += 1;
            }
            Item::SyncPoint(point) => {
                assert_eq!(point.position().messages, messages as u64);
                assert!(watch.progress().received_secured.messages < messages as u64);
                points.push(point.state().clone());
                let state = format!("client at {messages}");
                point.secure(state.clone()).await.unwrap();
                let told = |view: &crate::View| view.confirmed.as_ref().is_some_and(|ack| ack.state == state);
                server.stream_is(told).await;
                if messages == 35 {
                    server.go();
                }
            }
        }
    }
    assert_eq!(messages, 35);
    assert_eq!(&points[..3], ["server at 10", "server at 20", "server at 30"]);
}

#[tokio::test(start_paused = true)]
async fn who_reads_messages_only_has_their_points_secured_by_the_session() {
    let server = Server::new(35, [], vec![]);
    let session = server.session().await;
    server.go();
    let response = stub(&session).server_streaming(Request::new(message(7)), path(GIVE), Raw).await.unwrap();
    assert_eq!(all(response.into_inner()).await.unwrap().len(), 35);
}

#[tokio::test(start_paused = true)]
async fn a_plain_response_has_no_checkpoints() {
    let server = Server::new(5, [], vec![]);
    let session = server.session().await;
    let request = Request::new(message(7));
    let mut response = stub(&session).server_streaming(request, path(DOWN), Raw).await.unwrap();
    response.extensions_mut().remove::<Checkpoints>();
    let status = response.into_checkpointed().unwrap_err();
    assert_eq!(
        (status.code(), status.reason()),
        (Code::FailedPrecondition, Some(Reason::CheckpointsRequired))
    );
}

/// Where an upload stands of which ten messages were secured when its client was killed.
async fn interrupted() -> Resumption {
    let server = Server::new(0, [], vec![]);
    let session = server.session().await;
    let checkpoints = Checkpoints::new();
    let items = tokio_stream::iter(items(0..15)).chain(tokio_stream::pending());
    let request = checkpoints.request(checkpoints.outgoing(items));
    let mut stub = stub(&session);
    let uploading = stub.client_streaming::<_, Vec<u8>, _, _>(request, path(SECURE), Raw);
    let secured = async {
        let mut changes = started(&checkpoints).await.unwrap().changes();
        changes.wait_for(|view| view.confirmed.is_some()).await.unwrap();
    };
    tokio::select! {
        _ = uploading => panic!("the upload ended"),
        () = secured => server.stream().resumption(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_activity_goes_on_where_it_was_secured_and_says_so_in_each_attempt() {
    let interrupted = interrupted().await;
    let server = Server::of_activity(0, [2_000, 2_000], vec![], interrupted.clone());
    let session = server.session().await;
    let checkpoints = Checkpoints::of_activity("backup", Some(interrupted.clone()));
    let resumed = checkpoints.resumed().unwrap();
    assert_eq!(
        (resumed.position().messages, resumed.state(), resumed.peer_state()),
        (10, &"client at 10".into(), &"server at 10".into())
    );
    server.go();
    let answer = upload(&session, &checkpoints, items(10..200)).await.unwrap();
    assert_eq!(answer.get_ref(), &message(200));
    let seen = server.seen();
    assert_eq!(seen[0][&SESSION_CALL], "0.1.0");
    assert!(seen.len() > 1, "nothing was cut");
    assert!(seen.iter().all(|headers| headers[&SESSION_ACTIVITY] == "YmFja3Vw"));
    let resume = parse_resume(&seen[0][&SESSION_RESUME]).unwrap();
    assert_eq!(resume.send_from, interrupted.requests.unwrap().position);
}

#[tokio::test(start_paused = true)]
async fn a_new_activity_begins_at_the_beginning() {
    let server = Server::new(0, [], vec![]);
    let session = server.session().await;
    server.go();
    upload(&session, &Checkpoints::of_activity("backup", None), items(0..20)).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0][&SESSION_ACTIVITY], "YmFja3Vw");
    assert!(!seen[0].contains_key(SESSION_RESUME));
}

#[tokio::test(start_paused = true)]
async fn an_activity_needs_a_name_and_the_unit() {
    let server = Server::new(0, [], vec![]);
    let session = server.session().await;
    for name in [Vec::new(), vec![b'x'; 129]] {
        let checkpoints = Checkpoints::of_activity(name, None);
        let status = upload(&session, &checkpoints, items(0..5)).await.unwrap_err();
        assert_eq!(
            (status.reason(), status.outcome()),
            (Some(Reason::FieldInvalid), Some(Outcome::NotExecuted))
        );
        assert!(started(&checkpoints).await.is_none());
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn digests_are_blake3_where_the_unit_is_on() {
    for wanted in [false, true] {
        let server = Server::new(5, [], vec![]);
        let builder = server.builder();
        let builder = if wanted { builder.unit(Unit::Digest) } else { builder };
        let session = builder.open().await.unwrap();
        up(&session, 5).await.unwrap();
        let digest = server.stream().resumption().requests.unwrap().digest;
        assert_eq!(digest.blake3.is_some(), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_and_responses_may_both_have_points() {
    let server = Server::new(0, [1_200], vec![]);
    let session = server.session().await;
    let checkpoints = Checkpoints::new();
    let request = checkpoints.request(checkpoints.outgoing(tokio_stream::iter(items(0..50)).boxed()));
    let response = stub(&session).streaming(request, path(CHAT), Raw).await.unwrap();
    let mut response = response.into_checkpointed().unwrap();
    let mut messages = 0;
    while let Some(item) = timeout(NEVER, response.next()).await.expect("the stream hangs").unwrap() {
        match item {
            Item::Message(_) => messages += 1,
            Item::SyncPoint(point) => point.secure("").await.unwrap(),
        }
    }
    assert_eq!(messages, 50);
}
