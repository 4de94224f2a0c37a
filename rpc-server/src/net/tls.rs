//! TLS by rustls: HTTP/2 by ALPN, certificates that change while serving, client certificates by choice.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

/// The name by which TLS agrees on HTTP/2.
pub(super) const H2: &[u8] = b"h2";

/// The certificate and key of a server. A cheap clone; all clones change together on [`Tls::reload`].
///
/// Speaks TLS 1.3 and 1.2, never takes early data (which can be replayed), and refuses peers that do not agree on
/// HTTP/2.
#[derive(Clone)]
pub struct Tls {
    /// `None` asks clients for no certificate.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// Whether clients show a certificate, and whom they must have it from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// Clients are not asked.
    #[default]
    NotAsked,
    /// Clients may show one; one that is shown must be good.
    Optional {
        /// The trusted authorities, as PEM.
        authorities: Vec<u8>,
    },
    /// A client without a good one is refused.
    Required {
        /// The trusted authorities, as PEM.
        authorities: Vec<u8>,
    },
}

/// Why a certificate, a key or a list of authorities cannot be used. Shows nothing of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate chain is not PEM.
    #[error("certificate chain is not readable as PEM")]
    Chain(#[source] pem::Error),
    /// There is no certificate in the chain.
    #[error("no certificate in the chain")]
    NoCertificate,
    /// The key is missing or not PEM. The cause is left out, since it may quote the input.
    #[error("no private key readable as PEM (PKCS#8, PKCS#1 or SEC1)")]
    Key,
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("certificate and key are refused")]
    Identity(#[source] rustls::Error),
    /// The list of authorities is not PEM.
    #[error("client authorities are not readable as PEM")]
    Authorities(#[source] pem::Error),
    /// An authority is not a certificate that can sign others.
    #[error("a client authority is refused")]
    Authority(#[source] rustls::Error),
    /// The list of authorities is empty, so nobody could connect.
    #[error("no usable client authority")]
    NoAuthority(#[source] rustls::server::VerifierBuilderError),
}

impl Tls {
    /// Serves `chain`, the server's certificate followed by those that lead to a root, with its `key`, both PEM.
    ///
    /// # Errors
    ///
    /// What is wrong with which of the inputs, see [`TlsError`].
    pub fn from_pem(chain: &[u8], key: &[u8], clients: &ClientCertificates) -> Result<Self, TlsError> {
        let verifier = client_verifier(clients)?;
        let config = server_config(chain, key, verifier.clone())?;
        Ok(Self { verifier, current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// Serves another certificate from the next handshake on. Connections that exist are not touched; what is asked
    /// of clients stays as it is.
    ///
    /// # Errors
    ///
    /// As [`Tls::from_pem`]; the former certificate stays in use.
    pub fn reload(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let config = server_config(chain, key, self.verifier.clone())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// What the next handshake uses.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("asks_clients", &self.verifier.is_some()).finish_non_exhaustive()
    }
}

/// Named rather than taken from the process, where another crate may have put one, or none.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn server_config(
    chain: &[u8],
    key: &[u8],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, TlsError> {
    let chain = certificates(chain).map_err(TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Identity)?;
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(config)
}

fn client_verifier(clients: &ClientCertificates) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (authorities, required) = match clients {
        ClientCertificates::NotAsked => return Ok(None),
        ClientCertificates::Optional { authorities } => (authorities, false),
        ClientCertificates::Required { authorities } => (authorities, true),
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities).map_err(TlsError::Authorities)? {
        roots.add(authority).map_err(TlsError::Authority)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(TlsError::NoAuthority)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn load(chain: &str, key: &str) -> Result<Tls, TlsError> {
        Tls::from_pem(chain.as_bytes(), key.as_bytes(), &ClientCertificates::NotAsked)
    }

    #[test]
    fn each_bad_input_is_named() {
        let (chain, key) = identity();
        let (_, other_key) = identity();
        let broken = "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
        assert!(load(&chain, &key).is_ok());
        assert!(matches!(load("", &key), Err(TlsError::NoCertificate)));
        assert!(matches!(load(broken, &key), Err(TlsError::Chain(_))));
        assert!(matches!(load(&chain, ""), Err(TlsError::Key)));
        assert!(matches!(load(&chain, &other_key), Err(TlsError::Identity(_))));
        let clients = |authorities: &str| ClientCertificates::Required { authorities: authorities.into() };
        let with = |clients| Tls::from_pem(chain.as_bytes(), key.as_bytes(), &clients);
        assert!(matches!(with(clients("")), Err(TlsError::NoAuthority(_))));
        assert!(matches!(with(clients(broken)), Err(TlsError::Authorities(_))));
    }

    #[test]
    fn a_failed_reload_changes_nothing() {
        let (chain, key) = identity();
        let tls = load(&chain, &key).unwrap();
        let before = tls.current();
        assert!(tls.reload(chain.as_bytes(), b"no key").is_err());
        assert!(Arc::ptr_eq(&before, &tls.current()));
        let (chain, key) = identity();
        tls.clone().reload(chain.as_bytes(), key.as_bytes()).unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current()));
    }

    #[test]
    fn the_key_does_not_print() {
        let (chain, key) = identity();
        let tls = load(&chain, &key).unwrap();
        assert_eq!(format!("{tls:?}"), "Tls { asks_clients: false, .. }");
        let shown = format!("{:?}", load(&chain, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n").unwrap_err());
        assert_eq!(shown, "Key");
    }
}
