//! The server: one connection to SQLite for each session.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use rpc_server::id::SessionId;
use rpc_server::{EndedSession, SessionContext, SessionExt as _};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, InterruptHandle};
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status};

use crate::console::database_server;
use crate::console::{Row, RunReply, RunRequest, Value};

/// How long a statement waits for another session's transaction.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// Longest time for a statement of a caller that gives it more.
const LONGEST: Duration = Duration::from_secs(30);
/// How often a statement is interrupted whose session has ended.
const INTERRUPTED_AGAIN: Duration = Duration::from_millis(10);
/// Bytes of text in a reply: it is kept for replay, within the 64 KiB that a session has for that.
const REPLY_BYTES_MAX: usize = 32 << 10;
/// Rows and columns of a reply, for the same reason.
const ROWS_MAX: usize = 1_000;
const COLUMNS_MAX: i32 = 100;

/// A database file, and the connections that sessions have to it. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Database {
    path: Arc<Path>,
    /// At most as many as there are sessions, which the server bounds.
    open: Arc<Mutex<HashMap<SessionId, Open>>>,
    ran: Arc<dyn Fn(&str) + Send + Sync>,
}

/// What a session has open. A cheap clone.
#[derive(Clone)]
struct Open {
    /// None when the session has ended: a statement that comes late would run outside of its transaction.
    connection: Arc<Mutex<Option<Connection>>>,
    interrupt: Arc<InterruptHandle>,
}

impl Database {
    /// The database in this file, which is made where there is none. Blocks.
    ///
    /// # Errors
    ///
    /// SQLite cannot open it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path: PathBuf = path.into();
        // Readers see the last commit while a transaction is open.
        connect(&path)?.pragma_update(None, "journal_mode", "wal")?;
        Ok(Self { path: path.into(), open: Arc::default(), ran: Arc::new(|_| ()) })
    }

    /// Calls `then` with each statement that has run, before anybody is answered.
    #[must_use]
    pub fn when_run(mut self, then: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.ran = Arc::new(then);
        self
    }

    /// Closes what a session had open: the hook for its end. Its transaction is rolled back; tells whether there was one.
    pub fn close(&self, ended: &EndedSession) -> bool {
        let found = lock(&self.open).remove(&ended.number);
        let Some(open) = found else { return false };
        let connection = loop {
            // Nobody waits for the statement any more. One that is just beginning is interrupted the next time.
            open.interrupt.interrupt();
            match open.connection.try_lock() {
                Ok(mut connection) => break connection.take(),
                Err(TryLockError::Poisoned(connection)) => break connection.into_inner().take(),
                Err(TryLockError::WouldBlock) => thread::sleep(INTERRUPTED_AGAIN),
            }
        };
        // SQLite rolls back what a connection leaves behind.
        connection.is_some_and(|connection| !connection.is_autocommit())
    }

    fn open_for(&self, session: &SessionContext) -> Result<Open, Status> {
        let mut open = lock(&self.open);
        if let Some(found) = open.get(&session.number()) {
            return Ok(found.clone());
        }
        // A call of a session that has just ended must not open what nobody would close: `ended` comes before the hook,
        // which waits for this lock.
        if session.ended().now_or_never().is_some() {
            return Err(ended());
        }
        let connection = connect(&self.path).map_err(|error| refused(&error))?;
        let interrupt = Arc::new(connection.get_interrupt_handle());
        let opened = Open { connection: Arc::new(Mutex::new(Some(connection))), interrupt };
        open.insert(session.number(), opened.clone());
        Ok(opened)
    }
}

