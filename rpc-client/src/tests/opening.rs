//! Opening a session, and ending it.

use std::time::Duration;

use rpc_core::negotiate::Unit;
use rpc_proto::pb::session::v1::{
    self as pb, OpenRequest, OpenResponse, ReleaseResponse, ServerLimits, ServiceGrant,
};
use tokio::time::Instant;
use tonic::Code;

use super::fake::{ABORT, Act, Fake, ONCE, OPEN, PLAIN, RELEASE, RENEW, opened};
use super::*;
use crate::{End, Life, OpenError, OutcomeExt as _, ReleaseError, Summary};

//= test O-2
#[tokio::test(start_paused = true)]
async fn an_opening_is_repeated_under_the_same_nonce_and_no_other_has_it() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (OPEN, 0) => Some(Act::Cut),
        (OPEN, 1) => Some(Act::Hang),
        (OPEN, 2) => Some(Act::Fail(Status::unavailable("starting"))),
        (OPEN, _) => {
            let units = seen.parse::<OpenRequest>().required_units;
            Some(Act::message(&OpenResponse { units, ..opened() }))
        }
        _ => None,
    });
    let session =
        fake.builder().client_name("test 1.0").slots(7).require_unit(Unit::Resume).open().await.unwrap();
    let requests: Vec<OpenRequest> = fake.seen(OPEN).iter().map(fake::Seen::parse).collect();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request == &requests[0]));
    let request = &requests[0];
    assert_eq!((request.nonce.len(), request.slots, request.client.as_str()), (16, 7, "test 1.0"));
    let proposed = [Unit::ExactlyOnce, Unit::Resume, Unit::Duplex, Unit::MinorSynchronize];
    assert_eq!(request.units, proposed.map(|unit| i32::from(unit.number())), "with what resume needs");
    assert_eq!(request.required_units, [i32::from(Unit::Resume.number())]);
    let service = &request.services[0];
    assert_eq!((service.name.as_str(), service.version, service.policy_hash), ("b.B", 3, 77));
    assert_eq!(fake.seen(OPEN)[0].header("authorization"), Some("Bearer token-canary"));
    assert_eq!((session.number().value(), session.agreement().slots), (4711, 2));

    fake.session().await;
    let other: OpenRequest = fake.seen(OPEN)[4].parse();
    assert_ne!(other.nonce, request.nonce);
}

