//! The client: a session with the database, and what its statements print.

use std::time::Duration;

use rpc_client::{Life, Outcome, OutcomeExt as _, Session};
use tonic::Status;

use crate::console::database_client::DatabaseClient;
use crate::console::{Row, RunReply, RunRequest};
use crate::demo;
use crate::transfer::bar::counted;
use crate::transfer::failure::Failure;

/// How long a server is waited for that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A session with a database.
pub struct Console {
    session: Session,
    client: DatabaseClient<Session>,
    user: String,
    in_transaction: bool,
}

/// Why a statement has no answer.
pub enum Refused {
    /// There is no answer to this one, for this reason; the session goes on.
    Statement(String),
    /// The session is over, and with it its transaction.
    Session(Failure),
}

impl Console {
    /// Opens a session of `user`, which the server keeps for `linger` when its connection is lost; unset: as it likes.
    ///
    /// # Errors
    ///
    /// In one sentence.
    pub async fn open(uri: &str, user: &str, linger: Option<Duration>) -> Result<Self, Failure> {
        let token = demo::token(user).map_err(|error| Failure::new(format!("{user}: {error}")))?;
        let builder = Session::builder(uri).credentials(token).service::<DatabaseClient<Session>>();
        let builder = builder.open_timeout(PATIENCE);
        let builder = if let Some(linger) = linger { builder.linger(linger) } else { builder };
        let session = builder.open().await.map_err(|error| Failure::of_opening(uri, &error))?;
        let client = DatabaseClient::new(session.clone());
        Ok(Self { session, client, user: user.to_owned(), in_transaction: false })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whose turn it is to type; with a star while a transaction is open.
    pub fn prompt(&self) -> String {
        format!("{}{}> ", self.user, if self.in_transaction { "*" } else { "" })
    }

    /// Runs a statement and shows what it answered.
    ///
    /// # Errors
    ///
    /// The database's, or the session's end.
    pub async fn run(&mut self, sql: &str) -> Result<String, Refused> {
        match self.client.run(RunRequest { sql: sql.to_owned() }).await {
            Ok(reply) => {
                self.in_transaction = reply.get_ref().in_transaction;
                Ok(show(reply.get_ref()))
            }
            Err(status) => Err(self.refused(&status)),
        }
    }

    fn refused(&self, status: &Status) -> Refused {
        let said = status.message();
        let why = match (status.reason(), status.outcome()) {
            // Without a reason of the session's it is the database's own answer.
            (None, Some(Outcome::Done) | None) => said.to_owned(),
            (_, Some(Outcome::NotExecuted)) => format!("the statement did not run: {said}"),
            (_, Some(Outcome::Done | Outcome::Unknown) | None) => {
                format!("nobody knows whether the statement ran: {said}")
            }
        };
        match self.session.state().borrow().life {
            Life::Ended(_) => Refused::Session(Failure::new(format!("{why}; the session is over"))),
            Life::Active | Life::Releasing => Refused::Statement(why),
        }
    }

    /// Ends the session in order: its transaction, if one is open, is rolled back.
    ///
    /// # Errors
    ///
    /// The server did not answer.
    pub async fn release(self) -> Result<(), Failure> {
        self.session.release().await.map(drop).map_err(|error| Failure::new(error.to_string()))
    }
}

/// A table, or one line.
fn show(reply: &RunReply) -> String {
    if reply.columns.is_empty() {
        return if reply.changed == 0 { "ok".to_owned() } else { counted(reply.changed, "row") };
    }
    let columns = reply.columns.iter().map(String::as_str).collect();
    let lines: Vec<Vec<&str>> = std::iter::once(columns).chain(reply.rows.iter().map(cells)).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..reply.columns.len()).map(width).collect();
    let mut shown: Vec<String> = lines
        .iter()
        .map(|line| {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    shown.extend(reply.has_more.then(|| "and more".to_owned()));
    shown.join("\n")
}

fn cells(row: &Row) -> Vec<&str> {
    row.values.iter().map(|value| value.text.as_deref().unwrap_or("NULL")).collect()
}
