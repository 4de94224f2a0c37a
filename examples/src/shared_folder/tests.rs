//! Files and locks over sockets: who is refused, who waits, and what an end frees.

use std::time::Duration;

use rpc_client::{CallState, OutcomeExt as _, Session};
use rpc_server::{Handle, MemoryStore, Server};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use super::service::{Folder, Freed};
use super::share::Share;
use crate::demo;
use crate::folder::folder_client::FolderClient;
use crate::folder::folder_server::FolderServer;
use crate::folder::{CloseRequest, LockRequest, OpenRequest, ReadRequest, UnlockRequest, WriteRequest};

/// Longest wait for anything.
const SOON: Duration = Duration::from_secs(20);

struct World {
    _home: tempfile::TempDir,
    server: Handle,
    uri: String,
    freed: mpsc::UnboundedReceiver<Freed>,
}

impl World {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new([("all".to_owned(), Share::new(home.path()).unwrap())]);
        let (told, freed) = mpsc::unbounded_channel();
        let held = folder.clone();
        let server = Server::builder()
            .authenticate(demo::authenticator().unwrap())
            .store(MemoryStore::new())
            .service(FolderServer::new(folder))
            .on_session_end(move |ended| {
                let _ = told.send(held.free(ended));
            })
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        let (uri, handle) = (format!("http://{}", server.local_addr()), server.handle());
        tokio::spawn(server.serve());
        Self { _home: home, server: handle, uri, freed }
    }

    async fn user(&self, name: &str) -> (Session, FolderClient<Session>) {
        let builder = Session::builder(&self.uri).credentials(demo::token(name).unwrap());
        let session = builder.service::<FolderClient<Session>>().open().await.unwrap();
        (session.clone(), FolderClient::new(session))
    }

    async fn freed(&mut self) -> Freed {
        timeout(SOON, self.freed.recv()).await.unwrap().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.drain(Duration::ZERO);
    }
}

async fn open(folder: &mut FolderClient<Session>, write: bool) -> u64 {
    let request = OpenRequest { share: "all".into(), path: "file".into(), write };
    folder.open(request).await.unwrap().into_inner().file
}

fn range(start: u64, end: u64) -> Option<crate::folder::Range> {
    Some(crate::folder::Range { start, end })
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn bytes_that_another_session_has_are_neither_read_nor_written() {
    let world = World::new().await;
    let (_, mut alice) = world.user("alice").await;
    let (_, mut bob) = world.user("bob").await;
    let hers = open(&mut alice, true).await;
    let his = open(&mut bob, true).await;
    let write = |file, offset, data: &str| WriteRequest { file, offset, data: data.to_owned().into() };
    assert_eq!(alice.write(write(hers, None, "0123456789")).await.unwrap().into_inner().size, 10);
    alice.lock(LockRequest { file: hers, range: range(4, 6), ..Default::default() }).await.unwrap();
    assert_eq!(code(bob.write(write(his, Some(0), "abcd")).await), Code::Ok);
    assert_eq!(code(bob.write(write(his, Some(1), "abcd")).await), Code::Aborted);
    assert_eq!(code(bob.read(ReadRequest { file: his, offset: 0, length: 5 }).await), Code::Aborted);
    assert_eq!(bob.write(write(his, None, "x")).await.unwrap().into_inner().size, 11);
    assert_eq!(code(bob.unlock(UnlockRequest { file: his, range: range(4, 6) }).await), Code::NotFound);
    alice.close(CloseRequest { file: hers }).await.unwrap();
    let read = bob.read(ReadRequest { file: his, offset: 0, length: 99 }).await.unwrap().into_inner();
    assert_eq!(&read.data[..], b"abcd456789x");
}

#[tokio::test]
async fn what_is_not_there_or_too_much_is_refused() {
    let world = World::new().await;
    let (_, mut alice) = world.user("alice").await;
    let (_, mut bob) = world.user("bob").await;
    let file = open(&mut alice, true).await;
    let foreign = bob.read(ReadRequest { file, offset: 0, length: 1 }).await;
    assert_eq!(code(foreign), Code::NotFound, "another session's file");
    let nowhere = OpenRequest { share: "none".into(), path: "file".into(), write: false };
    assert_eq!(code(bob.open(nowhere).await), Code::NotFound);
    let read_only = open(&mut bob, false).await;
    let line = WriteRequest { file: read_only, offset: None, data: "x".into() };
    assert_eq!(code(bob.write(line).await), Code::PermissionDenied);
    let long = WriteRequest { file, offset: None, data: vec![0; (32 << 10) + 1] };
    assert_eq!(code(alice.write(long).await), Code::InvalidArgument);
    let empty = LockRequest { file, range: range(5, 5), ..Default::default() };
    assert_eq!(code(alice.lock(empty).await), Code::InvalidArgument);
}

#[tokio::test]
async fn who_waits_for_a_lock_gets_it_from_whoever_ends_or_is_told_in_time() {
    let mut world = World::new().await;
    let (hers, mut alice) = world.user("alice").await;
    let (his, mut bob) = world.user("bob").await;
    let file = open(&mut alice, true).await;
    alice.lock(LockRequest { file, ..Default::default() }).await.unwrap();
    let file = open(&mut bob, true).await;
    let lock = LockRequest { file, ..Default::default() };
    assert_eq!(code(bob.lock(LockRequest { no_wait: true, ..lock }).await), Code::Aborted);
    let mut short = Request::new(lock);
    short.set_timeout(Duration::from_millis(100));
    let given_up = bob.lock(short).await.unwrap_err();
    assert_eq!(given_up.code(), Code::DeadlineExceeded);
    // The caller is told by its own clock; on the server's the wait may not be over yet.
    let call = given_up.call().unwrap();
    while matches!(his.query(call).await.unwrap(), CallState::Running(_)) {
        tokio::task::yield_now().await;
    }
    let mut waiting = bob.clone();
    let waiting = tokio::spawn(async move { waiting.lock(lock).await });
    hers.abort("enough").await.unwrap();
    assert_eq!(world.freed().await, Freed { files: 1, locks: 1 });
    assert_eq!(code(timeout(SOON, waiting).await.unwrap().unwrap()), Code::Ok);
    his.release().await.unwrap();
    assert_eq!(world.freed().await, Freed { files: 1, locks: 1 }, "the wait that was given up took none");
}
