//! Shows what a session is for: a server, a client, a connection that is cut after the transfer was booked and before
//! its reply arrived, and one transfer in the books.

#![expect(clippy::print_stdout, reason = "that is what the program is for")]

use std::error::Error;
use std::time::Duration;

use rpc_client::Session;
use rpc_examples::bank::TransferRequest;
use rpc_examples::bank::ledger_client::LedgerClient;
use rpc_examples::bank::ledger_server::LedgerServer;
use rpc_examples::books::{Books, balance};
use rpc_examples::demo;
use rpc_examples::relay::{Relay, Scissors};
use rpc_examples::shared::Shared;
use rpc_server::Server;
use rpc_store::EmbeddedStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The bank. The moment its first transfer is on the disk, the connection is cut: the reply is lost on the way.
    let (directory, scissors) = (tempfile::tempdir()?, Scissors::new());
    let knife = scissors.clone();
    let store = Shared::new(EmbeddedStore::open(directory.path())?).when_committed(move |store| {
        if knife.cuts() == 0 && matches!(balance(store, "bob"), Ok(Some(_))) {
            println!("server    booked 100 from alice to bob, safe on the disk; now the connection is cut");
            knife.cut();
        }
    });
    let server = Server::builder()
        .authenticate(demo::authenticator()?)
        .store(store.clone())
        .service(LedgerServer::new(Books::new(store.clone())))
        .bind("127.0.0.1:0")
        .await?;
    let handle = server.handle();
    let relay = Relay::bind(server.local_addr(), &scissors).await?;
    let address = relay.address()?;
    let relay = tokio::spawn(relay.run());
    let serving = tokio::spawn(server.serve());

    // The client knows nothing of all that.
    let session = Session::builder(format!("http://{address}"))
        .credentials(demo::token("alice")?)
        .service::<LedgerClient<Session>>()
        .open()
        .await?;
    let agreed = session.agreement();
    println!(
        "client    opened session {}: {} slots, lease {:?}",
        session.number(),
        agreed.slots,
        agreed.lease
    );
    let mut events = session.events();
    let mut ledger = LedgerClient::new(session.clone());
    let request = TransferRequest { from: "alice".into(), to: "bob".into(), amount: 100 };
    let reply = ledger.transfer(request).await?;
    println!(
        "client    sent the call again as {}, got its reply ({}): alice has {}",
        demo::sent_again(&mut events).await?,
        reply.metadata().get("session-outcome").map_or("?", |how| how.to_str().unwrap_or("?")),
        reply.get_ref().balance,
    );
    session.release().await?;
    println!("client    released the session");

    handle.drain(Duration::from_secs(5));
    serving.await??;
    relay.abort();
    let (alice, bob) = (balance(&store, "alice")?, balance(&store, "bob")?);
    println!("server    drained; in the books alice has {}, bob {}", alice.unwrap_or(0), bob.unwrap_or(0));
    match (reply.get_ref().balance, alice, bob) {
        (900, Some(900), Some(100)) => {
            println!("success: booked once, told once");
            Ok(())
        }
        wrong => Err(format!("told and booked: {wrong:?}").into()),
    }
}
