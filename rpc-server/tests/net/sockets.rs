//! What needs real sockets: binding, sharing a port, threads.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use rpc_server::net::{
    BindError, Bound, CloseReason, Config, ConnectionInfo, Connections, Report, Runtime, ServeError,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{App, Client, Handler};

const BOUND: Duration = Duration::from_secs(30);

fn loopback() -> [SocketAddr; 1] {
    [SocketAddr::from(([127, 0, 0, 1], 0))]
}

fn config(runtime: Runtime) -> Config {
    let mut config = Config::default();
    config.runtime = runtime;
    config
}

fn per_core(threads: usize) -> Config {
    config(Runtime::PerCore { threads: NonZeroUsize::new(threads) })
}

async fn client(address: SocketAddr) -> Client {
    Client::start(TcpStream::connect(address).await.unwrap()).await
}

/// The thread that answers.
async fn thread(client: &Client) -> String {
    let head = client.head("/now").await.unwrap();
    head.headers()["thread"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_thread_serves_the_same_port_and_all_end_with_a_drain() {
    let bound = Bound::bind(&loopback(), &per_core(3)).unwrap();
    let (address, handle, app) = (bound.local_addr(), bound.handle(), App::default());
    let server = tokio::spawn(bound.serve(app.clone()));
    let (mut clients, mut threads) = (Vec::new(), BTreeSet::new());
    // The system spreads them by hash: 150 miss one of three threads once in 10^26 runs.
    while threads.len() < 3 && clients.len() < 150 {
        let client = client(address).await;
        threads.insert(thread(&client).await);
        clients.push(client);
    }
    assert_eq!(Vec::from_iter(&threads), ["rpc-server-0", "rpc-server-1", "rpc-server-2"]);
    handle.drain(BOUND);
    let report = timeout(BOUND, server).await.unwrap().unwrap().unwrap();
    assert_eq!((report.served, report.cut), (clients.len() as u64, 0));
    assert!(app.reasons().iter().all(|reason| *reason == CloseReason::Drain));
    assert_eq!(app.reasons().len(), clients.len());
    let numbers: BTreeSet<_> = app.opened().iter().map(|info| info.id().0).collect();
    assert_eq!(numbers, (1..=clients.len() as u64).collect());
    assert_refused(address).await;
}

/// Waits until nobody listens.
async fn assert_refused(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, refused).await.unwrap();
}

#[tokio::test]
async fn the_work_stealing_runtime_is_the_callers() {
    let bound = Bound::bind(&loopback(), &config(Runtime::WorkStealing)).unwrap();
    let (address, handle) = (bound.local_addr(), bound.handle());
    let server = tokio::spawn(bound.serve(App::default()));
    let client = client(address).await;
    // This test's runtime has one thread.
    assert_eq!(thread(&client).await, std::thread::current().name().unwrap());
    handle.drain(BOUND);
    assert_eq!(timeout(BOUND, server).await.unwrap().unwrap().unwrap().served, 1);
}

#[tokio::test]
async fn all_addresses_are_served() {
    let [address] = loopback();
    let bound = Bound::bind(&[address, address], &per_core(2)).unwrap();
    let (addresses, handle, app) = (bound.local_addrs().to_vec(), bound.handle(), App::default());
    assert_ne!(addresses[0], addresses[1]);
    let server = tokio::spawn(bound.serve(app.clone()));
    for &address in &addresses {
        client(address).await.call("/now").await.unwrap();
    }
    let served: Vec<_> = app.opened().iter().filter_map(ConnectionInfo::local_addr).collect();
    assert_eq!(served, addresses);
    assert!(app.opened().iter().all(|info| info.peer_addr().is_some()));
    handle.drain(BOUND);
    timeout(BOUND, server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_never_ends_does_not_keep_the_threads() {
    let bound = Bound::bind(&loopback(), &per_core(2)).unwrap();
    let (address, handle) = (bound.local_addr(), bound.handle());
    let server = tokio::spawn(bound.serve(App::default()));
    let client = client(address).await;
    let never = client.begin("/never");
    client.call("/now").await.unwrap();
    handle.drain(Duration::from_millis(50));
    assert_eq!(timeout(BOUND, server).await.unwrap().unwrap().unwrap().cut, 1);
    assert!(never.await.unwrap().is_err());
}

#[tokio::test]
async fn a_server_that_nobody_waits_for_stops() {
    let bound = Bound::bind(&loopback(), &per_core(2)).unwrap();
    let address = bound.local_addr();
    let server = tokio::spawn(bound.serve(App::default()));
    let client = client(address).await;
    client.call("/now").await.unwrap();
    server.abort();
    timeout(BOUND, client.gone()).await.unwrap();
    assert_refused(address).await;
}

/// Panics when its connections have ended, on one thread of the two.
struct PanicsAtTheEnd;

impl Connections for PanicsAtTheEnd {
    type Service = Handler;

    fn open(&self, connection: &ConnectionInfo) -> Handler {
        App::default().open(connection)
    }

    async fn finish(&self) {
        assert_ne!(std::thread::current().name(), Some("rpc-server-1"), "a bug at the end");
    }
}

#[tokio::test]
async fn a_panic_of_a_thread_is_an_error_of_the_server() {
    let bound = Bound::bind(&loopback(), &per_core(2)).unwrap();
    let handle = bound.handle();
    let server = tokio::spawn(bound.serve(PanicsAtTheEnd));
    handle.drain(BOUND);
    let end: Result<Report, ServeError> = timeout(BOUND, server).await.unwrap().unwrap();
    assert!(matches!(end, Err(ServeError::Panicked { thread: 1 })), "{end:?}");
}

#[test]
fn plaintext_is_refused_where_others_can_read_it() {
    for exposed in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let address = exposed.parse().unwrap();
        let error = Bound::bind(&[address], &Config::default()).unwrap_err();
        assert!(matches!(error, BindError::Plaintext { address: named } if named == address), "{error}");
        assert!(error.to_string().contains("dangerous_plaintext"));
    }
    let mut config = Config::default();
    config.dangerous_plaintext = true;
    assert!(Bound::bind(&["0.0.0.0:0".parse().unwrap()], &config).is_ok());
}

#[test]
fn with_tls_every_address_will_do() {
    let mut config = Config::default();
    config.tls = Some(crate::tls::Authority::new().server("localhost"));
    assert!(Bound::bind(&["0.0.0.0:0".parse().unwrap()], &config).is_ok());
}

#[test]
fn a_port_is_not_shared_with_a_second_server() {
    for config in [per_core(2), per_core(1), config(Runtime::WorkStealing)] {
        let first = Bound::bind(&loopback(), &config).unwrap();
        let error = Bound::bind(&[first.local_addr()], &per_core(2)).unwrap_err();
        assert!(
            matches!(&error, BindError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
        );
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn a_server_without_an_address_is_an_error() {
    assert!(matches!(Bound::bind(&[], &Config::default()), Err(BindError::NoAddress)));
}
