//! Deadlines: one for all attempts, told truthfully.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rpc_proto::deadline;
use rpc_proto::pb::session::v1::OpenResponse;
use tokio::time::Instant;
use tonic::Code;

use super::fake::{AGAIN, Act, B, Fake, ONCE, OPEN, PLAIN, QUERY, opened};
use super::*;
use crate::credentials::{Token, from_fn};
use crate::{Connector as _, OutcomeExt as _};

//= test C-42
//= test C-43
#[tokio::test(start_paused = true)]
async fn a_deadline_holds_for_all_attempts() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) => Some(Act::After(Duration::from_secs(2), Box::new(Act::Cut))),
        (ONCE, _) => Some(Act::Hang),
        _ => None,
    });
    let session = fake.session().await;
    let start = Instant::now();
    let status = request(&session, ONCE, within(Duration::from_secs(5))).await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::DeadlineExceeded, Some(Reason::DeadlineExceeded)));
    assert_eq!((status.outcome(), start.elapsed().as_secs()), (Some(Outcome::Unknown), 5));
    let seen = fake.seen(ONCE);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].timeout(), Some(Duration::from_secs(5)));
    assert!(seen[1].timeout().unwrap() <= Duration::from_secs(3));
    fake.reached(QUERY, 1).await;
}

//= test C-27
#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_sent_was_not_executed_at_its_deadline() {
    let fake = Fake::new(|seen| (seen.path == PLAIN).then_some(Act::Cut));
    let up = Arc::new(AtomicBool::new(true));
    let connector = {
        let (fake, up) = (fake.clone(), up.clone());
        move |target| {
            let connecting = fake.connect(target);
            let up = up.load(Ordering::SeqCst);
            async move { if up { connecting.await } else { Err(std::io::ErrorKind::NotConnected.into()) } }
        }
    };
    let session = fake.builder().connector(connector).open().await.unwrap();
    up.store(false, Ordering::SeqCst);
    call(&session, PLAIN).await.unwrap_err();
    let start = Instant::now();
    let status = request(&session, ONCE, within(Duration::from_secs(2))).await.unwrap_err();
    assert_eq!((status.code(), status.outcome()), (Code::DeadlineExceeded, Some(Outcome::NotExecuted)));
    assert_eq!(start.elapsed().as_secs(), 2);
    up.store(true, Ordering::SeqCst);
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE), ["0.1.0"], "and its sequence was not used up");
}

//= test C-41
#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_call_being_served_is_passed_on() {
    let fake = Fake::new(|_| None);
    let session = fake.builder().call_timeout(Duration::from_secs(9)).open().await.unwrap();
    let inherited = Instant::now() + Duration::from_secs(4);
    deadline::scope(Some(inherited), call(&session, ONCE)).await.unwrap();
    call(&session, ONCE).await.unwrap();
    let seen = fake.seen(ONCE);
    assert_eq!(seen[0].timeout(), Some(Duration::from_secs(4)));
    assert_eq!(seen[1].timeout(), Some(Duration::from_secs(9)));
}

//= test C-43
#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_a_token_is_fetched() {
    let fake = Fake::new(|seen| {
        let ungranted = OpenResponse { services: Vec::new(), ..opened() };
        (seen.path == OPEN).then(|| Act::message(&ungranted))
    });
    let asked = AtomicBool::new(false);
    let credentials = from_fn(move || {
        let first = !asked.swap(true, Ordering::SeqCst);
        async move {
            if !first {
                std::future::pending::<()>().await;
            }
            Ok(Token::new("token").expires_in(Duration::from_secs(10)))
        }
    });
    let target = Session::builder("http://fake.test").credentials(credentials).service::<B>();
    let session = target.connector(fake.clone()).open().await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    for path in [AGAIN, PLAIN] {
        let start = Instant::now();
        let status = request(&session, path, within(Duration::from_secs(2))).await.unwrap_err();
        assert_eq!((status.code(), start.elapsed().as_secs()), (Code::DeadlineExceeded, 2), "{path}");
    }
    // Without a deadline, calls that wait for one fetch learn of its failure together.
    let start = Instant::now();
    let (one, two, three) = tokio::join!(call(&session, PLAIN), call(&session, AGAIN), call(&session, PLAIN));
    for status in [one, two, three] {
        assert_eq!(status.unwrap_err().reason(), Some(Reason::AuthUnavailable));
    }
    assert_eq!(start.elapsed().as_secs(), 10);
}

//= test C-43
#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_deadline() {
    let tick = (Duration::from_millis(300), bytes::Bytes::from_static(b"tick"));
    let fake = Fake::new(move |seen| (seen.path == PLAIN).then(|| Act::Stream(vec![tick.clone(); 20])));
    let session = fake.session().await;
    let mut ticks = stream(&session, PLAIN, within(Duration::from_secs(1))).await.unwrap().into_inner();
    for _ in 0..3 {
        assert_eq!(ticks.message().await.unwrap().unwrap(), b"tick");
    }
    let status = ticks.message().await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::DeadlineExceeded, Some(Reason::DeadlineExceeded)));
    let status = stream(&session, ONCE, within(Duration::ZERO)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
