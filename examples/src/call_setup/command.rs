//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand};
use rpc_server::{MemoryStore, Server};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::demonstration;
use super::exchange::Switchboard;
use super::phone::{Heard, Phone};
use crate::demo;
use crate::phone::exchange_server::ExchangeServer;
use crate::phone::signal::Kind;
use crate::program::interrupted;
use crate::transfer::bar::say;
use crate::transfer::failure::Failure;

/// How long calls may go on when the exchange is told to end.
const GRACE: Duration = Duration::from_secs(5);

/// A telephone exchange and its telephones.
///
/// Without a command: a demonstration.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serves the exchange.
    Serve {
        #[arg(default_value = "127.0.0.1:50051")]
        address: String,
    },
    /// A telephone: `call NAME`, `answer`, `refuse`, `hang up`; anything else is said.
    Phone {
        name: String,
        #[arg(long, default_value = "http://127.0.0.1:50051")]
        uri: String,
    },
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    ///
    /// In one sentence.
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            None => demonstration::run().await,
            Some(What::Serve { address }) => {
                let server = bind(&address).await?;
                say(format!("listening on {}", server.local_addr()));
                let ended = server.serve_with_shutdown(interrupted(), GRACE).await;
                ended.map(drop).map_err(|error| Failure::new(error.to_string()))
            }
            Some(What::Phone { name, uri }) => use_phone(Phone::connect(&uri, &name).await?).await,
        }
    }
}

/// A server of the exchange.
pub(super) async fn bind(address: &str) -> Result<Server, Failure> {
    let authenticator = demo::authenticator().map_err(|error| Failure::new(error.to_string()))?;
    let server = Server::builder()
        .authenticate(authenticator)
        .store(MemoryStore::new()) // a call does not outlive the exchange
        .service(ExchangeServer::new(Switchboard::default()))
        .bind(address);
    server.await.map_err(|error| Failure::new(format!("{address}: {error}")))
}

/// Until the end of standard input.
async fn use_phone(mut phone: Phone) -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let line = line.map_err(|error| Failure::new(format!("standard input: {error}")))?;
                let Some(line) = line else { return phone.close().await };
                let done = match line.trim() {
                    "" => Ok(()),
                    "answer" => phone.signal(Kind::Answered, "").await,
                    "refuse" => phone.signal(Kind::Refused, "").await,
                    "hang up" => phone.signal(Kind::HungUp, "").await,
                    line => match line.strip_prefix("call ") {
                        Some(party) => phone.signal(Kind::Call, party.trim()).await,
                        None => phone.talk(line).await,
                    },
                };
                done.map_err(|status| Failure::new(status.message()))?;
            }
            heard = phone.hear() => match heard.map_err(|status| Failure::new(status.message()))? {
                Some(Heard::Voice(words)) => say(format!("< {words}")),
                Some(Heard::Signal(kind, party)) => say(format!("* {} {party}", kind.as_str_name())),
                None => return Err(Failure::new("the line is closed")),
            },
        }
    }
}
