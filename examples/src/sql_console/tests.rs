//! Statements that do not end by themselves, over sockets.

use std::time::Duration;

use rpc_client::Session;
use rpc_server::Handle;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request};

use super::command::{bind, open, uri};
use crate::console::RunRequest;
use crate::console::database_client::DatabaseClient;
use crate::demo;

/// Longest wait for anything.
const SOON: Duration = Duration::from_secs(20);
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

struct World {
    _home: tempfile::TempDir,
    server: Handle,
    session: Session,
    farewells: mpsc::UnboundedReceiver<String>,
}

impl World {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (told, farewells) = mpsc::unbounded_channel();
        let database = open(home.path().join("test.db")).unwrap();
        let server = bind(database, "127.0.0.1:0", move |farewell| drop(told.send(farewell))).await.unwrap();
        let (uri, handle) = (uri(server.local_addr()), server.handle());
        tokio::spawn(server.serve());
        let builder = Session::builder(uri).credentials(demo::token("alice").unwrap());
        let session = builder.service::<DatabaseClient<Session>>().open().await.unwrap();
        Self { _home: home, server: handle, session, farewells }
    }

    async fn run(&self, sql: &str, within: Duration) -> Result<Vec<String>, Code> {
        let mut request = Request::new(RunRequest { sql: sql.into() });
        request.set_timeout(within);
        let ran = timeout(SOON, DatabaseClient::new(self.session.clone()).run(request)).await;
        let reply = ran.expect("the statement hangs").map_err(|status| status.code())?.into_inner();
        Ok(reply.rows.iter().flat_map(|row| &row.values).filter_map(|value| value.text.clone()).collect())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.drain(Duration::ZERO);
    }
}

#[tokio::test]
async fn a_statement_is_stopped_at_its_deadline_and_the_transaction_goes_on() {
    let world = World::new().await;
    world.run("CREATE TABLE t (a)", SOON).await.unwrap();
    world.run("BEGIN", SOON).await.unwrap();
    world.run("INSERT INTO t VALUES (1)", SOON).await.unwrap();
    assert_eq!(world.run(ENDLESS, Duration::from_millis(200)).await, Err(Code::DeadlineExceeded));
    // It waits for the one before it, which nobody else would stop.
    assert_eq!(world.run("SELECT a FROM t", SOON).await.unwrap(), ["1"]);
    world.run("ROLLBACK", SOON).await.unwrap();
    assert_eq!(world.run("SELECT a FROM t", SOON).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_end_of_a_session_stops_its_statement_and_rolls_back() {
    let mut world = World::new().await;
    world.run("CREATE TABLE t (a)", SOON).await.unwrap();
    world.run("BEGIN IMMEDIATE", SOON).await.unwrap();
    world.run("INSERT INTO t VALUES (1)", SOON).await.unwrap();
    let session = world.session.clone();
    let running = tokio::spawn(async move {
        DatabaseClient::new(session).run(RunRequest { sql: ENDLESS.into() }).await.map(drop)
    });
    // Whether it runs by then or not, it does not outlive the session.
    sleep(Duration::from_millis(50)).await;
    world.session.abort("enough").await.unwrap();
    let farewell = timeout(SOON, world.farewells.recv()).await.unwrap().unwrap();
    assert_eq!(farewell, "session 1 of alice was aborted, its transaction is rolled back");
    assert!(timeout(SOON, running).await.unwrap().unwrap().is_err());
}
