//! Streams that have a name: who works on them, and where they go on.

use http_body::Frame;
use http_body_util::StreamBody;
use rpc_client::{ActivityResume, Checkpoints, Session};
use rpc_core::error::{Outcome, Reason};
use rpc_core::frame::Frame as ControlFrame;
use rpc_proto::frames::encode;
use rpc_proto::pb::session::v1::AbortRequest;
use rpc_tests::pb::vault::v1::FetchRequest;
use rpc_tests::pb::vault::v1::vault_client::VaultClient;
use rpc_tests::server::limits;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::Status;
use tonic::body::Body;

use super::*;

/// An upload under a name, of so many chunks, that nobody goes on with. Returns where it stands.
async fn interrupted(server: &TestServer, vault: &Vault, name: &str, chunks: u64) -> QueryResponse {
    let alice = open(&server.connect().await, "alice").await;
    let upload = Upload::begin(&for_activity(&alice, "0.1.0", name, None), STORE);
    let before = vault.seen();
    upload.give(0..chunks).await;
    vault.until("chunks", |seen| seen.chunks == before.chunks + chunks && seen.points > before.points).await;
    assert_eq!(ask_activity(&alice, name, false).await.state(), State::Running);
    // The process dies, and its session with it.
    let over = open(&server.connect().await, "alice").await;
    soon("the abort", alice.service().abort(AbortRequest::default())).await.unwrap();
    upload.lose().await;
    until_activity(&over, name, State::Interrupted).await
}

//= test D-19
//= test D-25
//= test D-27
#[tokio::test]
async fn an_upload_goes_on_in_another_session_from_its_last_secured_point() {
    let (server, vault) = served(|builder| builder).await;
    let stands = interrupted(&server, &vault, "dump", 55).await;
    let from = place(&stands);
    assert_eq!(secured(&stands).receiver_state, tally(from.messages).state());
    let next = open(&server.connect().await, "alice").await;
    assert_eq!(ask_activity(&next, "dump", true).await, stands, "nobody works on it: the same again");
    let upload = Upload::begin(&for_activity(&next, "0.1.0", "dump", Some(&stands)), STORE);
    upload.give(from.messages..100).await;
    let answer = upload.finish().await;
    assert_eq!(summary(&answer), tally(100).summary());
    assert_eq!((vault.seen().began_with, vault.seen().most_at_work), (from.messages, 1));
    let done = ask_activity(&next, "dump", true).await;
    assert_eq!((done.state(), place(&done).messages), (State::Done, 100));
    assert_eq!(done.reply.unwrap().response, answer.body.slice(5..), "the reply, for whoever lost it");
    // The name can be used again.
    let anew = Upload::begin(&for_activity(&next, "0.2.0", "dump", None), STORE);
    anew.give(0..10).await;
    assert_eq!(summary(&anew.finish().await), tally(10).summary());
    assert_eq!(vault.seen().began_with, 0);
}

//= test D-19
#[tokio::test]
async fn an_activity_is_its_principals_alone() {
    let (server, vault) = served(|builder| builder).await;
    let stands = interrupted(&server, &vault, "dump", 55).await;
    let bob = open(&server.connect().await, "bob").await;
    assert_eq!(ask_activity(&bob, "dump", true).await.state(), State::Absent);
    let stolen = Upload::begin(&for_activity(&bob, "0.1.0", "dump", Some(&stands)), STORE).finish().await;
    assert_eq!(
        (stolen.reason(), stolen.outcome()),
        (Some(Reason::ActivityMoved), Some(Outcome::NotExecuted))
    );
    let alice = open(&server.connect().await, "alice").await;
    assert_eq!(ask_activity(&alice, "dump", false).await, stands);
}

