//! What `shared_folder` shows: two users and one file, a connection that is cut while a line is written, and a machine that
//! goes away with a lock.

use std::path::Path;
use std::time::Duration;

use rpc_client::Session;
use rpc_server::{EndedSession, MemoryStore, Server, SessionEnd};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

use super::service::{Folder, Freed};
use super::share::Share;
use crate::demo;
use crate::folder::folder_client::FolderClient;
use crate::folder::folder_server::FolderServer;
use crate::folder::{LockRequest, OpenRequest, ReadRequest, WriteRequest};
use crate::relay::{Relay, Scissors};
use crate::transfer::bar::{counted, say};
use crate::transfer::failure::Failure;

/// Longest time for anything that should be quick.
const SOON: Duration = Duration::from_secs(10);
/// How long the server keeps the session of somebody whose connection is lost. Ten minutes unless it is asked for less.
const LINGER: Duration = Duration::from_secs(2);
const SHARE: &str = "minutes";
const FILE: &str = "today.txt";
const LINES: &str = "alice: we begin\nbob: and end\n";

/// Runs the demonstration. Nothing is left of it.
///
/// # Errors
///
/// It did not show what it promises.
pub async fn run() -> Result<(), Failure> {
    let (home, scissors) = (TempDir::new().map_err(failed)?, Scissors::new());
    let (told, mut farewells) = mpsc::unbounded_channel();
    let server = bind(home.path(), &scissors, told).await?;
    let (address, handle) = (server.local_addr(), server.handle());
    say(format!("server    shares a folder as {SHARE:?}"));
    let relay = Relay::bind(address, &scissors).await.map_err(failed)?;
    let by_relay = relay.address().map_err(failed)?;
    let relay = tokio::spawn(relay.run());
    let serving = tokio::spawn(server.serve());

    let mut alice = User::open(format!("http://{by_relay}"), "alice").await?;
    let mut events = alice.session.events();
    let file = alice.has_open(FILE).await?;
    alice.locks(file).await.map_err(failed)?;
    alice.writes(file, "alice: we begin\n").await.map_err(failed)?;
    say(format!(
        "alice     sent the call again as {}, and it did not run again",
        demo::sent_again(&mut events).await.map_err(failed)?
    ));

    let mut bob = User::open(format!("http://{address}"), "bob").await?;
    let file = bob.has_open(FILE).await?;
    for path in ["../keys", "/etc/passwd", "away/keys"] {
        bob.is_refused(path).await?;
    }
    let barred = bob.writes(file, "bob: me first\n").await;
    let barred = barred.map_or_else(|status| status.message().to_owned(), |()| "nothing".to_owned());
    say("alice     switches her machine off");
    drop((alice, events));
    let waits = tokio::spawn(async move { bob.locks(file).await.map(|()| bob) });
    let expired = next(&mut farewells).await?;
    let waited = timeout(SOON, waits).await.map_err(failed)?.map_err(failed)?;
    let mut bob = waited.map_err(failed)?;
    say("bob       has waited for the lock, and has it");
    bob.writes(file, "bob: and end\n").await.map_err(failed)?;
    let lines = bob.reads(file).await.map_err(failed)?;
    lines.lines().for_each(|line| say(format!("bob       reads {line:?}")));
    bob.session.release().await.map_err(failed)?;
    let released = next(&mut farewells).await?;

    handle.drain(SOON);
    serving.await.map_err(failed)?.map_err(failed)?;
    relay.abort();
    match (&*barred, &*lines, expired, released) {
        ("session 1 has it locked", LINES, EXPIRED, RELEASED) => {
            say("success: each line is there once, and no lock outlived its session");
            Ok(())
        }
        wrong => Err(Failure::new(format!("it went otherwise: {wrong:?}"))),
    }
}

const EXPIRED: (SessionEnd, Freed) = (SessionEnd::Expired, Freed { files: 1, locks: 1 });
const RELEASED: (SessionEnd, Freed) = (SessionEnd::Released, Freed { files: 1, locks: 1 });

type Farewells = mpsc::UnboundedReceiver<(EndedSession, Freed)>;

