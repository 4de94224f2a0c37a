//! The response that a stub gets: with the handler's own headers.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use rpc_core::frame::Head;
use rpc_proto::headers::{SESSION_OUTCOME, SESSION_RESUME};
use tonic::Status;

/// Headers that say something of the transport or the session, and not of the handler.
fn is_foreign(name: &HeaderName) -> bool {
    let trailers = [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS];
    [SESSION_OUTCOME, SESSION_RESUME].contains(name) || trailers.contains(name)
}

/// The headers of HEAD. What is no header is left out: a server cannot have meant it.
pub(super) fn headers(head: Option<Head>) -> HeaderMap {
    let entries = head.map(|head| head.entries).unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(entries.len() + 1);
    for (name, value) in entries {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_maybe_shared(value))
        else {
            continue;
        };
        if !is_foreign(&name) {
            headers.append(name, value);
        }
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/grpc"));
    headers
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    //= test W-18
    #[test]
    fn the_handlers_headers_are_kept_in_order_and_nothing_else() {
        let entry = |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
        let entries = vec![
            entry("x-tag", "one"),
            entry("grpc-encoding", "gzip"),
            entry("x-tag", "two"),
            entry("grpc-status", "0"),
            entry("session-outcome", "new"),
            entry("no header", "x"),
            entry("x-bad", "line\nbreak"),
        ];
        let headers = headers(Some(Head { entries }));
        let tags: Vec<_> = headers.get_all("x-tag").iter().collect();
        assert_eq!(tags, ["one", "two"]);
        assert_eq!(headers["grpc-encoding"], "gzip");
        assert_eq!(headers[CONTENT_TYPE], "application/grpc");
        assert_eq!(headers.len(), 4);
    }
}