#[tonic::async_trait]
impl database_server::Database for Database {
    async fn run(&self, request: Request<RunRequest>) -> Result<Response<RunReply>, Status> {
        let deadline = request.deadline().unwrap_or_else(|| Instant::now() + LONGEST);
        let (session, database) = (request.session()?.clone(), self.clone());
        let sql = request.into_inner().sql;
        let open = blocking(move || database.open_for(&session)).await?;
        let (connection, then) = (Arc::clone(&open.connection), Arc::clone(&self.ran));
        let running = blocking(move || {
            let connection = lock(&connection);
            let reply = run(connection.as_ref().ok_or_else(ended)?, &sql).map_err(|error| refused(&error))?;
            then(&sql);
            Ok(Response::new(reply))
        });
        let mut running = pin!(running);
        tokio::select! {
            ran = &mut running => ran,
            // It runs here, whatever its caller does: nobody else stops it.
            () = sleep_until(deadline) => {
                open.interrupt.interrupt();
                running.await
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Status::internal("the statement was given up"))?
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended() -> Status {
    Status::aborted("the session has ended")
}

/// A connection that reaches this file and no other: callers give SQL, and ATTACH or VACUUM INTO would let them read and
/// write where the server may.
fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_COLUMN, COLUMNS_MAX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(connection)
}

fn run(connection: &Connection, sql: &str) -> Result<RunReply, Error> {
    let before = connection.total_changes();
    let mut statement = connection.prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut reply = RunReply { columns, ..RunReply::default() };
    let mut bytes = 0;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..reply.columns.len()).map(|column| Ok(value(row.get_ref(column)?)));
        let row = Row { values: values.collect::<Result<_, Error>>()? };
        bytes += row.values.iter().map(|value| 8 + value.text.as_ref().map_or(0, String::len)).sum::<usize>();
        if reply.rows.len() == ROWS_MAX || bytes > REPLY_BYTES_MAX {
            reply.has_more = true;
            break;
        }
        reply.rows.push(row);
    }
    drop(rows);
    reply.changed = connection.total_changes() - before;
    reply.in_transaction = !connection.is_autocommit();
    Ok(reply)
}

fn value(value: ValueRef<'_>) -> Value {
    let text = match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Some(format!("{} bytes", bytes.len())),
    };
    Value { text }
}

/// What SQLite says is the outcome of the call, and recorded as such: the statement is not run again.
fn refused(error: &Error) -> Status {
    match error {
        Error::SqliteFailure(code, message) => {
            let message = message.clone().unwrap_or_else(|| code.to_string());
            match code.code {
                rusqlite::ErrorCode::DatabaseBusy => Status::aborted("another session is writing; try again"),
                rusqlite::ErrorCode::OperationInterrupted => {
                    Status::aborted("it was stopped: it took too long, or the session ended")
                }
                _ => Status::invalid_argument(message),
            }
        }
        Error::SqlInputError { msg, .. } => Status::invalid_argument(msg.clone()),
        Error::MultipleStatement => Status::invalid_argument("one statement at a time"),
        other => Status::invalid_argument(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let connection = connect(Path::new(":memory:")).unwrap();
        run(&connection, "CREATE TABLE t (a, b)").unwrap();
        connection
    }

    #[test]
    fn a_statement_tells_its_rows_and_what_it_changed() {
        let connection = connection();
        assert!(run(&connection, "BEGIN").unwrap().in_transaction);
        let inserted = run(&connection, "INSERT INTO t VALUES (1, NULL), ('x', x'00ff')").unwrap();
        assert_eq!((inserted.changed, inserted.in_transaction, inserted.rows.len()), (2, true, 0));
        let read = run(&connection, "SELECT a, b FROM t").unwrap();
        let text: Vec<_> =
            read.rows.iter().flat_map(|row| &row.values).map(|value| value.text.as_deref()).collect();
        assert_eq!((read.columns, read.changed), (vec!["a".to_owned(), "b".to_owned()], 0));
        assert_eq!(text, [Some("1"), None, Some("x"), Some("2 bytes")]);
        assert!(!run(&connection, "COMMIT").unwrap().in_transaction);
    }

    #[test]
    fn replies_are_bounded() {
        let connection = connection();
        let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
        let endless = run(&connection, numbers).unwrap();
        assert!(endless.has_more && endless.rows.len() == ROWS_MAX);
        let long = run(&connection, "SELECT hex(zeroblob(1000000))").unwrap();
        assert!(long.has_more && long.rows.is_empty());
    }

    #[test]
    fn no_statement_reaches_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let connection = connect(&directory.path().join("one.db")).unwrap();
        let other = directory.path().join("other.db");
        let other_name = other.display();
        for sql in [
            format!("ATTACH '{other_name}' AS other"),
            format!("VACUUM INTO '{other_name}'"),
            format!("SELECT load_extension('{other_name}')"),
        ] {
            assert!(run(&connection, &sql).is_err(), "{sql}");
        }
        assert!(!other.exists());
        let two = run(&connection, "SELECT 1; SELECT 2").unwrap_err();
        assert_eq!(refused(&two).message(), "one statement at a time");
    }
}
