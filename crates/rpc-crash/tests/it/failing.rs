//! A store that fails: whoever is told something is told the truth, and health says that nothing is kept.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rpc_client::{Outcome, OutcomeExt as _, Session};
use rpc_core::id::SessionId;
use rpc_core::record::{CallRecord, Change, Write};
use rpc_core::store::{Durability, MemoryStore, Store, StoreError, Stored, WriteError};
use rpc_core::stream::secured::Resumption;
use rpc_core::transaction::Versioned;
use rpc_crash::caller::{self, Client};
use rpc_crash::pb::Entry;
use rpc_crash::pb::vault_server::VaultServer;
use rpc_crash::streamer::{self, Kind, Streamed};
use rpc_crash::trust::{AUDIENCE, ISSUER, SECRET};
use rpc_crash::vault::Vault;
use rpc_server::auth::{JwtAuthenticator, Key, TrustedIssuer};
use rpc_server::{Handle, Server};
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Scratch;

/// When a store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Fails {
    Never,
    /// With the first record of a call that has begun.
    AtIntents,
    /// With the first record of a call that has ended, and does not make it.
    AtReplies,
    /// With the same, and makes it: as a sync whose answer was lost.
    AfterReplies,
    /// With the first point of a stream that is secured.
    AtPoints,
}

/// A store as a disk is: it lasts for as long as the test, and it breaks.
#[derive(Debug, Clone)]
struct Disk {
    inner: Arc<MemoryStore>,
    fails: Arc<AtomicU8>,
    broken: Arc<AtomicU8>,
}

impl Disk {
    fn new(fails: Fails) -> Self {
        let fails = Arc::new(AtomicU8::new(fails as u8));
        Self { inner: Arc::new(MemoryStore::new()), fails, broken: Arc::default() }
    }

    /// As it is found when it was repaired.
    fn opened_again(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), ..Self::new(Fails::Never) }
    }

    fn breaks_at(&self, change: &Change) -> bool {
        let intent = matches!(change, Change::Slot(slot)
            if matches!(slot.call, CallRecord::Begun(_)));
        let reply = !intent && matches!(change, Change::Slot(_) | Change::Commit(..));
        let fails = self.fails.load(Ordering::SeqCst);
        if fails == Fails::AtPoints as u8 {
            return matches!(change, Change::Slot(slot)
                if matches!(&slot.call, CallRecord::Streaming(_, at) if **at != Resumption::default()));
        }
        fails == Fails::AtIntents as u8 && intent || fails >= Fails::AtReplies as u8 && reply
    }
}

impl Store for Disk {
    fn durability(&self) -> Durability {
        Durability::Durable
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        self.inner.reserve_numbers(count)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        self.inner.load(session)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.inner.get(key)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        if self.broken.load(Ordering::SeqCst) != 0 {
            return Err(StoreError::Closed("an earlier write failed".into()));
        }
        if batch.iter().any(|write| self.breaks_at(&write.change)) {
            self.broken.store(1, Ordering::SeqCst);
            if self.fails.load(Ordering::SeqCst) == Fails::AfterReplies as u8 {
                self.inner.commit(batch)?;
            }
            return Err(StoreError::Failed("the medium is gone".into()));
        }
        self.inner.commit(batch)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        self.inner.scan(after, limit)
    }

    fn scan_activities(
        &self,
        after: Option<&rpc_core::activity::Key>,
        limit: usize,
    ) -> Result<Vec<rpc_core::record::ActivityRecord>, StoreError> {
        self.inner.scan_activities(after, limit)
    }
}

async fn serve(disk: &Disk, notes: &Path) -> (std::net::SocketAddr, Handle) {
    let issuer = TrustedIssuer::new(ISSUER, AUDIENCE).key(Key::hs256(SECRET).unwrap());
    let server = Server::builder()
        .authenticate(JwtAuthenticator::new(issuer).unwrap())
        .store(disk.clone())
        .service(VaultServer::new(Vault::open(notes).unwrap()))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    tokio::spawn(server.serve());
    (address, handle)
}