//= test D-17
#[tokio::test]
async fn one_call_at_a_time_works_on_an_activity_and_a_session_has_several() {
    let (server, vault) = served(|builder| builder).await;
    let channel = server.connect().await;
    let [alice, other] = [open(&channel, "alice").await, open(&channel, "alice").await];
    let first = Upload::begin(&for_activity(&alice, "0.1.0", "one", None), STORE);
    let second = Upload::begin(&for_activity(&alice, "1.1.0", "two", None), STORE);
    vault.until("both", |seen| seen.at_work == 2).await;
    for session in [&alice, &other] {
        let busy = Upload::begin(&for_activity(session, "2.1.0", "one", None), STORE).finish().await;
        assert_eq!((busy.reason(), busy.outcome()), (Some(Reason::ActivityBusy), Some(Outcome::NotExecuted)));
        assert_eq!(session.query(2, 1).await.state(), State::Absent, "it used up no sequence");
    }
    // A later attempt of the same call joins it.
    first.give(0..5).await;
    first.lose().await;
    let first = Upload::begin(&for_activity(&alice, "0.1.1", "one", None), STORE);
    for upload in [first, second] {
        upload.give(0..10).await;
        assert_eq!(summary(&upload.finish().await), tally(10).summary());
    }
    assert_eq!(vault.seen().most_at_work, 2);
}

//= test D-25
#[tokio::test]
async fn an_activity_is_not_resumed_from_where_it_does_not_stand() {
    let (server, vault) = served(|builder| builder).await;
    let stands = interrupted(&server, &vault, "dump", 55).await;
    let alice = open(&server.connect().await, "alice").await;
    let mut older = stands.clone();
    let requests = older.resumption.as_mut().unwrap().requests.as_mut().unwrap();
    requests.position.as_mut().unwrap().messages -= 10;
    for from in [&older] {
        let moved = Upload::begin(&for_activity(&alice, "0.1.0", "dump", Some(from)), STORE).finish().await;
        assert_eq!(moved.reason(), Some(Reason::ActivityMoved));
    }
    let elsewhere = Upload::begin(&for_activity(&alice, "0.1.0", "dump", Some(&stands)), STOPPABLE);
    assert_eq!(elsewhere.finish().await.reason(), Some(Reason::ActivityMoved), "another method");
    assert_eq!(ask_activity(&alice, "dump", false).await, stands, "refusals change nothing");
}

//= test D-26
#[tokio::test]
async fn an_activity_is_taken_from_a_call_that_works_on_it() {
    let (server, vault) = served(|builder| builder).await;
    let channel = server.connect().await;
    let [alice, other] = [open(&channel, "alice").await, open(&channel, "alice").await];
    let upload = Upload::begin(&for_activity(&alice, "0.1.0", "dump", None), STORE);
    upload.give(0..35).await;
    vault.until("a point", |seen| seen.chunks == 35 && seen.points > 0).await;
    let stands = ask_activity(&other, "dump", true).await;
    assert_eq!(stands.state(), State::Interrupted);
    assert_eq!(vault.seen().at_work, 0, "its handler is gone before the answer comes");
    let told = upload.answer().await;
    assert_eq!((told.reason(), told.outcome()), (Some(Reason::ActivityInterrupted), Some(Outcome::Unknown)));
    let again = Upload::begin(&for_activity(&alice, "0.1.1", "dump", None), STORE).finish().await;
    assert_eq!(again.reason(), Some(Reason::ActivityInterrupted), "the call is over for good");
    assert_eq!(alice.query(0, 1).await.state(), State::Unknown);
    let next = Upload::begin(&for_activity(&other, "0.1.0", "dump", Some(&stands)), STORE);
    next.give(place(&stands).messages..60).await;
    assert_eq!(summary(&next.finish().await), tally(60).summary());
    assert_eq!(vault.seen().most_at_work, 1);
}

/// Many want it at once, and each gets it from the one before.
//= test D-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_take_it_two_never_work_on_it() {
    let (server, vault) = served(|builder| builder).await;
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let session = open(&server.connect().await, "alice").await;
        takers.spawn(async move {
            for sequence in 1..6 {
                take(&session, sequence).await;
            }
        });
    }
    soon("the takers", takers.join_all()).await;
    assert!(vault.seen().chunks > 0);
    assert_eq!(vault.seen().most_at_work, 1);
}

