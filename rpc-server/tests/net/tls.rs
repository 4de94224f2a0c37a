//! TLS over pipes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rpc_server::net::{ClientCertificates, Config, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Client, Server};

/// One that issues certificates.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    fn pem(&self) -> Vec<u8> {
        use base64::Engine;
        let body = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n").into_bytes()
    }

    /// A server's configuration that asks clients for nothing.
    pub(crate) fn server(&self, name: &str) -> Tls {
        self.issue(name).tls(&ClientCertificates::NotAsked)
    }

    /// A handshake with `localhost` that offers the protocols `alpn`.
    pub(crate) async fn connect(
        &self,
        server: &Server,
        alpn: &[&[u8]],
    ) -> io::Result<TlsStream<DuplexStream>> {
        self.connect_as(server, alpn, None).await
    }

    async fn connect_as(
        &self,
        server: &Server,
        alpn: &[&[u8]],
        identity: Option<&Identity>,
    ) -> io::Result<TlsStream<DuplexStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await
    }
}

impl Identity {
    fn tls(&self, clients: &ClientCertificates) -> Tls {
        let (chain, key) = (self.certificate.pem(), self.key.serialize_pem());
        Tls::from_pem(chain.as_bytes(), key.as_bytes(), clients).unwrap()
    }
}

fn config(tls: &Tls) -> Config {
    let mut config = Config::default();
    config.tls = Some(tls.clone());
    config
}

#[tokio::test(start_paused = true)]
async fn calls_go_over_tls() {
    let authority = Authority::new();
    let server = Server::start(&config(&authority.server("localhost")));
    let client = Client::start(authority.connect(&server, &[b"h2"]).await.unwrap()).await;
    client.call("/now").await.unwrap();
    assert!(server.app.opened()[0].peer_certificates().is_empty());
    server.handle.drain(Duration::from_secs(1));
    assert_eq!(server.ended().await.cut, 0);
}

#[tokio::test(start_paused = true)]
async fn other_protocols_than_http2_are_refused() {
    let authority = Authority::new();
    let server = Server::start(&config(&authority.server("localhost")));
    assert!(authority.connect(&server, &[b"http/1.1"]).await.is_err());
    // A client that offers none takes the handshake for a success, and learns it from the first read.
    let mut stream = authority.connect(&server, &[]).await.unwrap();
    let start = tokio::time::Instant::now();
    assert!(matches!(stream.read(&mut [0]).await, Err(_) | Ok(0)));
    assert!(start.elapsed().is_zero());
    assert!(server.app.opened().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_is_known_by_its_certificate() {
    let authority = Authority::new();
    let clients = ClientCertificates::Required { authorities: authority.pem() };
    let server = Server::start(&config(&authority.issue("localhost").tls(&clients)));
    let alice = authority.issue("alice");
    let stream = authority.connect_as(&server, &[b"h2"], Some(&alice)).await.unwrap();
    Client::start(stream).await.call("/now").await.unwrap();
    assert_eq!(server.app.opened()[0].peer_certificates(), [alice.certificate.der().clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_good_certificate_is_refused_where_one_is_required() {
    let authority = Authority::new();
    let clients = ClientCertificates::Required { authorities: authority.pem() };
    let server = Server::start(&config(&authority.issue("localhost").tls(&clients)));
    let stranger = Authority::new().issue("alice");
    for identity in [None, Some(&stranger)] {
        // In TLS 1.3 the client is done before the server has looked at its certificate.
        let mut stream = authority.connect_as(&server, &[b"h2"], identity).await.unwrap();
        assert!(stream.read(&mut [0]).await.is_err());
    }
    assert!(server.app.opened().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let authority = Authority::new();
    let clients = ClientCertificates::Optional { authorities: authority.pem() };
    let server = Server::start(&config(&authority.issue("localhost").tls(&clients)));
    let stream = authority.connect(&server, &[b"h2"]).await.unwrap();
    Client::start(stream).await.call("/now").await.unwrap();
    let stranger = Authority::new().issue("alice");
    let mut stream = authority.connect_as(&server, &[b"h2"], Some(&stranger)).await.unwrap();
    assert!(stream.read(&mut [0]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_new_certificate_is_served_without_a_restart() {
    let authority = Authority::new();
    let first = authority.issue("localhost");
    let tls = first.tls(&ClientCertificates::NotAsked);
    let server = Server::start(&config(&tls));
    let served =
        |stream: &TlsStream<DuplexStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let old = authority.connect(&server, &[b"h2"]).await.unwrap();
    assert_eq!(served(&old), *first.certificate.der());
    let old = Client::start(old).await;

    let second = authority.issue("localhost");
    tls.reload(second.certificate.pem().as_bytes(), second.key.serialize_pem().as_bytes()).unwrap();
    let new = authority.connect(&server, &[b"h2"]).await.unwrap();
    assert_eq!(served(&new), *second.certificate.der());
    old.call("/now").await.unwrap();
}
