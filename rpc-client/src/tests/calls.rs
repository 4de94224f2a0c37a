//! Calls that meet trouble: attempts, outcomes, and what becomes of their slots.

use std::time::Duration;

use rpc_core::id::{Attempt, CallId, Sequence, SlotId};
use rpc_proto::pb::session::v1::QueryRequest;
use rpc_proto::pb::session::v1::query_response::State;
use tokio::time::Instant;
use tonic::Code;

use super::fake::{AGAIN, Act, Fake, ONCE, QUERY, found};
use super::*;
use crate::{CallInfo, OutcomeExt as _};

/// A server that does this with the first request of a path and answers the others.
fn first(path: &'static str, act: Act) -> Fake {
    Fake::new(move |seen| (seen.path == path && seen.earlier == 0).then(|| act.clone()))
}

//= test C-20
//= test C-22
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_with_the_next_attempt_of_the_same_call() {
    for act in [Act::Cut, Act::CutInReply("po".into()), Act::Http(http::StatusCode::BAD_GATEWAY)] {
        let fake = first(ONCE, act);
        let session = fake.session().await;
        let mut events = session.events();
        let reply = call(&session, ONCE).await.unwrap();
        assert_eq!(reply.get_ref(), b"pong");
        let info = reply.extensions().get::<CallInfo>().unwrap();
        assert_eq!((info.call.to_string().as_str(), info.attempts), ("0.1", 2));
        assert_eq!(fake.calls(ONCE), ["0.1.0", "0.1.1"]);
        let seen = fake.seen(ONCE);
        assert_eq!((&seen[0].message, seen[0].header("te")), (&seen[1].message, seen[1].header("te")));
        assert_eq!(seen[0].header("session"), Some("4711"));
        assert_eq!(seen[0].header("authorization"), None);
        call(&session, ONCE).await.unwrap();
        assert_eq!(fake.calls(ONCE)[2], "0.2.0");
        event(&mut events, |event| matches!(event, Event::CallRetried(to) if to.attempt == Attempt(1))).await;
    }
}

//= test C-50
#[tokio::test(start_paused = true)]
async fn what_was_not_processed_is_sent_again_as_the_same_attempt() {
    for act in [Act::RefuseStream, refusal(Reason::Draining, Outcome::NotExecuted)] {
        let fake = first(ONCE, act);
        let session = fake.session().await;
        call(&session, ONCE).await.unwrap();
        assert_eq!(fake.calls(ONCE), ["0.1.0", "0.1.0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_says_when_to_come_again() {
    let full = Refusal::new(Reason::CallsExhausted, "full")
        .outcome(Outcome::NotExecuted)
        .retry_after(Duration::from_secs(7))
        .into_status();
    let fake = first(ONCE, Act::Fail(full));
    let session = fake.session().await;
    call(&session, ONCE).await.unwrap();
    let seen = fake.seen(ONCE);
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(7));
}

//= test I2
#[tokio::test(start_paused = true)]
async fn the_error_of_a_handler_is_the_outcome() {
    let status = rpc_proto::status::with_outcome(Status::unavailable("the bank is closed"), Outcome::Done);
    let fake = first(ONCE, Act::Fail(status));
    let session = fake.session().await;
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the bank is closed"));
    assert_eq!((status.outcome(), status.reason()), (Some(Outcome::Done), None));
    assert_eq!(status.call(), Some(CallId { slot: SlotId(0), sequence: Sequence(1) }));
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE), ["0.1.0", "0.2.0"], "not sent again");
}

//= test C-21
#[tokio::test(start_paused = true)]
async fn a_refusal_before_admission_leaves_the_sequence_to_the_next_call() {
    let fake = first(ONCE, refusal(Reason::ScopeMissing, Outcome::NotExecuted));
    let session = fake.session().await;
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::PermissionDenied, Some(Outcome::NotExecuted)));
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE), ["0.1.0", "0.1.0"]);
}

//= test C-27
#[tokio::test(start_paused = true)]
async fn a_refusal_proves_nothing_of_an_attempt_before_it() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) => Some(Act::Cut),
        (ONCE, 1) => Some(refusal(Reason::ScopeMissing, Outcome::NotExecuted)),
        _ => None,
    });
    let session = fake.session().await;
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!(status.outcome(), Some(Outcome::Unknown));
    fake.reached(QUERY, 1).await;
}