/// A server with one share. When the first line is written, the connection is cut.
async fn bind(
    home: &Path,
    scissors: &Scissors,
    told: mpsc::UnboundedSender<(EndedSession, Freed)>,
) -> Result<Server, Failure> {
    let folder = home.join("folder");
    std::fs::create_dir(&folder).map_err(failed)?;
    std::fs::write(home.join("keys"), "nobody's business").map_err(failed)?;
    std::os::unix::fs::symlink(home, folder.join("away")).map_err(failed)?;
    let (knife, share) = (scissors.clone(), Share::new(&folder).map_err(failed)?);
    let folder = Folder::new([(SHARE.to_owned(), share)]).when_written(move || {
        if knife.cuts() == 0 {
            say("network   cut: the line is written, and its answer is lost");
            knife.cut();
        }
    });
    let held = folder.clone();
    let server = Server::builder()
        .authenticate(demo::authenticator().map_err(failed)?) // whom to trust
        .store(MemoryStore::new()) // open files do not outlive the server, so why should their sessions
        .service(FolderServer::new(folder))
        .on_session_end(move |ended| drop(told.send((ended.clone(), held.free(ended)))))
        .bind("127.0.0.1:0");
    server.await.map_err(failed)
}

/// Somebody at a machine.
struct User {
    name: &'static str,
    session: Session,
    folder: FolderClient<Session>,
}

impl User {
    async fn open(uri: String, name: &'static str) -> Result<Self, Failure> {
        let builder = Session::builder(&uri).credentials(demo::token(name).map_err(failed)?);
        let builder = builder.service::<FolderClient<Session>>().linger(LINGER);
        let session = builder.open().await.map_err(|error| Failure::of_opening(&uri, &error))?;
        say(format!("{name:9} has session {}", session.number()));
        Ok(Self { name, folder: FolderClient::new(session.clone()), session })
    }

    async fn opens(&mut self, path: &str) -> Result<u64, Status> {
        let request = OpenRequest { share: SHARE.into(), path: path.into(), write: true };
        Ok(self.folder.open(request).await?.into_inner().file)
    }

    async fn has_open(&mut self, path: &str) -> Result<u64, Failure> {
        let file = self.opens(path).await.map_err(|status| failed(status.message()))?;
        say(format!("{:9} has {path} open", self.name));
        Ok(file)
    }

    async fn is_refused(&mut self, path: &str) -> Result<(), Failure> {
        match self.opens(path).await {
            Ok(_) => Err(Failure::new(format!("{path} was opened"))),
            Err(status) => {
                say(format!("{:9} opens {path}: {}", self.name, status.message()));
                Ok(())
            }
        }
    }

    async fn locks(&mut self, file: u64) -> Result<(), Status> {
        self.folder.lock(LockRequest { file, ..LockRequest::default() }).await?;
        Ok(())
    }

    /// Writes a line at the end.
    async fn writes(&mut self, file: u64, line: &str) -> Result<(), Status> {
        say(format!("{:9} writes {:?}", self.name, line.trim_end()));
        let written = self.folder.write(WriteRequest { file, offset: None, data: line.into() }).await;
        if let Err(status) = &written {
            say(format!("{:9} is refused: {}", self.name, status.message()));
        }
        written.map(drop)
    }

    async fn reads(&mut self, file: u64) -> Result<String, Status> {
        let read = self.folder.read(ReadRequest { file, offset: 0, length: 1_000 }).await?;
        Ok(String::from_utf8_lossy(&read.into_inner().data).into_owned())
    }
}

/// The next session that has ended.
async fn next(farewells: &mut Farewells) -> Result<(SessionEnd, Freed), Failure> {
    let told = timeout(SOON, farewells.recv()).await.ok().flatten();
    let (ended, freed) = told.ok_or_else(|| Failure::new("no session ended"))?;
    let how = if ended.end == SessionEnd::Expired { "expired" } else { "was released" };
    let (files, locks) = (counted(freed.files as u64, "file"), counted(freed.locks as u64, "lock"));
    say(format!("server    session {} {how}: {files} closed, {locks} freed", ended.number));
    Ok((ended.end, freed))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
