//! Whom to trust and who we are: TLS by rustls, HTTP/2 required.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{self, CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use super::{
    connector::BoxIo,
    error::{ConnectError, ConnectStep},
};

/// What TLS must offer: HTTP/2, and nothing else.
const ALPN_H2: &[u8] = b"h2";

/// Whom to trust, and which certificate to show.
///
/// TLS 1.3 and 1.2 with the default cipher suites of rustls on aws-lc-rs; no early data, since what it carries can be
/// replayed by a third party.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Trusts the roots of the operating system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are followed).
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRoots`] if not one root could be loaded.
    pub fn system() -> Result<Self, TlsError> {
        Self::from_parts(system_roots()?, None)
    }

    /// Trusts the certificate authorities in `pem`, and no others.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`] if `pem` cannot be read, [`TlsError::NoRoots`] if it has no certificate, and
    /// [`TlsError::Rustls`] if one of them is not an authority.
    pub fn with_ca_pem(pem: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::from_parts(roots(pem.as_ref())?, None)
    }

    /// Trusts the certificate authorities in `ca_pem` (`None`: the system's), and shows the certificate chain in
    /// `chain_pem` with the private key in `key_pem` to servers that ask for one.
    ///
    /// # Errors
    ///
    /// As [`with_ca_pem`](Self::with_ca_pem), and [`TlsError::Rustls`] if the key does not belong to the certificate.
    pub fn with_identity_pem(
        ca_pem: Option<&[u8]>,
        chain_pem: impl AsRef<[u8]>,
        key_pem: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        let roots = ca_pem.map_or_else(system_roots, roots)?;
        let chain = certificates(chain_pem.as_ref())?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_ref()).map_err(TlsError::Pem)?;
        Self::from_parts(roots, Some((chain, key)))
    }

    /// Uses a configuration made elsewhere, for verifiers and resolvers of one's own. Its ALPN list is replaced by
    /// `h2`.
    pub fn from_rustls(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Self { config: Arc::new(config), server_name: None }
    }

    /// Expects the server's certificate to be for `name`, instead of for the host of the target.
    ///
    /// # Errors
    ///
    /// [`TlsError::ServerName`] if `name` is neither a host name nor an address.
    pub fn server_name(mut self, name: impl Into<String>) -> Result<Self, TlsError> {
        self.server_name = Some(parse_name(name.into())?);
        Ok(self)
    }

    fn from_parts(roots: RootCertStore, identity: Option<Identity>) -> Result<Self, TlsError> {
        // The provider is named, because the process may have installed another one, or none.
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Rustls)?
            .with_root_certificates(roots);
        let config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(TlsError::Rustls)?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self::from_rustls(config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds the private key.
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that no longer parse; one of them must not take the others away.
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(TlsError::Rustls)?;
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(TlsError::Pem)
}

fn parse_name(name: String) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name))
}

/// Why TLS settings were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Not one trusted authority: nothing could ever be verified.
    #[error("no trusted certificate authority")]
    NoRoots,
    /// A certificate or key is not readable PEM.
    #[error("unreadable PEM")]
    Pem(#[source] pki_types::pem::Error),
    /// The name is neither a host name nor an address.
    #[error("not a server name: {0}")]
    ServerName(String),
    /// rustls refused a certificate, a key, or both together.
    #[error("certificate or key refused")]
    Rustls(#[source] rustls::Error),
}

/// The TLS step of a dial, with everything decided.
#[derive(Clone)]
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Handshake {
    /// Prepares the handshake with `host`, unless `tls` names another server.
    pub(super) fn new(tls: Tls, host: &str) -> Result<Self, TlsError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = tls.server_name.map_or_else(|| parse_name(host.to_owned()), Ok)?;
        Ok(Self { connector: TlsConnector::from(tls.config), name })
    }

    /// Wraps `io` in TLS, verified and with HTTP/2 agreed.
    pub(super) async fn run(&self, io: BoxIo) -> Result<BoxIo, ConnectError> {
        let failed = |source: io::Error| ConnectError::Tls { name: self.name.to_str().into_owned(), source };
        let stream = self.connector.connect(self.name.clone(), io).await.map_err(failed)?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            return Err(ConnectError::NoAlpn);
        }
        tracing::trace!(step = %ConnectStep::Tls, name = %self.name.to_str(), "TLS established");
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_could_never_verify_anything_are_refused() {
        assert!(matches!(Tls::with_ca_pem(""), Err(TlsError::NoRoots)));
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(Tls::with_ca_pem(broken), Err(TlsError::Pem(_))));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let one = rcgen::generate_simple_self_signed(["one".to_owned()]).unwrap();
        let two = rcgen::generate_simple_self_signed(["two".to_owned()]).unwrap();
        let ca = one.cert.pem();
        let result =
            Tls::with_identity_pem(Some(ca.as_bytes()), one.cert.pem(), two.signing_key.serialize_pem());
        assert!(matches!(result, Err(TlsError::Rustls(_))));
        let result =
            Tls::with_identity_pem(Some(ca.as_bytes()), one.cert.pem(), one.signing_key.serialize_pem());
        assert!(!format!("{:?}", result.unwrap()).contains("BEGIN"));
    }

    #[test]
    fn server_names_are_host_names_or_addresses() {
        let pem = rcgen::generate_simple_self_signed(["one".to_owned()]).unwrap().cert.pem();
        let tls = Tls::with_ca_pem(pem).unwrap();
        assert!(matches!(tls.clone().server_name("not a name"), Err(TlsError::ServerName(_))));
        assert!(Handshake::new(tls.clone(), "[::1]").is_ok());
        assert!(Handshake::new(tls, "ledger.test").is_ok());
    }
}
