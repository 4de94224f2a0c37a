//! Secrets stay out of everything that prints.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;

use super::fake::{Act, Fake, ONCE, PLAIN, RENEW, TICKET, header_of};
use super::*;
use crate::net::SendError;

/// Writes every event and span of every crate into one text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn secrets() -> [String; 3] {
    ["token-canary".into(), "ticket-canary".into(), header_of(TICKET)]
}

#[track_caller]
fn assert_clean(text: &str) {
    for secret in secrets() {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| (**error).source())
        .map(|error| format!("{error} {error:?}\n"))
        .collect()
}

//= test W-13
#[tokio::test(start_paused = true)]
async fn tokens_and_tickets_are_in_no_debug_no_error_and_no_log() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) => Some(Act::Cut),
        (ONCE, 1) => Some(refusal(Reason::AuthorityExpired, Outcome::NotExecuted)),
        (ONCE, _) | (PLAIN, _) => Some(Act::Fail(Status::internal("no"))),
        (RENEW, _) => Some(refusal(Reason::TokenInvalid, Outcome::NotExecuted)),
        _ => None,
    });
    let builder = fake.builder();
    assert_clean(&format!("{builder:?}"));
    let session = builder.open().await.unwrap();
    assert_clean(&format!("{session:?} {:?} {:?}", session.agreement(), session.state().borrow()));
    for path in [ONCE, PLAIN] {
        assert_clean(&chain(&call(&session, path).await.unwrap_err()));
    }
    session.core().net.shutdown(std::time::Duration::ZERO).await;
    for path in [ONCE, PLAIN] {
        let status = request(&session, path, within(std::time::Duration::from_secs(1))).await.unwrap_err();
        assert_clean(&chain(&status));
    }
    let log = log.0.lock().unwrap().clone();
    assert!(log.contains("renewal failed"), "the log was listened to");
    assert_clean(&log);
}

// The connections hand a request back inside of an error. Its headers hold the ticket.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_handed_back_does_not_print_its_headers() {
    let mut request = http::Request::new(tonic::body::Body::empty());
    let fake = Fake::new(|_| None);
    let session = fake.session().await;
    session.core().stamp(request.headers_mut());
    session.core().net.shutdown(std::time::Duration::ZERO).await;
    let error = session.core().net.send(request, crate::net::SendOptions::default()).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { .. }));
    assert_clean(&chain(&crate::call::body::unanswered(error, None)));
}