//= test C-28
#[tokio::test(start_paused = true)]
async fn an_error_without_an_outcome_is_unknown_and_the_slot_is_settled() {
    let fake = first(ONCE, Act::Fail(Status::internal("from a proxy")));
    let session = fake.session().await;
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::Internal, Some(Outcome::Unknown)));
    fake.reached(QUERY, 1).await;
    let query: QueryRequest = fake.seen(QUERY)[0].parse();
    assert_eq!(
        query,
        QueryRequest { slot: 0, sequence: 1, settle: true, cancel: true, ..Default::default() }
    );
}

//= test C-38
//= test C-39
#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_settled_before_its_slot_is_used_again() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) => Some(Act::Hang),
        (QUERY, 0) => Some(Act::After(Duration::from_secs(1), Box::new(found(State::Running, 1)))),
        (QUERY, 1) => Some(found(State::Done, 1)),
        _ => None,
    });
    let session = fake.session().await;
    let mut events = session.events();
    timeout(Duration::from_secs(1), call(&session, ONCE)).await.unwrap_err();
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE), ["0.1.0", "1.1.0"], "the slot of the cancelled call is taken");
    event(&mut events, |event| matches!(event, Event::CallSettled(_))).await;
    assert_eq!(fake.seen(QUERY).len(), 2, "asked again while it runs");
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE)[2], "0.2.0");
}

/// The call before it was told as *unknown* by a server that is gone, and the one that is asked never saw it.
//= test C-38
#[tokio::test(start_paused = true)]
async fn a_call_after_one_that_the_server_does_not_know_is_settled() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) => Some(refusal(Reason::OutcomeUnknown, Outcome::Unknown)),
        (ONCE, 1) => Some(Act::Hang),
        (QUERY, 0) => Some(found(State::Absent, 0)),
        _ => None,
    });
    let session = fake.builder().slots(1).open().await.unwrap();
    call(&session, ONCE).await.unwrap_err();
    timeout(Duration::from_secs(1), call(&session, ONCE)).await.unwrap_err();
    let mut events = session.events();
    event(&mut events, |event| matches!(event, Event::CallSettled(_))).await;
    let asked: Vec<_> = fake.seen(QUERY).iter().map(|seen| seen.parse::<QueryRequest>().sequence).collect();
    assert_eq!(asked, [2, 1, 2]);
}

