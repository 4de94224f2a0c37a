//! Whom we trust, and what we say when we do not.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::*;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Issues a certificate and its key, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    async fn server(&self, name: &str, alpn: &[&[u8]], clients: Option<&Authority>) -> Server {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let (certificate, key) = self.issue(name);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Server::start_with(Shared { tls: Some(TlsAcceptor::from(Arc::new(config))), ..Shared::default() })
            .await
    }
}

async fn refused(server: &Server, tls: Tls) -> Arc<ConnectError> {
    let connections = server.connections(Config::default().tls(tls));
    let error = timeout(SOON, connections.connect()).await.unwrap().unwrap_err();
    let NotSent::Unavailable(cause) = error else { panic!("{error}") };
    cause
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_for_the_right_name_is_accepted() {
    let authority = Authority::new();
    let server = authority.server("localhost", &[b"h2"], None).await;
    let connections = server.connections(Config::default().tls(Tls::with_ca_pem(&authority.pem).unwrap()));
    assert_eq!(echo(&connections).await.unwrap(), "/echo");
}

#[tokio::test]
async fn a_wrong_name_is_refused_and_both_names_are_told() {
    let authority = Authority::new();
    let server = authority.server("ledger.test", &[b"h2"], None).await;
    let tls = Tls::with_ca_pem(&authority.pem).unwrap();
    let report = refused(&server, tls.clone()).await.report().to_string();
    assert!(report.contains("TLS with localhost failed") && report.contains("ledger.test"), "{report}");

    let named = tls.server_name("ledger.test").unwrap();
    assert_eq!(echo(&server.connections(Config::default().tls(named))).await.unwrap(), "/echo");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_told() {
    let server = Authority::new().server("localhost", &[b"h2"], None).await;
    let report = refused(&server, Tls::with_ca_pem(Authority::new().pem).unwrap()).await.report().to_string();
    assert!(report.contains("invalid peer certificate"), "{report}");
}

#[tokio::test]
async fn a_server_without_http2_is_refused_and_told() {
    let authority = Authority::new();
    let tls = Tls::with_ca_pem(&authority.pem).unwrap();
    let without = authority.server("localhost", &[], None).await;
    assert!(matches!(*refused(&without, tls.clone()).await, ConnectError::NoAlpn));
    let other = authority.server("localhost", &[b"http/1.1"], None).await;
    let report = refused(&other, tls).await.report().to_string();
    assert!(report.to_lowercase().contains("applicationprotocol") || report.contains("ALPN"), "{report}");
}

#[tokio::test]
async fn a_plain_server_is_refused() {
    let plain = Server::start().await;
    let target = plain.uri.to_string().replace("http://", "https://").parse().unwrap();
    let tls = Tls::with_ca_pem(Authority::new().pem).unwrap();
    let connections = Connections::new(target, Config::default().tls(tls)).unwrap();
    let error = timeout(SOON, connections.connect()).await.unwrap().unwrap_err();
    assert!(
        matches!(&error, NotSent::Unavailable(cause) if matches!(**cause, ConnectError::Tls { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_servers_that_ask() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = servers.server("localhost", &[b"h2"], Some(&clients)).await;
    let (chain, key) = clients.issue("caller");
    let tls = Tls::with_identity_pem(Some(servers.pem.as_bytes()), chain, key).unwrap();
    assert_eq!(echo(&server.connections(Config::default().tls(tls))).await.unwrap(), "/echo");

    refused(&server, Tls::with_ca_pem(&servers.pem).unwrap()).await;
}
