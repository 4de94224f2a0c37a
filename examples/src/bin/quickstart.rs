//! Shows what a session is for: a server, a client, a connection that is cut after the transfer was booked and before
//! its reply arrived, and one transfer in the books.

#![expect(clippy::print_stdout, reason = "that is what the program is for")]

use std::error::Error;
use std::time::Duration;

use rpc_client::{Event, Session};
use rpc_examples::bank::TransferRequest;
use rpc_examples::bank::ledger_client::LedgerClient;
use rpc_examples::bank::ledger_server::LedgerServer;
use rpc_examples::books::Books;
use rpc_examples::demo;
use rpc_examples::relay::{Relay, Scissors};
use rpc_server::{MemoryStore, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The bank. The moment its first transfer is booked, the connection is cut: the reply is lost on the way.
    let scissors = Scissors::new();
    let knife = scissors.clone();
    let books = Books::new().when_booked(move || {
        if knife.cuts() == 0 {
            println!("server    booked 100 from alice to bob; now the connection is cut");
            knife.cut();
        }
    });
    let server = Server::builder()
        .authenticate(demo::authenticator()?)
        .store(MemoryStore::new())
        .service(LedgerServer::new(books.clone()))
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
        retried(&mut events).await?,
        reply.metadata().get("session-outcome").map_or("?", |how| how.to_str().unwrap_or("?")),
        reply.get_ref().balance,
    );
    session.release().await?;
    println!("client    released the session");

    handle.drain(Duration::from_secs(5));
    serving.await??;
    relay.abort();
    println!("server    drained; {} transfer in the books", books.transfers());
    match (books.transfers(), reply.get_ref().balance) {
        (1, 900) => {
            println!("success: booked once, told once");
            Ok(())
        }
        (transfers, balance) => Err(format!("booked {transfers} times, balance {balance}").into()),
    }
}

/// The try that got the answer, of the events so far.
async fn retried(events: &mut rpc_client::Events) -> Result<String, Box<dyn Error>> {
    let retry = async {
        while let Some(event) = events.next().await {
            if let Event::CallRetried(attempt) = event {
                return Some(attempt.to_string());
            }
        }
        None
    };
    let found = tokio::time::timeout(Duration::from_secs(10), retry).await;
    found.ok().flatten().ok_or_else(|| "the call was not sent again".into())
}
