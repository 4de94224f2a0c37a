//! Activities: where they stand, and taking them over.

use bytes::Bytes;
use rpc_core::negotiate::Unit;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{
    OpenRequest, OpenResponse, Position, QueryRequest, QueryResponse, Reply, Resumption, Secured,
};
use tonic::Code;

use super::fake::{Act, Fake, OPEN, QUERY, Seen, opened};
use super::*;
use crate::{ActivityResume, ActivityState, OutcomeExt as _};

/// A server that has activities and answers questions so.
fn server(answer: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Fake {
    Fake::new(move |seen| match seen.path.as_str() {
        OPEN => {
            let units = seen.parse::<OpenRequest>().units;
            Some(Act::message(&OpenResponse { units, ..opened() }))
        }
        QUERY => Some(answer(seen)),
        _ => None,
    })
}

async fn session(fake: &Fake) -> Session {
    fake.builder().unit(Unit::Activity).open().await.unwrap()
}

fn stands(state: State) -> Act {
    Act::message(&QueryResponse {
        state: state.into(),
        resumption: Some(resumption()),
        ..QueryResponse::default()
    })
}

fn resumption() -> Resumption {
    let requests = Secured {
        serial: 3,
        position: Some(Position { messages: 120, bytes: 1_560 }),
        crc32c: 7,
        blake3: Bytes::new(),
        sender_state: Bytes::from_static(b"mine"),
        receiver_state: Bytes::from_static(b"theirs"),
    };
    Resumption { requests: Some(requests), responses: None }
}

#[tokio::test(start_paused = true)]
async fn an_activity_can_be_asked_about() {
    let reply = Reply { response: Bytes::from_static(b"receipt"), ..Reply::default() };
    let done = QueryResponse { state: State::Done.into(), reply: Some(reply), ..QueryResponse::default() };
    let fake = server(move |seen| match seen.earlier {
        0 => Act::Cut,
        1 => stands(State::Absent),
        2 => stands(State::Running),
        3 => stands(State::Interrupted),
        _ => Act::message(&done),
    });
    let session = session(&fake).await;
    assert_eq!(session.activity("backup").await.unwrap(), ActivityState::Absent);
    assert_eq!(session.activity("backup").await.unwrap(), ActivityState::Running);
    let ActivityState::Interrupted(at) = session.activity("backup").await.unwrap() else { panic!() };
    assert_eq!(at.requests.as_ref().unwrap().position.messages, 120);
    let ActivityState::Done(reply) = session.activity("backup").await.unwrap() else { panic!() };
    assert_eq!((reply.code, &reply.response[..]), (Code::Ok, &b"receipt"[..]));
    for seen in fake.seen(QUERY) {
        let asked: QueryRequest = seen.parse();
        assert_eq!(
            asked,
            QueryRequest { activity: Bytes::from_static(b"backup"), ..QueryRequest::default() }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_has_1_to_128_bytes() {
    let fake = server(|_| stands(State::Absent));
    let session = session(&fake).await;
    for name in [&[0; 0][..], &[7; 129]] {
        let status = session.activity(name).await.unwrap_err();
        assert_eq!((status.code(), status.reason()), (Code::InvalidArgument, Some(Reason::FieldInvalid)));
    }
    assert_eq!(fake.seen(QUERY).len(), 0);
    for name in [&[0; 1][..], &[255; 128]] {
        assert_eq!(session.activity(name).await.unwrap(), ActivityState::Absent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_the_unit_has_no_activities() {
    let fake = Fake::new(|_| None);
    let session = fake.session().await;
    let status = session.activity("backup").await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::UnitUnsupported));
    assert_eq!(fake.seen(QUERY).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_is_no_state() {
    let fake = server(|seen| match seen.earlier {
        0 => stands(State::Forgotten),
        1 => stands(State::Unspecified),
        _ => {
            let mut points = resumption();
            points.requests.as_mut().unwrap().position = None;
            let state = State::Interrupted.into();
            Act::message(&QueryResponse { state, resumption: Some(points), ..QueryResponse::default() })
        }
    });
    let session = session(&fake).await;
    for _ in 0..3 {
        let status = session.activity("backup").await.unwrap_err();
        assert_eq!((status.code(), status.reason()), (Code::Internal, Some(Reason::ProtocolViolated)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_asked_for_a_while() {
    let fake = server(|_| Act::Cut);
    let session = session(&fake).await;
    let start = tokio::time::Instant::now();
    let status = session.activity("backup").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!((20..=31).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_activity_is_taken_over_when_its_call_has_ended() {
    let fake = server(|seen| match seen.earlier {
        0 => Act::Cut,
        1 | 2 => stands(State::Running),
        _ => stands(State::Interrupted),
    });
    let session = session(&fake).await;
    let taken = session.resume_activity("backup").await.unwrap();
    let ActivityResume::Interrupted(checkpoints) = taken else { panic!("{taken:?}") };
    assert_eq!(checkpoints.activity().unwrap(), "backup");
    let resumed = checkpoints.resumed().unwrap();
    assert_eq!((resumed.position().messages, &resumed.state()[..]), (120, &b"mine"[..]));
    assert_eq!(resumed.peer_state(), "theirs");
    for seen in fake.seen(QUERY) {
        let asked: QueryRequest = seen.parse();
        assert_eq!((&asked.activity[..], asked.interrupt), (&b"backup"[..], true));
    }
}

#[tokio::test(start_paused = true)]
async fn an_activity_that_is_new_or_done_is_said_to_be() {
    let reply = Reply { response: Bytes::from_static(b"receipt"), ..Reply::default() };
    let done = QueryResponse { state: State::Done.into(), reply: Some(reply), ..QueryResponse::default() };
    let fake = server(move |seen| match seen.earlier {
        0 => stands(State::Absent),
        _ => Act::message(&done),
    });
    let session = session(&fake).await;
    let ActivityResume::New(checkpoints) = session.resume_activity("backup").await.unwrap() else { panic!() };
    assert!(checkpoints.resumed().is_none() && checkpoints.activity().unwrap() == "backup");
    let ActivityResume::Done(reply) = session.resume_activity("backup").await.unwrap() else { panic!() };
    assert_eq!(&reply.response[..], b"receipt");
}

#[tokio::test(start_paused = true)]
async fn an_activity_whose_call_does_not_end_is_busy() {
    let fake = server(|_| stands(State::Running));
    let session = session(&fake).await;
    let status = session.resume_activity("backup").await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::FailedPrecondition, Some(Reason::ActivityBusy)));
    let status = session.resume_activity("").await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::FieldInvalid));
}