/// Takes the activity over and works on it for a moment, unless another is faster. Only some bring it to its end.
async fn take(session: &Opened, sequence: u64) {
    let stands = ask_activity(session, "dump", true).await;
    let requests = stands.resumption.as_ref().and_then(|at| at.requests.as_ref());
    let from = Some(&stands).filter(|stands| stands.state() == State::Interrupted && requests.is_some());
    let first = from.map_or(0, |from| place(from).messages);
    let channel = for_activity(session, &format!("0.{sequence}.0"), "dump", from);
    let pieces =
        (first..first + 30).map(|index| Ok::<_, Status>(Frame::data(frame(&chunk(index, PAYLOAD_BYTES)))));
    let pieces = tokio_stream::iter(pieces);
    if sequence == 3 {
        let body = Body::new(StreamBody::new(pieces));
        // The connection holds, and whatever it is that comes back is an answer.
        let _ = Answer::read(channel.send(STORE, body).await.unwrap()).await;
    } else {
        let body = Body::new(StreamBody::new(pieces.chain(futures_util::stream::pending())));
        let _ = tokio::time::timeout(Duration::from_millis(20), async {
            Answer::read(channel.send(STORE, body).await.unwrap()).await
        })
        .await;
    }
}

//= test D-19
//= test D-27
#[tokio::test]
async fn a_download_goes_on_in_another_process_and_is_done_when_all_of_it_is_secured() {
    let (server, vault) = served(|builder| builder).await;
    let first = by_client(&server).await;
    vault.hold();
    let checkpoints = resumed(&first, None).await;
    let mut client = VaultClient::new(first.clone());
    let request = checkpoints.request(FetchRequest { chunks: 95 });
    let mut fetched = soon("the head", client.fetch(request)).await.unwrap().into_inner();
    for index in 0..60 {
        assert_eq!(soon("a chunk", fetched.next()).await.unwrap().unwrap().index, index);
    }
    let second = by_client(&server).await;
    let watch = checkpoints.watch().unwrap();
    soon("a point", async {
        while watch.progress().received_secured.messages < 50 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon("the abort", first.abort("the process dies")).await.unwrap();
    // The handler may never end by itself, and its policy does not let it be stopped: but it can be taken over.
    let checkpoints = resumed(&second, Some(())).await;
    let from = checkpoints.resumed_incoming().unwrap().position().messages;
    assert!((10..=60).contains(&from), "{from}");
    vault.let_go();
    let mut client = VaultClient::new(second.clone());
    let request = checkpoints.request(FetchRequest { chunks: 95 });
    let fetched = soon("the head", client.fetch(request)).await.unwrap().into_inner();
    let fetched: Vec<_> = soon("the rest", fetched.map(|chunk| chunk.unwrap().index).collect()).await;
    assert_eq!(fetched, (from..95).collect::<Vec<_>>());
    assert_eq!((vault.seen().began_with, vault.seen().most_at_work), (from, 1));
    let by_hand = open(&server.connect().await, "alice").await;
    let done = until_activity(&by_hand, "download", State::Done).await;
    assert!(done.reply.unwrap().dropped, "the messages are the caller's");
}

//= test D-27
#[tokio::test(start_paused = true)]
async fn a_caller_that_secures_nothing_gets_its_answer_late_and_its_activity_is_not_done() {
    let (server, vault) = piped(|builder| builder).await;
    let lease = Some(rpc_tests::session::duration(Duration::from_secs(600)));
    let channel = server.connect().await;
    let alice = OpenRequest { lease, ..proposal(&UNITS) };
    let alice = Opened::propose(&channel, "alice", alice).await.unwrap();
    let request = frame(&FetchRequest { chunks: 25 });
    let end = Position { messages: 1, bytes: request.len() as u64 };
    let body = [request, encode(&ControlFrame::End(end))].concat();
    let channel = for_activity(&alice, "0.1.0", "fetch", None).with_header("session-frames", "1");
    let began = Instant::now();
    let answer = channel.call_bytes("/vault.v1.Vault/Fetch", body.into()).await.unwrap();
    assert_eq!(answer.status().code(), tonic::Code::Ok);
    let took = began.elapsed();
    assert!((30..32).contains(&took.as_secs()), "{took:?}");
    assert_eq!((vault.seen().ended, vault.seen().at_work), (1, 0));
    assert_eq!(ask_activity(&alice, "fetch", false).await.state(), State::Running);
    let stands = ask_activity(&alice, "fetch", true).await;
    assert_eq!(stands.state(), State::Interrupted);
    assert!(stands.resumption.unwrap().responses.is_none());
}

async fn by_client(server: &TestServer) -> Session {
    let opening = Session::builder(format!("http://{}", server.address()))
        .credentials(rpc_tests::token::token("alice", &[]))
        .service::<VaultClient<Session>>()
        .open();
    soon("the opening", opening).await.unwrap()
}

async fn resumed(session: &Session, interrupted: Option<()>) -> Checkpoints {
    let resume = soon("the activity", session.resume_activity("download")).await.unwrap();
    match (resume, interrupted) {
        (ActivityResume::New(checkpoints), None) | (ActivityResume::Interrupted(checkpoints), Some(())) => {
            checkpoints
        }
        (other, _) => panic!("{other:?}"),
    }
}

//= test O-21
//= test D-17
#[tokio::test]
async fn a_name_where_it_has_no_place_is_refused() {
    let (server, _vault) = served(|builder| builder).await;
    let channel = server.connect().await;
    let kernel = Opened::propose(&channel, "alice", proposal(&UNITS[..3])).await.unwrap();
    let refused = Upload::begin(&for_activity(&kernel, "0.1.0", "x", None), STORE).finish().await;
    assert_eq!(
        (refused.reason(), refused.outcome()),
        (Some(Reason::UnitUnsupported), Some(Outcome::NotExecuted))
    );
    let query = QueryRequest { activity: "x".into(), ..QueryRequest::default() };
    let refused = kernel.service().query(query).await.unwrap_err();
    assert_eq!(rpc_proto::status::Details::of(&refused).reason, Some(Reason::UnitUnsupported));

    let alice = open(&channel, "alice").await;
    let unary = for_activity(&alice, "0.1.0", "x", None);
    let booking = rpc_tests::session::booking("named");
    let refused = unary.call(rpc_tests::session::TRANSFER, &booking).await.unwrap();
    assert_eq!(
        (refused.reason(), refused.outcome()),
        (Some(Reason::HeaderInvalid), Some(Outcome::NotExecuted))
    );
    assert_eq!(server.books().booked("named"), 0);
    let plain = unary.call("/ledger.v1.TestLedger/Echo", &booking).await.unwrap();
    assert_eq!(plain.reason(), Some(Reason::HeaderInvalid));
    for name in ["", &"x".repeat(129)] {
        let wrong = Upload::begin(&for_activity(&alice, "0.1.0", name, None), STORE).finish().await;
        assert_eq!(wrong.reason(), Some(Reason::HeaderInvalid), "{name}");
        let query =
            QueryRequest { activity: name.to_owned().into(), interrupt: true, ..QueryRequest::default() };
        let wrong = alice.service().query(query).await.unwrap_err();
        assert_eq!(rpc_proto::status::Details::of(&wrong).reason, Some(Reason::FieldInvalid), "{name}");
    }
}

//= test D-28
#[tokio::test]
async fn a_principal_has_only_so_many() {
    let bound = limits(|limits| limits.activities_per_principal = 1);
    let (server, vault) = served(|builder| builder.limits(bound)).await;
    interrupted(&server, &vault, "one", 20).await;
    let channel = server.connect().await;
    let [alice, bob] = [open(&channel, "alice").await, open(&channel, "bob").await];
    let refused = Upload::begin(&for_activity(&alice, "0.1.0", "two", None), STORE).finish().await;
    let expected = (Some(Reason::ActivitiesExhausted), Some(Outcome::NotExecuted));
    assert_eq!((refused.reason(), refused.outcome()), expected);
    for (session, name) in [(&bob, "two"), (&alice, "one")] {
        let upload = Upload::begin(&for_activity(session, "0.1.0", name, None), STORE);
        assert_eq!(summary(&upload.finish().await), tally(0).summary());
    }
    // What is done makes room.
    let upload = Upload::begin(&for_activity(&alice, "0.2.0", "two", None), STORE);
    assert_eq!(summary(&upload.finish().await), tally(0).summary());
    assert_eq!(ask_activity(&alice, "one", false).await.state(), State::Absent);
}

//= test D-20
#[tokio::test(start_paused = true)]
async fn an_activity_that_nobody_resumes_is_forgotten() {
    let (server, vault) = piped(|builder| builder).await;
    let stands = interrupted(&server, &vault, "dump", 30).await;
    let day = Duration::from_secs(24 * 3600);
    tokio::time::sleep(day - Duration::from_secs(60)).await;
    let alice = open(&server.connect().await, "alice").await;
    assert_eq!(ask_activity(&alice, "dump", false).await, stands);
    drop(alice);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let alice = open(&server.connect().await, "alice").await;
    assert_eq!(ask_activity(&alice, "dump", false).await.state(), State::Absent);
}
