//! The head of a request, made anew for each attempt.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version, request};
use rpc_core::id::CallAttempt;
use rpc_proto::headers::{
    SESSION, SESSION_ACTIVITY, SESSION_CALL, SESSION_FRAMES, SESSION_RESUME, SESSION_TICKET, call_value,
};
use tonic::body::Body;

/// Headers that only the session sets.
const OURS: [HeaderName; 6] =
    [SESSION, SESSION_TICKET, SESSION_CALL, SESSION_FRAMES, SESSION_RESUME, SESSION_ACTIVITY];
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// What all attempts of a call have in common.
///
/// The header map of the first attempt is the caller's own. Keeping a copy of it for a second attempt that hardly ever
/// comes would cost every call; so only the headers that a stub does not always send are kept, usually none.
pub(super) struct Template {
    path: PathAndQuery,
    /// The map of the first attempt, until it is sent.
    first: Option<HeaderMap>,
    extra: Vec<(HeaderName, HeaderValue)>,
}

impl Template {
    pub(super) fn new(parts: request::Parts) -> Self {
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut headers = parts.headers;
        let mut extra: Vec<_> = headers
            .iter()
            .filter(|(name, value)| !is_usual(name, value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // A stub sends nothing beyond the usual ones, and looks for nothing else.
        if !extra.is_empty() {
            for ours in &OURS {
                headers.remove(ours);
            }
            extra.retain(|(name, _)| !OURS.contains(name));
        }
        Self { path, first: Some(headers), extra }
    }

    /// The method's path.
    pub(super) fn path(&self) -> &str {
        self.path.path()
    }

    /// A request like the first, with this body, and no header of the session yet.
    pub(super) fn request(&mut self, body: Body) -> Request<Body> {
        let headers = self.first.take().unwrap_or_else(|| {
            let mut headers = HeaderMap::with_capacity(self.extra.len() + 6);
            headers.insert(TE, TRAILERS);
            headers.insert(CONTENT_TYPE, GRPC);
            for (name, value) in &self.extra {
                headers.append(name, value.clone());
            }
            headers
        });
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = headers;
        request
    }
}

fn is_usual(name: &HeaderName, value: &HeaderValue) -> bool {
    (*name == TE && *value == TRAILERS) || (*name == CONTENT_TYPE && *value == GRPC)
}

/// Says in `headers` whose call this is and which one.
pub(super) fn stamp_call(headers: &mut HeaderMap, attempt: CallAttempt) {
    headers.insert(SESSION_CALL, call_value(attempt));
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test C-20
    #[test]
    fn every_attempt_has_the_callers_headers_and_path() {
        let mut original = Request::new(());
        *original.uri_mut() = Uri::from_static("/b.B/Once");
        let headers = original.headers_mut();
        headers.insert(TE, TRAILERS);
        headers.insert(CONTENT_TYPE, GRPC);
        headers.append("x-tag", HeaderValue::from_static("one"));
        headers.append("x-tag", HeaderValue::from_static("two"));
        headers.insert(SESSION_CALL, HeaderValue::from_static("0.1.0"));
        let mut template = Template::new(original.into_parts().0);
        let first = template.request(Body::empty());
        let second = template.request(Body::empty());
        assert_eq!(first.uri().path(), "/b.B/Once");
        assert_eq!(second.uri(), first.uri());
        assert_eq!(second.headers(), first.headers());
        assert_eq!(first.headers().get_all("x-tag").iter().count(), 2);
        assert!(!first.headers().contains_key(SESSION_CALL), "a program does not choose call ids");
        assert_eq!((first.method(), first.version()), (&Method::POST, Version::HTTP_2));
    }
}
