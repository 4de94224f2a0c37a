//! The command line.

use std::io::{IsTerminal as _, Write as _, stdin, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rpc_server::{EndedSession, MemoryStore, Server, SessionEnd};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::client::{Console, Refused};
use super::database::Database;
use super::demonstration;
use crate::console::database_server::DatabaseServer;
use crate::demo;
use crate::program::interrupted;
use crate::transfer::bar::say;
use crate::transfer::failure::Failure;

/// How long statements may go on when the server is told to end.
const GRACE: Duration = Duration::from_secs(5);

/// A database session over SQLite: transactions, temporary tables and settings survive a cut connection.
///
/// Without a command: a demonstration, which needs nothing and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serves a database file.
    Serve {
        #[arg(default_value = "console.db")]
        file: PathBuf,
        /// Where to listen; port 0 for any. Everybody who reaches it may do everything.
        #[arg(long, default_value = "127.0.0.1:50051")]
        listen: String,
    },
    /// Reads statements from standard input, one a line.
    Connect {
        #[arg(default_value = "http://127.0.0.1:50051")]
        uri: String,
        #[arg(long, default_value = "alice")]
        user: String,
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
            Some(What::Serve { file, listen }) => {
                let database = open(file)?;
                let server = bind(database, &listen, say).await?;
                say(format!("listening on {}", server.local_addr()));
                let ended = server.serve_with_shutdown(interrupted(), GRACE).await;
                ended.map(drop).map_err(|error| Failure::new(error.to_string()))
            }
            Some(What::Connect { uri, user }) => connect(&uri, &user).await,
        }
    }
}

/// Opens the database.
pub(super) fn open(file: PathBuf) -> Result<Database, Failure> {
    let shown = file.display().to_string();
    Database::open(file).map_err(|error| Failure::new(format!("{shown}: {error}")))
}

/// A server of the database. `told` hears of each session that ends.
pub(super) async fn bind(
    database: Database,
    address: &str,
    told: impl Fn(String) + Send + 'static,
) -> Result<Server, Failure> {
    let authenticator = demo::authenticator().map_err(|error| Failure::new(error.to_string()))?;
    let held = database.clone();
    let server = Server::builder()
        .authenticate(authenticator) // whom to trust
        .store(MemoryStore::new()) // a transaction does not outlive the server, so why should its session
        .service(DatabaseServer::new(database))
        .on_session_end(move |ended| told(farewell(ended, held.close(ended))))
        .bind(address);
    server.await.map_err(|error| Failure::new(format!("{address}: {error}")))
}

fn farewell(ended: &EndedSession, rolled_back: bool) -> String {
    let how = match ended.end {
        SessionEnd::Released => "was released",
        SessionEnd::Expired => "expired",
        _ => "was aborted",
    };
    let transaction = if rolled_back { ", its transaction is rolled back" } else { "" };
    format!("session {} of {} {how}{transaction}", ended.number, ended.principal.subject())
}

async fn connect(uri: &str, user: &str) -> Result<(), Failure> {
    let mut console = Console::open(uri, user, None).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        if stdin().is_terminal() {
            print(&console.prompt());
        }
        let line =
            lines.next_line().await.map_err(|error| Failure::new(format!("standard input: {error}")))?;
        let Some(line) = line else { break };
        match line.trim() {
            "" => {}
            ".quit" => break,
            statement => match console.run(statement).await {
                Ok(answer) => say(answer),
                Err(Refused::Statement(why)) => say(format!("error: {why}")),
                Err(Refused::Session(failure)) => return Err(failure),
            },
        }
    }
    console.release().await
}

fn print(prompt: &str) {
    let mut out = stdout();
    let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
}

/// The URI of a server on this machine.
pub(super) fn uri(address: SocketAddr) -> String {
    format!("http://{address}")
}
