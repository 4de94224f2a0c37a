//! Errors of the system and bugs of the application.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_server::net::{CloseReason, Config, ConnectionInfo, Connections};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::harness::{App, Client, Handler, Server};
use crate::http2::{MAGIC, SETTINGS};

#[tokio::test(start_paused = true)]
async fn accept_errors_do_not_end_the_loop() {
    let server = Server::start(&Config::default());
    let start = Instant::now();
    for _ in 0..40 {
        server.fail_accept(io::ErrorKind::ConnectionAborted.into()).await;
    }
    for _ in 0..12 {
        // Too many open files, here and in the whole system.
        server.fail_accept(io::Error::from_raw_os_error(24)).await;
        server.fail_accept(io::Error::from_raw_os_error(23)).await;
    }
    let client = Client::start(server.connect().await).await;
    client.call("/now").await.unwrap();
    // It waited in between instead of spinning.
    assert!(start.elapsed() > Duration::from_secs(5));
    assert!(server.is_running());
}

/// On one thread calls begin in the task of their connection, on more in tasks of their own.
#[tokio::test(start_paused = true)]
async fn a_panic_of_a_handler_costs_its_call_only() {
    panics_among_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_handler_costs_its_call_only_on_two_threads() {
    panics_among_others().await;
}

/// More than are taken in one go, of which some are answered at once, some later, and some never.
async fn panics_among_others() {
    let server = Server::start(&Config::default());
    let client = Client::start(server.connect().await).await;
    let calls: Vec<_> = (0..150)
        .map(|number| {
            let path = ["/now", "/wait/3", "/body/3", "/panic"][number % 4];
            (path, client.begin(path))
        })
        .collect();
    for (path, call) in calls {
        assert_eq!(call.await.unwrap().is_ok(), path != "/panic", "{path}");
    }
    client.call("/now").await.unwrap();
    assert!(server.app.reasons().is_empty());
    assert_eq!(server.app.running(), 0);
}

/// Panics where it is told to.
struct Buggy {
    app: App,
    opened: AtomicUsize,
    open_panics: bool,
    closed_panics: bool,
}

impl Connections for Buggy {
    type Service = Handler;

    fn open(&self, connection: &ConnectionInfo) -> Handler {
        let first = self.opened.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!(first && self.open_panics), "a bug in open");
        self.app.open(connection)
    }

    fn closed(&self, connection: &ConnectionInfo, reason: CloseReason) {
        self.app.closed(connection, reason);
        assert!(!self.closed_panics, "a bug in closed");
    }
}

fn buggy(open_panics: bool, closed_panics: bool) -> Server {
    let app = App::default();
    let connections = Buggy { app: app.clone(), opened: AtomicUsize::new(0), open_panics, closed_panics };
    Server::start_with(&Config::default(), app, connections)
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_open_costs_its_connection_only() {
    let server = buggy(true, false);
    let mut first = server.connect().await;
    let mut rest = Vec::new();
    first.write_all(&[MAGIC, SETTINGS].concat()).await.unwrap();
    first.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest[3], SETTINGS[3], "our greeting, and then the end");
    assert!(rest.len() < 100, "{rest:?}");
    let second = Client::start(server.connect().await).await;
    second.call("/now").await.unwrap();
    assert!(server.app.reasons().is_empty(), "there is no end of what was not opened");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_closed_changes_nothing() {
    let server = buggy(false, true);
    let client = Client::start(server.connect().await).await;
    client.call("/now").await.unwrap();
    let handle = server.app.opened()[0].handle();
    client.gone().await;
    assert_eq!(handle.closed().await, CloseReason::Peer);
    server.handle.drain(Duration::from_secs(1));
    assert_eq!(server.ended().await.cut, 0);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_server_reports_each_connection_closed() {
    let server = Server::start(&Config::default());
    let client = Client::start(server.connect().await).await;
    client.call("/now").await.unwrap();
    let handle = server.app.opened()[0].handle();
    let app = server.app.clone();
    server.abort();
    assert_eq!(handle.closed().await, CloseReason::Aborted);
    assert_eq!(app.reasons(), [CloseReason::Aborted]);
}
