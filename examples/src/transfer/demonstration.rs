//! What `transfer` shows without arguments: a file of 2,000 pages on its way to another process and back, while that is
//! killed and the connection to it is cut.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use blake3::{Hash, Hasher};
use indicatif::HumanCount;
use rpc_client::{Event, Session};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio::try_join;

use super::bar::{Audience, counted, human, say};
use super::client::Way;
use super::failure::Failure;
use super::get::{Getting, get};
use super::key::Key;
use super::mark::{blocking, read_to};
use super::send::{Sending, send};
use super::{PAGE_BYTES, POINT_PAGES};
use crate::program::interrupted;
use crate::relay::{Relay, Scissors};

/// Pages of the file.
const PAGES: u64 = 2_000;
const NAME: &str = "pages.bin";

/// What is done when so many bytes have passed. On the way there the connection is cut once, and at two thirds the server
/// is killed; on the way back the connection is cut again.
const CUT_THERE: u64 = 20_000_000;
const KILL: u64 = 45_000_000;
const CUT_BACK: u64 = 100_000_000;

/// Longest time for anything that should be quick.
const SOON: Duration = Duration::from_secs(10);

/// Runs the demonstration, or the part of it before Ctrl-C. Nothing is left of it.
///
/// # Errors
///
/// It did not show what it promises, or this machine has no room for it.
pub async fn run() -> Result<(), Failure> {
    let home = TempDir::new().map_err(failed)?;
    tokio::select! {
        shown = show(&home) => shown,
        () = interrupted() => Err(Failure::new("interrupted")),
    }
}

async fn show(home: &TempDir) -> Result<(), Failure> {
    let (original, copy, key) =
        (home.path().join(NAME), home.path().join("copy.bin"), home.path().join("key"));
    let digest = make_file(&original).await?;
    let mut server = ServerProcess::start(home.path(), &key).await?;
    say("server    is another process, with an archive of its own");
    let kill = Arc::new(Notify::new());
    let (uri, relay) = put_between(server.address, Arc::clone(&kill)).await?;

    let session = Way { uri, key: Key::read(&key)?, wait: Some(SOON) }.open().await?;
    say(format!("client    opened session {}", session.number()));
    let narrator = tokio::spawn(narrate(session.clone()));

    let (pages, size) = (HumanCount(PAGES), human(PAGES * PAGE_BYTES as u64));
    say(format!("client    sends {pages} pages, {size}, with a sync point every {POINT_PAGES}"));
    let sending =
        Sending { path: original, name: None, replace: false, restart: false, audience: Audience::Nobody };
    let (sent, ()) = try_join!(send(&session, &sending), server.killed_when_told(&kill))?;
    say(format!("server    has all of it on its disk, BLAKE3 {:.16}…", sent.digest.to_hex()));
    let (points, resumes) = (counted(sent.points, "point"), counted(sent.resumes, "resume"));
    let (again, rate) = (counted(sent.sent_again / PAGE_BYTES as u64, "page"), human(sent.rate()));
    say(format!("client    {points} secured, server killed once, {resumes}, {again} sent again, {rate}/s"));

    say("client    fetches it back");
    let (name, output) = (NAME.to_owned(), Some(copy.clone()));
    let getting = Getting { name, output, replace: false, restart: false, audience: Audience::Nobody };
    let got = get(&session, &getting).await?;
    say(format!("client    has all of it on its disk, BLAKE3 {:.16}…", got.digest.to_hex()));
    let (points, resumes) = (counted(got.points, "point"), counted(got.resumes, "resume"));
    say(format!("client    {points} secured, {resumes}, {}/s", human(got.rate())));

    session.release().await.map_err(failed)?;
    narrator.abort();
    say("client    released the session in order");
    relay.abort();
    server.end().await?;
    say("server    ended in order");
    let is_same = sent.digest == digest && got.digest == digest && has_digest(copy, digest).await?;
    if !is_same || sent.resumes < 2 || got.resumes < 1 {
        return Err(Failure::new("this is not what was to be shown"));
    }
    say(
        "success: the server was killed and the connection cut twice, and neither sender nor receiver noticed",
    );
    Ok(())
}