//= test C-40
#[tokio::test(start_paused = true)]
async fn a_table_full_of_cancelled_calls_does_not_hang_callers() {
    let fake = Fake::new(|seen| match seen.path.as_str() {
        ONCE | QUERY => Some(Act::Hang),
        _ => None,
    });
    let session = fake.session().await;
    for _ in 0..2 {
        timeout(Duration::from_secs(1), call(&session, ONCE)).await.unwrap_err();
    }
    let start = Instant::now();
    let status = request(&session, ONCE, within(Duration::from_secs(3))).await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::ResourceExhausted, Some(Reason::SlotsExhausted)));
    assert_eq!((status.outcome(), start.elapsed().as_secs()), (Some(Outcome::NotExecuted), 3));
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::SlotsExhausted));
    assert_eq!(start.elapsed().as_secs(), 33, "without a deadline, 30 s");
    assert_eq!(fake.calls(ONCE).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_the_server_counts_otherwise_is_given_up() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) | (QUERY, _) => Some(refusal(Reason::CallMisordered, Outcome::NotExecuted)),
        _ => None,
    });
    let session = fake.session().await;
    let mut events = session.events();
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!(status.outcome(), Some(Outcome::NotExecuted));
    event(&mut events, |event| matches!(event, Event::SlotRetired(_))).await;
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE), ["0.1.0", "1.1.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_over_the_bound_is_done_and_dropped() {
    let fake = first(ONCE, Act::Reply(vec![0; 2_000].into()));
    let session = fake.builder().response_bytes_max(1_000).open().await.unwrap();
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::ExecutedReplyDropped));
    assert_eq!(status.outcome(), Some(Outcome::Done));
    let large = tonic::Request::new(vec![0; 5 << 20]);
    let status = request(&session, ONCE, large).await.unwrap_err();
    assert_eq!(
        (status.reason(), status.outcome()),
        (Some(Reason::RequestTooLarge), Some(Outcome::NotExecuted))
    );
    assert_eq!(fake.calls(ONCE).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_deadline_is_given_up_after_the_retry_time() {
    let fake = Fake::new(|seen| (seen.path == ONCE).then_some(Act::Cut));
    let session = fake.builder().retry_time(Duration::from_secs(20)).open().await.unwrap();
    let start = Instant::now();
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::Unavailable, Some(Outcome::Unknown)));
    assert_eq!(status.reason(), Some(Reason::TransportLost));
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_call_is_sent_again_until_it_is_answered() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (AGAIN, 0) => Some(Act::Cut),
        (AGAIN, 1) => Some(Act::Fail(Status::unavailable("busy"))),
        (AGAIN, 2) => Some(Act::CutInReply("po".into())),
        (AGAIN, 4) => Some(Act::Fail(Status::not_found("no"))),
        _ => None,
    });
    let session = fake.session().await;
    assert_eq!(call(&session, AGAIN).await.unwrap().get_ref(), b"pong");
    assert_eq!(fake.calls(AGAIN), ["none"; 4]);
    let status = call(&session, AGAIN).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::NotFound, None));
    assert_eq!(fake.calls(AGAIN).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_server_can_ask_not_to_be_tried_again() {
    let mut status = Status::unavailable("go away");
    status.metadata_mut().insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
    let fake = Fake::new(move |seen| (seen.path == AGAIN).then(|| Act::Fail(status.clone())));
    let session = fake.session().await;
    assert_eq!(call(&session, AGAIN).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(fake.calls(AGAIN).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_protected_stream_is_refused_before_anything_is_sent() {
    let fake = Fake::new(|_| None);
    let session = fake.session().await;
    let status = call(&session, "/b.B/OnceStream").await.unwrap_err();
    assert_eq!(
        (status.reason(), status.outcome()),
        (Some(Reason::UnitUnsupported), Some(Outcome::NotExecuted))
    );
    assert_eq!(fake.seen("/b.B/OnceStream").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_asked_about() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (QUERY, 0) => Some(Act::Cut),
        (QUERY, _) => Some(found(State::Running, 1)),
        _ => None,
    });
    let session = fake.session().await;
    let id = CallId { slot: SlotId(1), sequence: Sequence(9) };
    assert_eq!(session.query(id).await.unwrap(), crate::CallState::Running(Box::default()));
    let query: QueryRequest = fake.seen(QUERY)[1].parse();
    assert_eq!(query, QueryRequest { slot: 1, sequence: 9, ..Default::default() });
}

//= test C-40
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_slot_is_told_at_once_that_the_session_is_gone() {
    let fake = Fake::new(|seen| match seen.path.as_str() {
        ONCE => Some(Act::Hang),
        QUERY => Some(refusal(Reason::SessionUnknown, Outcome::NotExecuted)),
        _ => None,
    });
    let session = fake.session().await;
    let start = Instant::now();
    let ending = async {
        fake.reached(ONCE, 2).await;
        let call = CallId { slot: SlotId(0), sequence: Sequence(1) };
        session.query(call).await.unwrap_err();
    };
    let (one, two, waiting, ()) =
        tokio::join!(call(&session, ONCE), call(&session, ONCE), call(&session, ONCE), ending);
    let told = |result: Result<_, Status>| {
        let status = result.unwrap_err();
        (status.reason(), status.outcome())
    };
    let gone = Some(Reason::SessionUnknown);
    assert_eq!(told(one), (gone, Some(Outcome::Unknown)));
    assert_eq!(told(two), (gone, Some(Outcome::Unknown)));
    assert_eq!(told(waiting), (gone, Some(Outcome::NotExecuted)));
    assert!(start.elapsed() < Duration::from_secs(1));
}

//= test C-28
#[tokio::test(start_paused = true)]
async fn a_proxys_page_that_is_larger_than_a_reply_may_be_is_no_execution() {
    let fake = Fake::new(|seen| {
        (seen.path == ONCE && seen.earlier == 0).then_some(Act::Http(http::StatusCode::INTERNAL_SERVER_ERROR))
    });
    let session = fake.builder().response_bytes_max(16).open().await.unwrap();
    assert_eq!(call(&session, ONCE).await.unwrap_err().outcome(), Some(Outcome::Unknown));
}
