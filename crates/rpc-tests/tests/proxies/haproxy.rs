//! HAProxy, HTTP/2 on both sides, and as a relay of bytes.

use std::net::SocketAddr;

use super::running::{Running, binary};
use super::{server, work};

fn configuration(listen: SocketAddr, upstream: SocketAddr, mode: &str, proto: &str, timeout: &str) -> String {
    format!(
        "defaults
    mode {mode}
    timeout connect 5s
    timeout client {timeout}
    timeout server {timeout}
frontend grpc
    bind {listen} {proto}
    default_backend servers
backend servers
    server one {upstream} {proto}
"
    )
}

async fn start(upstream: SocketAddr, mode: &str, proto: &str, timeout: &str) -> Option<Running> {
    let binary = binary("haproxy")?;
    let configure = |listen: SocketAddr, _: &_| configuration(listen, upstream, mode, proto, timeout);
    Some(Running::start(&binary, &["-db", "-f"], configure).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_behind_haproxy() {
    let server = server().await;
    let Some(haproxy) = start(server.address(), "http", "proto h2", "1h").await else { return };
    work::all(haproxy.address(), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_behind_haproxy_that_relays_bytes() {
    let server = server().await;
    let Some(haproxy) = start(server.address(), "tcp", "", "1h").await else { return };
    work::all(haproxy.address(), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_the_patience_of_haproxy_with_its_silence() {
    let server = server().await;
    let Some(haproxy) = start(server.address(), "http", "proto h2", "1s").await else { return };
    work::silent_chat(haproxy.address()).await;
}
