//! What becomes of a request's head on its way to the target.

use http::{
    Request, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use rpc_http2::strip_connection_headers;
use tonic::body::Body;

/// Scheme and authority of the target, as they stand in every request.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

impl Origin {
    /// Takes a request apart into the head that is sent to this origin, and the body.
    pub(super) fn head_of(&self, request: Request<Body>) -> (Request<()>, Body) {
        let (mut head, body) = request.into_parts();
        self.apply(&mut head.uri);
        strip_connection_headers(&mut head.headers);
        (Request::from_parts(head, ()), body)
    }

    /// Completes the URI of a request, of which stubs only know the path.
    fn apply(&self, uri: &mut Uri) {
        let mut parts = std::mem::take(uri).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        // All three parts are there, which is the one condition; the default would be refused by h2.
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_the_origin_of_the_target() {
        let origin = Origin { scheme: Scheme::HTTPS, authority: Authority::from_static("ledger.test:50051") };
        for (given, sent) in [
            ("/bank.v1.Ledger/Transfer", "https://ledger.test:50051/bank.v1.Ledger/Transfer"),
            ("http://elsewhere/a?b=c", "https://ledger.test:50051/a?b=c"),
            ("elsewhere:80", "https://ledger.test:50051/"),
        ] {
            let mut uri: Uri = given.parse().unwrap();
            origin.apply(&mut uri);
            assert_eq!(uri.to_string(), sent);
        }
    }
}
