//! A transfer: `ledger-client [URI [TO [AMOUNT]]]`, from alice.

#![expect(clippy::print_stdout, reason = "that is what the program is for")]

use std::error::Error;

use rpc_client::{Outcome, OutcomeExt as _, Session};
use rpc_examples::bank::TransferRequest;
use rpc_examples::bank::ledger_client::LedgerClient;
use rpc_examples::demo;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let uri = arguments.next().unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let to = arguments.next().unwrap_or_else(|| "bob".to_owned());
    let amount = arguments.next().map_or(Ok(100), |text| text.parse())?;

    let session = Session::builder(uri)
        .credentials(demo::token("alice")?)
        .service::<LedgerClient<Session>>()
        .open()
        .await?;
    println!("session {}", session.number());

    let mut ledger = LedgerClient::new(session.clone()); // the stock stub: a session is a channel
    match ledger.transfer(TransferRequest { from: "alice".into(), to, amount }).await {
        Ok(reply) => println!("booked; alice has {}", reply.into_inner().balance),
        Err(status) => match status.outcome() {
            Some(Outcome::Done) => println!("refused by the bank: {}", status.message()),
            Some(Outcome::NotExecuted) => println!("nothing was booked: {}", status.message()),
            Some(Outcome::Unknown) | None => println!("nobody knows, ask the bank: {}", status.message()),
        },
    }

    session.release().await?; // ends in order
    println!("released");
    Ok(())
}