/// A simulation repeats only if nothing else decides.
#[tokio::test(start_paused = true)]
async fn nonce_and_waits_come_from_the_entropy_that_was_given() {
    struct Fixed;

    impl crate::Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
            bytes.fill(0x40);
            Ok(())
        }
    }

    let mut took = Vec::new();
    for _ in 0..2 {
        let fake = Fake::new(|seen| {
            (seen.path == OPEN && seen.earlier < 3).then(|| Act::Fail(Status::unavailable("starting")))
        });
        let start = Instant::now();
        fake.builder().entropy(Fixed).open().await.unwrap();
        took.push(start.elapsed());
        let request: OpenRequest = fake.seen(OPEN)[0].parse();
        assert_eq!(request.nonce[..], [0x40; 16]);
    }
    assert_eq!(took[0], took[1]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_why_and_what_would_do() {
    let limits = ServerLimits { slots_max: 7, ..ServerLimits::default() };
    let status = Refusal::new(Reason::BelowMinimum, "too many slots").limits(limits.clone()).into_status();
    let fake = Fake::new(move |seen| (seen.path == OPEN).then(|| Act::Fail(status.clone())));
    let error = fake.builder().open().await.unwrap_err();
    let OpenError::Refused { code, reason, message, limits: told } = error else { panic!("{error:?}") };
    assert_eq!((code, reason), (Code::FailedPrecondition, Some(Reason::BelowMinimum)));
    assert_eq!((message.as_str(), told), ("too many slots", Some(Box::new(limits))));
    assert_eq!(fake.seen(OPEN).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_opening_is_tried_until_its_time_is_up_and_says_what_failed_last() {
    let refusing =
        |_| async { Err(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "nobody there")) };
    let start = Instant::now();
    let error = Fake::new(|_| None).builder().connector(refusing).open().await.unwrap_err();
    assert!((20..=30).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let text = std::iter::successors(Some(&error as &dyn std::error::Error), |error| (**error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert!(text.iter().any(|text| text.contains("nobody there")), "{text:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_target_and_no_token_fails_at_once() {
    let builder = |uri: &str| Session::builder(uri).credentials("token-canary");
    assert!(matches!(builder("not a uri").open().await, Err(OpenError::Target { .. })));
    assert!(matches!(builder("ftp://x").open().await, Err(OpenError::Setup(_))));
    let none = crate::credentials::from_fn(|| async { Err("the issuer is down".into()) });
    let fake = Fake::new(|_| None);
    let builder = Session::builder("http://fake.test").credentials(none).connector(fake.clone());
    assert!(matches!(builder.open().await, Err(OpenError::Credentials(_))));
    assert_eq!(fake.seen(OPEN).len(), 0);
}

//= test O-25
#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_granted_fails_the_opening_and_gives_the_session_up() {
    let fake = Fake::new(|seen| {
        let services = vec![ServiceGrant {
            name: "b.B".into(),
            granted: false,
            reason: Reason::PolicyMismatch.name().into(),
        }];
        (seen.path == OPEN).then(|| Act::message(&OpenResponse { services, ..opened() }))
    });
    let error = fake.builder().open().await.unwrap_err();
    let OpenError::Service { service, reason } = error else { panic!("{error:?}") };
    assert_eq!((service.as_str(), reason), ("b.B", Reason::PolicyMismatch));
    assert_eq!(fake.seen(ABORT)[0].header("session"), Some("4711"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_the_protocol_is_an_error_of_its_own() {
    let broken = [
        OpenResponse { number: 0, ..opened() },
        OpenResponse { ticket: bytes::Bytes::from_static(b"short"), ..opened() },
        OpenResponse { slots: 0, ..opened() },
        OpenResponse { slots: u32::MAX, ..opened() },
        OpenResponse { lease: None, ..opened() },
    ];
    for answer in broken {
        let fake = Fake::new(move |seen| (seen.path == OPEN).then(|| Act::message(&answer)));
        assert!(matches!(fake.builder().open().await, Err(OpenError::Protocol(_))));
    }
}

//= test L-43
#[tokio::test(start_paused = true)]
async fn a_release_whose_answer_is_lost_is_repeated_and_then_done() {
    let summary = pb::Summary { calls: 3, calls_done: 2, calls_failed: 1, ..pb::Summary::default() };
    let released = ReleaseResponse { summary: Some(summary) };
    let fake = Fake::new(move |seen| match (seen.path.as_str(), seen.earlier) {
        (RELEASE, 0) => Some(Act::Cut),
        (RELEASE, _) => Some(Act::message(&released)),
        _ => None,
    });
    let session = fake.session().await;
    let summary = Summary { calls: 3, done: 2, failed: 1, ..Summary::default() };
    assert_eq!(session.release().await.unwrap(), summary);
    assert_eq!(session.release().await.unwrap(), summary);
    assert_eq!(fake.seen(RELEASE).len(), 2);
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!((status.reason(), status.outcome()), (Some(Reason::SessionEnded), Some(Outcome::NotExecuted)));
    assert_eq!(*session.core().life.borrow(), Life::Ended(End::Released));
    let start = Instant::now();
    for path in [PLAIN, "/c.C/Read"] {
        assert_eq!(call(&session, path).await.unwrap_err().reason(), Some(Reason::SessionEnded));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    fake.deserted().await;
}

/// Once the answer of a release was lost, and the session expired before the next try: that was called released.
//= test L-23
#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_at_the_second_try_is_not_called_released() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (RELEASE | ABORT, 0) => Some(Act::Cut),
        (RELEASE | ABORT, _) => Some(refusal(Reason::SessionUnknown, Outcome::NotExecuted)),
        _ => None,
    });
    let released = fake.session().await.release().await;
    assert!(matches!(released, Err(ReleaseError::Ended(Reason::SessionUnknown))), "{released:?}");
    assert_eq!(fake.session().await.abort("no more").await.unwrap(), [], "what was wanted is so");
}

//= test D-22
//= test L-21
#[tokio::test(start_paused = true)]
async fn a_release_waits_for_the_calls_of_this_side_first() {
    let fake = Fake::new(|seen| (seen.path == ONCE && seen.earlier == 0).then_some(Act::Hang));
    let session = fake.session().await;
    let calling = tokio::spawn({
        let session = session.clone();
        async move { call(&session, ONCE).await }
    });
    fake.reached(ONCE, 1).await;
    let start = Instant::now();
    let released = session.release().await;
    assert!(matches!(released, Err(ReleaseError::Aborted)), "{released:?}");
    // The wait, and then the time that a call has which still runs when the connections close.
    assert_eq!((start.elapsed().as_secs(), fake.seen(RELEASE).len()), (15, 0));
    assert_eq!(calling.await.unwrap().unwrap_err().reason(), Some(Reason::SessionEnded));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_gone_before_is_not_called_released() {
    let fake = Fake::new(|seen| {
        (seen.path == RELEASE).then(|| refusal(Reason::SessionUnknown, Outcome::NotExecuted))
    });
    let session = fake.session().await;
    let error = session.release().await.unwrap_err();
    assert!(matches!(error, ReleaseError::Ended(Reason::SessionUnknown)), "{error:?}");
}

//= test I19
#[tokio::test(start_paused = true)]
async fn a_refused_release_changes_nothing() {
    let fake = Fake::new(|seen| {
        (seen.path == RELEASE).then(|| refusal(Reason::ReleaseRefused, Outcome::NotExecuted))
    });
    let session = fake.session().await;
    assert!(matches!(session.release().await, Err(ReleaseError::Refused)));
    call(&session, ONCE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_being_released_takes_no_new_calls_until_the_release_is_given_up() {
    let fake = Fake::new(|seen| (seen.path == RELEASE).then_some(Act::Hang));
    let session = fake.session().await;
    let mut state = session.state();
    {
        let release = session.release();
        tokio::pin!(release);
        assert!(futures_util::poll!(&mut release).is_pending());
        let status = call(&session, ONCE).await.unwrap_err();
        assert_eq!(status.reason(), Some(Reason::SessionReleasing));
        assert_eq!(status.outcome(), Some(Outcome::NotExecuted));
        state.wait_for(|state| state.life == Life::Releasing).await.unwrap();
    }
    call(&session, ONCE).await.unwrap();
    let start = Instant::now();
    assert!(matches!(session.release().await, Err(ReleaseError::Unanswered(_))));
    assert!(start.elapsed() <= Duration::from_secs(60));
    call(&session, ONCE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_the_session() {
    let fake = Fake::new(|_| None);
    let session = fake.session().await;
    assert_eq!(session.abort(&"x".repeat(500)).await.unwrap(), []);
    let sent: rpc_proto::pb::session::v1::AbortRequest = fake.seen(ABORT)[0].parse();
    assert_eq!(sent.reason.len(), 128);
    assert_eq!(call(&session, ONCE).await.unwrap_err().reason(), Some(Reason::SessionEnded));
    assert!(matches!(session.release().await, Err(ReleaseError::Ended(_))));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_stops_everything_and_sends_nothing() {
    let fake = Fake::new(|_| None);
    let session = fake.session().await;
    let other = session.clone();
    drop(session);
    call(&other, ONCE).await.unwrap();
    drop(other);
    fake.deserted().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!((fake.seen(RENEW).len(), fake.seen(RELEASE).len(), fake.seen(ABORT).len()), (0, 0, 0));
}
