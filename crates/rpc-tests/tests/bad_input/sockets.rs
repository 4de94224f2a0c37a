//! Peers that say nothing, or half of it.

use std::time::{Duration, Instant};

use rcgen::KeyPair;
use rpc_server::net::{ClientCertificates, Tls};
use rpc_tests::server::{TestServer, net};
use rpc_tests::session::Opened;
use rpc_tests::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TIMEOUT: Duration = Duration::from_millis(300);

/// Waits for the server to close, and returns how long that took.
async fn closed(stream: &mut TcpStream) -> Duration {
    let started = Instant::now();
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = soon("the server closes", stream.read_to_end(&mut rest)).await;
    started.elapsed()
}

#[track_caller]
fn on_time(elapsed: Duration) {
    // From when this test began to look, a little later than from when the server did.
    assert!(elapsed > TIMEOUT / 2 && elapsed < TIMEOUT * 10, "{elapsed:?}");
}

//= test E-9
#[tokio::test]
async fn peers_that_do_not_finish_their_preface_are_closed_on_time() {
    let server = TestServer::start_with(|builder| {
        builder.net(net(|config| {
            config.timeouts.preface = TIMEOUT;
            config.timeouts.first_request = TIMEOUT;
            // Who is asked to go for lack of a request, and does not answer, has this long.
            config.lifetime.grace = Duration::ZERO;
        }))
    })
    .await;
    let alice = Opened::open(&server.connect().await).await;
    for said in [&b""[..], &PREFACE[..10], PREFACE, &[PREFACE, &[0, 0, 6]].concat()] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        on_time(closed(&mut stream).await);
    }
    // All of the preface, and then no request.
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await.unwrap();
    on_time(closed(&mut stream).await);
    alice.query(0, 1).await;
}

#[tokio::test]
async fn peers_that_trickle_their_preface_get_no_more_time() {
    let server =
        TestServer::start_with(|builder| builder.net(net(|config| config.timeouts.preface = TIMEOUT))).await;
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let trickle = tokio::spawn(async move {
        for byte in PREFACE {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(TIMEOUT / 4).await;
        }
    });
    let started = Instant::now();
    let mut rest = Vec::new();
    let _ = soon("the server closes", read.read_to_end(&mut rest)).await;
    on_time(started.elapsed());
    trickle.abort();
}

#[tokio::test]
async fn peers_that_speak_http1_or_nonsense_are_closed_at_once() {
    let server = TestServer::start().await;
    for said in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"\x16\x03\x01\x00\x05hello", &[0xff; 64]] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        assert!(closed(&mut stream).await < Duration::from_secs(4));
    }
    Opened::open(&server.connect().await).await;
}

//= test E-9
#[tokio::test]
async fn a_stalled_tls_handshake_is_closed_on_time() {
    let key = KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = rpc_tests::token::certificate_pem(certificate.der());
    let tls =
        Tls::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes(), &ClientCertificates::NotAsked).unwrap();
    let server = TestServer::start_with(|builder| {
        builder.net(net(|config| config.timeouts.tls_handshake = TIMEOUT)).tls(tls)
    })
    .await;
    // Silence; the head of a record that does not come; a plaintext preface is refused at once instead.
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        on_time(closed(&mut stream).await);
    }
}