async fn in_a_hurry(client: &mut Client, method: &str) -> Result<(), Status> {
    let mut request = tonic::Request::new(Entry { id: "x".into(), ..Entry::default() });
    request.set_timeout(Duration::from_millis(1_500));
    match method {
        "book" => client.book(request).await.map(drop),
        _ => client.note(request).await.map(drop),
    }
}

async fn health(address: std::net::SocketAddr) -> ServingStatus {
    let channel = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
}

async fn open(address: std::net::SocketAddr) -> Session {
    caller::open(address, "alice").await.unwrap()
}

//= test C-59
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_what_a_failed_store_may_have_lost() {
    for (fails, method, effects) in [
        (Fails::AtIntents, "note", 0..=0),
        (Fails::AtReplies, "note", 1..=1),
        (Fails::AfterReplies, "note", 1..=1),
        (Fails::AtReplies, "book", 0..=0),
        (Fails::AfterReplies, "book", 1..=1),
    ] {
        let case = format!("{fails:?} {method}");
        let scratch = Scratch::new(&format!("fails-{}-{method}", fails as u8));
        let notes = scratch.0.join("notes");
        let disk = Disk::new(fails);
        let (address, handle) = serve(&disk, &notes).await;
        let session = open(address).await;
        assert_eq!(health(address).await, ServingStatus::Serving, "{case}");
        let status = in_a_hurry(&mut Client::new(session.clone()), method).await.unwrap_err();
        assert!(matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded), "{case}: {status:?}");
        assert_eq!(status.outcome(), Some(Outcome::Unknown), "{case}: {status:?}");
        assert_eq!(health(address).await, ServingStatus::NotServing, "{case}");
        let refused = caller::open(address, "bob");
        assert!(
            tokio::time::timeout(Duration::from_millis(300), refused).await.is_err(),
            "{case}: it opened"
        );
        handle.drain(Duration::ZERO);
        drop(session);

        // The next server finds what the store has, and goes on from there.
        let disk = disk.opened_again();
        let counted = disk.get(b"id/x").unwrap().map_or(0, |found| found.value[7]);
        let noted = std::fs::read_to_string(&notes).unwrap().lines().count();
        let happened = if method == "book" { usize::from(counted) } else { noted };
        assert!(effects.contains(&happened), "{case}: {happened} effects");
        let (address, handle) = serve(&disk, &notes).await;
        let session = open(address).await;
        in_a_hurry(&mut Client::new(session.clone()), method).await.unwrap();
        session.release().await.unwrap();
        handle.drain(Duration::ZERO);
    }
}

/// The handler is told that its point is not secured, and so is the caller; and then another server goes on from before it.
//= test C-59, S-28
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_that_the_store_does_not_keep_is_not_secured() {
    let scratch = Scratch::new("fails-points");
    let notes = scratch.0.join("notes");
    let disk = Disk::new(Fails::AtPoints);
    let (address, handle) = serve(&disk, &notes).await;
    let session = open(address).await;
    let upload = Streamed { kind: Kind::Upload, name: "x".into(), seed: 1, parts: 100 };
    let (moved, _) = watch::channel(0);
    let mut client = Client::new(session.clone());
    // The client tries again for as long as its deadline lets it, and is refused each time.
    let told =
        tokio::time::timeout(Duration::from_secs(1), streamer::upload(&mut client, &upload, &moved)).await;
    assert!(!matches!(told, Ok(Ok(()))), "it was told that all went well");
    let diary = std::fs::read_to_string(scratch.0.join("streams/diary")).unwrap();
    assert_eq!(diary, "begin x 0\n", "the handler ran once, and nothing was secured");
    assert_eq!(health(address).await, ServingStatus::NotServing);
    handle.drain(Duration::ZERO);
    drop(session);
    let (address, handle) = serve(&disk.opened_again(), &notes).await;
    let session = open(address).await;
    streamer::upload(&mut Client::new(session.clone()), &upload, &moved).await.unwrap();
    session.release().await.unwrap();
    handle.drain(Duration::ZERO);
}
