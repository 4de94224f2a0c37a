//! What `sql_console` shows without arguments: two users, a connection that is cut in the middle of a transaction, and a
//! machine that goes away in the middle of another.

use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::{Console, Refused};
use super::command::{bind, open, uri};
use crate::demo;
use crate::relay::{Relay, Scissors};
use crate::transfer::bar::say;
use crate::transfer::failure::Failure;

/// Longest time for anything that should be quick.
const SOON: Duration = Duration::from_secs(10);
/// How long the server keeps the session of somebody whose connection is lost. Ten minutes unless it is asked for less.
const LINGER: Duration = Duration::from_secs(1);
/// The statement after which the connection is cut.
const PAY: &str = "UPDATE accounts SET amount = amount - 30 WHERE owner = 'alice'";

/// Runs the demonstration. Nothing is left of it.
///
/// # Errors
///
/// It did not show what it promises.
pub async fn run() -> Result<(), Failure> {
    let (home, scissors) = (TempDir::new().map_err(failed)?, Scissors::new());
    let knife = scissors.clone();
    let database = open(home.path().join("bank.db"))?.when_run(move |sql| {
        if sql == PAY {
            say("network   cut: the statement has run, and its answer is lost");
            knife.cut();
        }
    });
    let (told, mut farewells) = mpsc::unbounded_channel();
    let server = bind(database, "127.0.0.1:0", move |farewell| drop(told.send(farewell))).await?;
    let (address, handle) = (server.local_addr(), server.handle());
    let relay = Relay::bind(address, &scissors).await.map_err(failed)?;
    let by_relay = uri(relay.address().map_err(failed)?);
    let relay = tokio::spawn(relay.run());
    let serving = tokio::spawn(server.serve());

    let mut alice = Console::open(&by_relay, "alice", None).await?;
    let mut events = alice.session().events();
    say(format!("alice     has session {}", alice.session().number()));
    types(&mut alice, "CREATE TABLE accounts (owner TEXT PRIMARY KEY, amount INTEGER)").await?;
    types(&mut alice, "INSERT INTO accounts VALUES ('alice', 100), ('bob', 0)").await?;
    types(&mut alice, "CREATE TEMP TABLE notes AS SELECT 'only in this session' AS note").await?;
    types(&mut alice, "BEGIN").await?;
    types(&mut alice, PAY).await?;
    say(format!(
        "alice     sent the call again as {}, and it did not run again",
        demo::sent_again(&mut events).await.map_err(failed)?
    ));

    let mut bob = Console::open(&uri(address), "bob", Some(LINGER)).await?;
    say(format!("bob       has session {}", bob.session().number()));
    types(&mut bob, "SELECT * FROM accounts").await?;
    types(&mut alice, "UPDATE accounts SET amount = amount + 30 WHERE owner = 'bob'").await?;
    types(&mut alice, "SELECT * FROM accounts, notes").await?;
    types(&mut alice, "COMMIT").await?;

    types(&mut bob, "BEGIN").await?;
    types(&mut bob, "DELETE FROM accounts").await?;
    types(&mut bob, "SELECT * FROM notes").await?;
    say("bob       switches his machine off");
    drop(bob);
    let expired = next(&mut farewells).await?;
    let left = types(&mut alice, "SELECT sum(amount) AS money FROM accounts").await?;
    alice.release().await?;
    let released = next(&mut farewells).await?;

    handle.drain(SOON);
    serving.await.map_err(failed)?.map_err(failed)?;
    relay.abort();
    match (&*expired, &*left, &*released) {
        (
            "session 2 of bob expired, its transaction is rolled back",
            "money\n100",
            "session 1 of alice was released",
        ) => {
            say("success: paid once, and no money is lost");
            Ok(())
        }
        wrong => Err(Failure::new(format!("the sessions ended otherwise: {wrong:?}"))),
    }
}

/// Somebody types a statement, and sees the answer.
async fn types(console: &mut Console, sql: &str) -> Result<String, Failure> {
    say(format!("{}{sql}", console.prompt()));
    match console.run(sql).await {
        Ok(answer) => {
            say(&answer);
            Ok(answer)
        }
        Err(Refused::Statement(why)) => {
            say(format!("error: {why}"));
            Ok(why)
        }
        Err(Refused::Session(failure)) => Err(failure),
    }
}

/// The next session that has ended.
async fn next(farewells: &mut mpsc::UnboundedReceiver<String>) -> Result<String, Failure> {
    let farewell = timeout(SOON, farewells.recv()).await.ok().flatten();
    let farewell = farewell.ok_or_else(|| Failure::new("no session ended"))?;
    say(format!("server    {farewell}"));
    Ok(farewell)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
