//! The tests' handlers of streams on one port, for programs that are not written in Rust: `streams-server [ADDRESS]`.
//! Ctrl-C drains it.
#![expect(clippy::print_stdout, reason = "that is what the program is for")]

use std::error::Error;
use std::time::Duration;

use rpc_tests::ledger::Books;
use rpc_tests::pb::streams::v1::test_streams_server::TestStreamsServer;
use rpc_tests::streams::Streams;
use rpc_tests::{server, token};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let service = TestStreamsServer::new(Streams::default());
    let server = server::builder(&Books::default()).service(service).bind(address).await?;
    println!("listening on {}", server.local_addr());
    println!("a token for alice: {}", token::token("alice", &[]));
    let ctrl_c = async {
        // Without the signal there is nothing to wait for, and the server goes on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let report = server.serve_with_shutdown(ctrl_c, Duration::from_secs(10)).await?;
    println!("drained: {} connections served, {} cut", report.served, report.cut);
    Ok(())
}
