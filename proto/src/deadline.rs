//! Deadlines: the header `grpc-timeout`, and the deadline of the call that the present task serves.

use std::future::Future;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;

/// gRPC's header for the time that a caller gives.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The most digits that gRPC allows in the header.
const DIGITS_MAX: usize = 8;

tokio::task_local! {
    static DEADLINE: Option<Instant>;
}

/// The future that [`scope`] makes.
pub type Scoped<F> = TaskLocalFuture<Option<Instant>, F>;

/// Runs `future` with `deadline` as the [deadline of the task](current), so that calls it makes inherit it.
pub fn scope<F: Future>(deadline: Option<Instant>, future: F) -> Scoped<F> {
    DEADLINE.scope(deadline, future)
}

/// The deadline of the call that the present task serves; `None` outside of a handler and where there is none.
///
/// A task that a handler spawns does not inherit it.
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok().flatten()
}

/// The time that the caller gives; `None` if it says nothing, `Err` if it says something that is not a timeout.
///
/// # Errors
///
/// The header is repeated, has no unit, more than eight digits, or anything else that gRPC does not allow.
pub fn parse(headers: &HeaderMap) -> Result<Option<Duration>, InvalidTimeout> {
    let mut values = headers.get_all(GRPC_TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(InvalidTimeout);
    }
    let text = value.to_str().map_err(|_| InvalidTimeout)?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(InvalidTimeout)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidTimeout);
    }
    let amount: u64 = digits.parse().map_err(|_| InvalidTimeout)?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return Err(InvalidTimeout),
    }))
}

/// The value of `grpc-timeout` for `timeout`, in the finest unit that eight digits can hold, rounded up to it, so
/// that the callee never gives up before the caller does.
pub fn value(timeout: Duration) -> HeaderValue {
    let nanos = timeout.as_nanos();
    let units: [(u128, char); 6] = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
        (3_600_000_000_000, 'H'),
    ];
    let text = units
        .iter()
        .map(|(size, unit)| (nanos.div_ceil(*size), unit))
        .find(|(amount, _)| *amount < 100_000_000)
        .map_or_else(|| "99999999H".to_owned(), |(amount, unit)| format!("{amount}{unit}"));
    HeaderValue::from_str(&text).expect("digits and a letter are a header value")
}

/// A `grpc-timeout` that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("header `grpc-timeout` is not up to eight digits and one of the units H, M, S, m, u, n")]
pub struct InvalidTimeout;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Duration>, InvalidTimeout> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(text.as_bytes()).unwrap());
        parse(&headers)
    }

    #[test]
    fn timeouts_parse() {
        assert_eq!(parsed("2H"), Ok(Some(Duration::from_secs(7200))));
        assert_eq!(parsed("3M"), Ok(Some(Duration::from_secs(180))));
        assert_eq!(parsed("99999999S"), Ok(Some(Duration::from_secs(99_999_999))));
        assert_eq!(parsed("0m"), Ok(Some(Duration::ZERO)));
        assert_eq!(parsed("7u"), Ok(Some(Duration::from_micros(7))));
        assert_eq!(parsed("7n"), Ok(Some(Duration::from_nanos(7))));
        assert_eq!(parse(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn what_is_no_timeout_is_refused() {
        for text in ["", "S", "1", "1 S", "-1S", "+1S", "123456789S", "1s", "1.5S", "1SS", "\u{e9}"] {
            assert_eq!(parsed(text), Err(InvalidTimeout), "{text:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(GRPC_TIMEOUT, HeaderValue::from_static("1S"));
        twice.append(GRPC_TIMEOUT, HeaderValue::from_static("2S"));
        assert_eq!(parse(&twice), Err(InvalidTimeout));
    }

    #[test]
    fn what_is_written_is_never_shorter_than_what_was_meant() {
        for nanos in [0, 1, 99_999_999, 100_000_000, 123_456_789, 5_000_000_001, u64::MAX] {
            let meant = Duration::from_nanos(nanos);
            let read = parsed(value(meant).to_str().unwrap()).unwrap().unwrap();
            assert!(
                read >= meant && read.as_nanos() <= meant.as_nanos() * 101 / 100 + 1,
                "{meant:?} {read:?}"
            );
        }
        assert_eq!(value(Duration::MAX), "99999999H");
    }

    #[tokio::test]
    async fn the_deadline_of_a_task_is_seen_inside_and_not_outside() {
        let deadline = Instant::now();
        assert_eq!(scope(Some(deadline), async { current() }).await, Some(deadline));
        assert_eq!(current(), None);
    }
}
