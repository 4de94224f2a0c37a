//! A bank on one port: `ledger-server [ADDRESS [DIRECTORY]]`. Ctrl-C drains it. Kill it, start it again with the same
//! directory, and the books are right; without a directory they end with the server.

#![expect(clippy::print_stdout, reason = "that is what the program is for")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use rpc_examples::bank::{self, ledger_server::LedgerServer};
use rpc_examples::books::Books;
use rpc_examples::shared::Shared;
use rpc_examples::{demo, program};
use rpc_server::Server;
use rpc_store::EmbeddedStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    let scratch = tempfile::tempdir()?;
    let directory = arguments.next().map_or_else(|| scratch.path().join("store"), PathBuf::from);
    let store = Shared::new(EmbeddedStore::open(directory)?);

    let server = Server::builder()
        .authenticate(demo::authenticator()?) // whom to trust
        .store(store.clone()) // where sessions, replies and accounts are kept
        .service(LedgerServer::new(Books::new(store)))
        .descriptors(bank::DESCRIPTORS) // for grpcurl and the like
        .bind(address)
        .await?;
    println!("listening on {}", server.local_addr());
    println!("a token for alice: {}", demo::token("alice")?);
    let report = server.serve_with_shutdown(program::interrupted(), Duration::from_secs(10)).await?;
    println!("drained: {} connections served, {} cut", report.served, report.cut);
    Ok(())
}
