//! Both ends over TLS.

use rpc_client::{OpenError, Session, Tls};
use rpc_server::net::{self, ClientCertificates};
use rpc_tests::server::TestServer;
use rpc_tests::token;

use super::{Client, request};

fn certificate(name: &str) -> (String, String) {
    let key = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (key.cert.pem(), key.signing_key.serialize_pem())
}

async fn server(chain: &str, key: &str) -> TestServer {
    let tls = net::Tls::from_pem(chain.as_bytes(), key.as_bytes(), &ClientCertificates::NotAsked).unwrap();
    TestServer::start_with(|builder| builder.tls(tls)).await
}

async fn open(server: &TestServer, trusted: &str) -> Result<Session, OpenError> {
    Session::builder(format!("https://localhost:{}", server.address().port()))
        .credentials(token::token("alice", &[]))
        .service::<Client>()
        .tls(Tls::with_ca_pem(trusted).unwrap())
        .open_timeout(std::time::Duration::from_secs(2))
        .open()
        .await
}

#[tokio::test]
async fn a_protected_call_goes_over_tls() {
    let (chain, key) = certificate("localhost");
    let server = server(&chain, &key).await;
    let session = open(&server, &chain).await.unwrap();
    let reply = Client::new(session.clone()).transfer(request("a")).await.unwrap();
    assert_eq!(reply.get_ref().booked, 1);
    session.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_no_token() {
    let (chain, key) = certificate("localhost");
    let (other, _) = certificate("localhost");
    let server = server(&chain, &key).await;
    let refused = open(&server, &other).await.unwrap_err();
    let told = std::iter::successors(Some(&refused as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    assert!(told.contains("certificate"), "{told}");
}