/// Puts a connection to cut before the server. Gives its address, and who passes the bytes.
async fn put_between(server: SocketAddr, kill: Arc<Notify>) -> Result<(String, JoinHandle<()>), Failure> {
    let scissors = Scissors::new();
    let relay = Relay::bind(server, &scissors).await.map_err(failed)?;
    let relay = relay.when_passed([CUT_THERE, KILL, CUT_BACK], move |bytes| match bytes {
        KILL => kill.notify_one(),
        bytes => {
            say(format!("network   cut after {} bytes", HumanCount(bytes)));
            scissors.cut();
        }
    });
    let uri = format!("http://{}", relay.address().map_err(failed)?);
    Ok((uri, tokio::spawn(relay.run())))
}

/// The server: this program, once more.
struct ServerProcess {
    home: PathBuf,
    key: PathBuf,
    address: SocketAddr,
    process: Child,
    /// Held, so that it has somewhere to say how it ends.
    lines: Lines<BufReader<ChildStdout>>,
}

impl ServerProcess {
    async fn start(home: &Path, key: &Path) -> Result<Self, Failure> {
        Self::start_at("127.0.0.1:0", home, key).await
    }

    /// Its archive and the store beside it are as it was left.
    async fn start_at(address: &str, home: &Path, key: &Path) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["serve", "--until-stdin-closes", "--listen", address])
            .arg("--dir")
            .arg(home.join("archive"))
            .arg("--key")
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = process.stdout.take().ok_or_else(|| Failure::new("the server has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = timeout(SOON, lines.next_line()).await;
        let first = first.map_err(failed)?.map_err(failed)?.unwrap_or_default();
        let address = first.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| Failure::new("the server did not start"))?;
        Ok(Self { home: home.to_owned(), key: key.to_owned(), address, process, lines })
    }

    /// Kills it as the kernel does when memory is short, without a word to anybody, and starts another in its place.
    async fn killed_when_told(&mut self, told: &Notify) -> Result<(), Failure> {
        told.notified().await;
        self.process.kill().await.map_err(failed)?;
        say(format!("server    killed with SIGKILL after {} bytes", HumanCount(KILL)));
        *self = Self::start_at(&self.address.to_string(), &self.home, &self.key).await?;
        say("server    started again, on the directory that was left");
        Ok(())
    }

    /// It ends when nobody holds its standard input any more, which is so as well when this program is killed.
    async fn end(mut self) -> Result<(), Failure> {
        drop(self.process.stdin.take());
        while timeout(SOON, self.lines.next_line()).await.map_err(failed)?.map_err(failed)?.is_some() {}
        let ended = timeout(SOON, self.process.wait()).await.map_err(failed)?.map_err(failed)?;
        if ended.success() { Ok(()) } else { Err(Failure::new(format!("the server ended with {ended}"))) }
    }
}

/// Says when the stream goes on, which nothing else in this program notices.
async fn narrate(session: Session) {
    let mut events = session.events();
    while let Some(event) = events.next().await {
        if let Event::StreamResumed(_) = event {
            say("client    goes on over another connection");
        }
    }
}

/// Writes a file of which no two pages are equal, and which is the same each time.
async fn make_file(path: &Path) -> Result<Hash, Failure> {
    let path = path.to_owned();
    let made = blocking(move || {
        let mut bytes = Hasher::new().finalize_xof();
        let (mut file, mut digest, mut page) = (File::create(path)?, Hasher::new(), vec![0; PAGE_BYTES]);
        for _ in 0..PAGES {
            bytes.fill(&mut page);
            digest.update(&page);
            file.write_all(&page)?;
        }
        Ok(digest.finalize())
    });
    made.await.map_err(failed)
}

/// Whether the file has this digest.
async fn has_digest(path: PathBuf, digest: Hash) -> Result<bool, Failure> {
    let read =
        blocking(move || Ok(read_to(&mut File::open(path)?, PAGES * PAGE_BYTES as u64, digest)?.is_some()));
    read.await.map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
