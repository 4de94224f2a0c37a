//! A bank on one port: `ledger-server [ADDRESS]`. Ctrl-C drains it.

#![expect(clippy::print_stdout, reason = "that is what the program is for")]

use std::error::Error;
use std::time::Duration;

use rpc_examples::bank::{self, ledger_server::LedgerServer};
use rpc_examples::books::Books;
use rpc_examples::demo;
use rpc_server::{MemoryStore, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    let server = Server::builder()
        .authenticate(demo::authenticator()?) // whom to trust
        .store(MemoryStore::new()) // where sessions are kept
        .service(LedgerServer::new(Books::new()))
        .descriptors(bank::DESCRIPTORS) // for grpcurl and the like
        .bind(address)
        .await?;
    println!("listening on {}", server.local_addr());
    println!("a token for alice: {}", demo::token("alice")?);
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
