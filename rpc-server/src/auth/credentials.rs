//! What a caller shows.

use std::fmt;
use std::net::SocketAddr;

use http::HeaderMap;
use rustls::pki_types::CertificateDer;

use super::{AuthError, Bearer};

/// Everything one request offers to say who sent it. Borrowed for the time of one
/// [`authenticate`](super::Authenticator::authenticate).
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    bearer: Option<Bearer<'a>>,
    certificates: &'a [CertificateDer<'static>],
    remote: Option<SocketAddr>,
}

impl<'a> Credentials<'a> {
    /// Nothing at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// What the headers of a request offer.
    ///
    /// # Errors
    ///
    /// Those of [`Bearer::from_headers`].
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Self, AuthError> {
        Ok(Self { bearer: Bearer::from_headers(headers)?, ..Self::none() })
    }

    /// Adds a bearer token.
    pub fn with_bearer(mut self, bearer: Bearer<'a>) -> Self {
        self.bearer = Some(bearer);
        self
    }

    /// Adds the client's certificate chain, leaf first, already verified by TLS.
    pub fn with_certificates(mut self, certificates: &'a [CertificateDer<'static>]) -> Self {
        self.certificates = certificates;
        self
    }

    /// Adds the address the connection comes from; behind a proxy it is the proxy's.
    pub fn with_remote_address(mut self, remote: SocketAddr) -> Self {
        self.remote = Some(remote);
        self
    }

    /// The token of the `authorization` header.
    pub fn bearer(&self) -> Option<Bearer<'a>> {
        self.bearer
    }

    /// The client's certificate chain, leaf first; empty without mutual TLS.
    pub fn certificates(&self) -> &'a [CertificateDer<'static>] {
        self.certificates
    }

    /// Where the connection comes from. A hint, not a proof of anything.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.remote
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("bearer", &self.bearer)
            .field("certificates", &self.certificates.len())
            .field("remote", &self.remote)
            .finish()
    }
}
