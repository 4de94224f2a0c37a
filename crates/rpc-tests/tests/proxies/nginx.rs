//! nginx, HTTP/2 to the client and gRPC to the server.

use std::net::SocketAddr;
use std::path::Path;

use super::running::{Running, binary};
use super::{server, work};

/// One process, so that killing it kills all of it. `settings` stand in the server's block.
fn configuration(listen: SocketAddr, upstream: SocketAddr, directory: &Path, settings: &str) -> String {
    let directory = directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {directory}/{name};\n"))
        .concat();
    format!(
        "daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/log info;
events {{ worker_connections 4096; }}
http {{
    access_log off;
{temporary}
    upstream backend {{
        server {upstream};
        keepalive 64;
    }}
    server {{
        listen {listen} http2;
{settings}
        location / {{ grpc_pass grpc://backend; }}
    }}
}}
"
    )
}

async fn start(upstream: SocketAddr, settings: &str) -> Option<Running> {
    let binary = binary("nginx")?;
    let configure =
        |listen: SocketAddr, directory: &Path| configuration(listen, upstream, directory, settings);
    Some(Running::start(&binary, &["-c"], configure).await)
}

/// What `docs/operations.md` says, but that connections are closed after 1,000 requests.
const SETTINGS: &str = "
        client_max_body_size 0;
        client_body_timeout 1h;
        grpc_read_timeout 1h;
        grpc_send_timeout 1h;
        keepalive_requests 1000;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_though_nginx_closes_connections() {
    let server = server().await;
    let Some(nginx) = start(server.address(), SETTINGS).await else { return };
    let connections = work::all(nginx.address(), &server).await;
    assert!(connections > 2, "{connections} connections: nginx closed none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_the_patience_of_nginx_with_its_silence() {
    let server = server().await;
    let impatient = "
        client_max_body_size 0;
        client_body_timeout 1s;
        grpc_read_timeout 1s;
        grpc_send_timeout 1s;
";
    let Some(nginx) = start(server.address(), impatient).await else { return };
    work::silent_chat(nginx.address()).await;
}
