//! When a call must be over: one point for all its attempts.

use std::time::Duration;

use http::HeaderMap;
use rpc_core::error::{Outcome, Reason};
use rpc_core::planted::{self, Bug};
use rpc_proto::deadline::{self, GRPC_TIMEOUT};
use rpc_proto::status::Refusal;
use tokio::time::Instant;
use tonic::Status;

/// The earliest of: what the caller set on its request, what the method's policy says, what the builder says, and
/// what is left of the call that the present task serves. Takes `grpc-timeout` out of the headers, since every attempt
/// sends what is left then.
///
/// # Errors
///
/// The header is not a timeout.
//= C-41
pub(crate) fn take(
    headers: &mut HeaderMap,
    policy: Option<Duration>,
    default: Option<Duration>,
) -> Result<Option<Instant>, Box<Status>> {
    let asked = deadline::parse(headers).map_err(|error| {
        Box::new(
            Refusal::new(Reason::HeaderInvalid, error.to_string())
                .outcome(Outcome::NotExecuted)
                .into_status(),
        )
    })?;
    headers.remove(GRPC_TIMEOUT);
    let now = Instant::now();
    let shortest = [asked, policy, default].into_iter().flatten().min();
    // A time so long that it overflows the clock is no deadline.
    let own = shortest.and_then(|timeout| now.checked_add(timeout));
    Ok(match (own, deadline::current()) {
        (Some(own), Some(inherited)) => Some(own.min(inherited)),
        (own, inherited) => own.or(inherited),
    })
}

/// Says in the headers of an attempt what is left.
//= C-42
pub(crate) fn put(headers: &mut HeaderMap, deadline: Option<Instant>) {
    if let Some(deadline) = deadline
        && !planted::is(Bug::DeadlineNotPassedOn)
    {
        let left = deadline.saturating_duration_since(Instant::now());
        headers.insert(GRPC_TIMEOUT, deadline::value(left));
    }
}

/// Waits for the deadline; for ever if there is none.
pub(crate) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The status of a call whose time is over.
//= C-43
pub(crate) fn exceeded(outcome: Option<Outcome>) -> Status {
    let refusal = Refusal::new(Reason::DeadlineExceeded, "the deadline of the call passed");
    match outcome {
        Some(outcome) => refusal.outcome(outcome),
        None => refusal,
    }
    .into_status()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(GRPC_TIMEOUT, HeaderValue::from_static(value))])
    }

    fn left(headers: &mut HeaderMap, policy: Option<u64>, default: Option<u64>) -> Option<u64> {
        let seconds = |timeout: Option<u64>| timeout.map(Duration::from_secs);
        take(headers, seconds(policy), seconds(default)).unwrap().map(|at| (at - Instant::now()).as_secs())
    }

    //= test C-41
    #[tokio::test(start_paused = true)]
    async fn the_shortest_wins() {
        assert_eq!(left(&mut HeaderMap::new(), None, None), None);
        assert_eq!(left(&mut asked("3S"), Some(5), Some(7)), Some(3));
        assert_eq!(left(&mut asked("9S"), Some(5), Some(7)), Some(5));
        assert_eq!(left(&mut HeaderMap::new(), Some(9), Some(7)), Some(7));
        let mut headers = asked("9S");
        let inherited = Instant::now() + Duration::from_secs(2);
        deadline::scope(Some(inherited), async {
            assert_eq!(left(&mut headers, Some(5), None), Some(2));
            assert_eq!(left(&mut asked("1S"), None, None), Some(1));
            assert_eq!(left(&mut HeaderMap::new(), None, None), Some(2));
        })
        .await;
        assert!(headers.is_empty());
        assert_eq!(take(&mut asked("x"), None, None).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    //= test C-42
    #[tokio::test(start_paused = true)]
    async fn an_attempt_says_what_is_left() {
        let deadline = Instant::now() + Duration::from_secs(5);
        tokio::time::advance(Duration::from_secs(3)).await;
        let mut headers = HeaderMap::new();
        put(&mut headers, Some(deadline));
        assert_eq!(deadline::parse(&headers).unwrap(), Some(Duration::from_secs(2)));
        tokio::time::advance(Duration::from_secs(3)).await;
        put(&mut headers, Some(deadline));
        assert_eq!(deadline::parse(&headers).unwrap(), Some(Duration::ZERO));
    }
}
