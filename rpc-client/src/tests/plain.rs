//! Calls without a promise.

use tonic::Code;

use super::fake::{AGAIN, Act, Fake, ONCE, PLAIN, RENEW};
use super::*;
use crate::OutcomeExt as _;

const ELSEWHERE: &str = "/c.C/Read";

#[tokio::test(start_paused = true)]
async fn a_granted_service_is_called_in_the_sessions_name_and_another_in_the_callers() {
    let fake = Fake::new(|_| None);
    let session = fake.session().await;
    let mut own = tonic::Request::new(b"ping".to_vec());
    own.metadata_mut().insert("session-call", "0.1.0".parse().unwrap());
    request(&session, PLAIN, own).await.unwrap();
    let seen = &fake.seen(PLAIN)[0];
    assert_eq!(
        (seen.header("session"), seen.header("authorization"), seen.call()),
        (Some("4711"), None, "none")
    );
    call(&session, ELSEWHERE).await.unwrap();
    let seen = &fake.seen(ELSEWHERE)[0];
    assert_eq!((seen.header("session"), seen.header("session-ticket")), (None, None));
    assert_eq!(seen.header("authorization"), Some("Bearer token-canary"));
}

//= test C-23
#[tokio::test(start_paused = true)]
async fn a_plain_call_is_sent_once() {
    for act in [Act::Cut, Act::Fail(Status::unavailable("busy")), Act::CutInReply("po".into())] {
        let fake = Fake::new(move |seen| (seen.path == PLAIN && seen.earlier == 0).then(|| act.clone()));
        let session = fake.session().await;
        let status = call(&session, PLAIN).await.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::Unavailable, None));
        assert_eq!(fake.seen(PLAIN).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_refused_for_an_expired_authority_has_it_renewed_for_the_next() {
    let fake = Fake::new(|seen| {
        (seen.path == PLAIN && seen.earlier == 0)
            .then(|| refusal(Reason::AuthorityExpired, Outcome::NotExecuted))
    });
    let session = fake.session().await;
    assert_eq!(call(&session, PLAIN).await.unwrap_err().reason(), Some(Reason::AuthorityExpired));
    fake.reached(RENEW, 1).await;
    assert!(fake.seen(RENEW)[0].header("authorization").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_learns_that_the_session_is_gone() {
    let fake = Fake::new(|seen| {
        matches!(seen.path.as_str(), PLAIN | RENEW)
            .then(|| refusal(Reason::SessionUnknown, Outcome::NotExecuted))
    });
    let session = fake.session().await;
    let mut events = session.events();
    assert_eq!(call(&session, PLAIN).await.unwrap_err().reason(), Some(Reason::SessionUnknown));
    event(&mut events, |event| matches!(event, Event::Ended(_))).await;
    assert_eq!(call(&session, PLAIN).await.unwrap_err().reason(), Some(Reason::SessionUnknown));
    assert_eq!((fake.seen(PLAIN).len(), fake.seen(RENEW).len()), (1, 1));
    call(&session, ELSEWHERE).await.unwrap();
}

// A handler that has a session with a server behind it hands on the errors of its calls there, details included. Each
// of them ended the session of its own caller.
#[tokio::test(start_paused = true)]
async fn what_a_handler_hands_on_from_another_server_does_not_end_the_session() {
    for (path, reason) in [
        (PLAIN, Reason::SessionUnknown),
        (AGAIN, Reason::SessionUnknown),
        (PLAIN, Reason::SessionEnded),
        (AGAIN, Reason::SessionFenced),
    ] {
        let fake = Fake::new(move |seen| (seen.path == path).then(|| refusal(reason, Outcome::NotExecuted)));
        let session = fake.session().await;
        assert_eq!(call(&session, path).await.unwrap_err().reason(), Some(reason));
        fake.reached(RENEW, 1).await;
        call(&session, ONCE).await.unwrap_or_else(|status| panic!("after {reason} from {path}: {status:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_the_session_alive() {
    let tick = (std::time::Duration::from_secs(5), bytes::Bytes::from_static(b"tick"));
    let fake = Fake::new(move |seen| (seen.path == PLAIN).then(|| Act::Stream(vec![tick.clone(); 12])));
    let session = fake.session().await;
    let ticks = stream(&session, PLAIN, tonic::Request::new(Vec::new())).await.unwrap();
    drop(session);
    let mut ticks = ticks.into_inner();
    let mut count = 0;
    while ticks.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 12);
    assert!(fake.seen(RENEW).len() >= 5);
    drop(ticks);
    fake.deserted().await;
}
