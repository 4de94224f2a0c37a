//! A server, a place for files, and a network that stops in the middle.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Longest time for what a test waits for.
const SOON: Duration = Duration::from_secs(60);

/// What lies between two sync points.
pub(crate) const LEG: usize = 40 * (32 << 10);

/// Waits for what must happen.
#[track_caller]
pub(crate) fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let what = what.to_owned();
    async move { timeout(SOON, future).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}")) }
}

/// A directory with files, a key and an archive.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of which no two parts are equal.
    pub(crate) fn file(&self, name: &str, bytes: usize) -> PathBuf {
        let mut content = vec![0; bytes];
        blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut content);
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub(crate) fn in_archive(&self, name: &str) -> PathBuf {
        self.path("archive").join(name)
    }

    /// A command of the program, with this home's key.
    pub(crate) fn transfer(&self, arguments: &[&str]) -> Command {
        self.transfer_within(None, arguments)
    }

    /// The same, where no file may be longer than so many KiB: as on a full disk.
    pub(crate) fn transfer_within(&self, kib: Option<u32>, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_transfer");
        let mut command = match kib {
            None => Command::new(program),
            Some(kib) => {
                let mut shell = Command::new("bash");
                shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\""), program]);
                shell
            }
        };
        command.args(arguments).current_dir(self.0.path()).kill_on_drop(true);
        command.env("TRANSFER_KEY", self.path("key")).env_remove("TRANSFER_SERVER");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.transfer(arguments).spawn().unwrap()).await
    }
}

/// A server process. It ends with this.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) uri: String,
    pub(crate) process: Child,
    _stdin: ChildStdin,
}

impl Server {
    pub(crate) async fn start(home: &Home) -> Self {
        Self::start_with(home, None, "127.0.0.1:0", Stdio::inherit()).await
    }

    /// One whose disk has this much room for a file.
    pub(crate) async fn start_within(home: &Home, kib: u32) -> Self {
        Self::start_with(home, Some(kib), "127.0.0.1:0", Stdio::inherit()).await
    }

    /// One that logs to a file in its home.
    pub(crate) async fn start_logging(home: &Home, log: &str) -> Self {
        let log = fs::File::create(home.path(log)).unwrap();
        Self::start_with(home, None, "127.0.0.1:0", log.into()).await
    }

    /// One at the address of another, which has ended.
    pub(crate) async fn start_at(home: &Home, address: SocketAddr) -> Self {
        Self::start_with(home, None, &address.to_string(), Stdio::inherit()).await
    }

    /// Kills it, and starts another one at the same address.
    pub(crate) async fn killed_and_started(self, home: &Home) -> Self {
        let address = self.killed().await;
        Self::start_at(home, address).await
    }

    /// Kills it. Gives its address.
    pub(crate) async fn killed(mut self) -> SocketAddr {
        self.process.kill().await.unwrap();
        self.address
    }

    async fn start_with(home: &Home, kib: Option<u32>, listen: &str, log: Stdio) -> Self {
        let serve = ["serve", "--until-stdin-closes", "--listen", listen, "--dir", "archive"];
        let mut command = home.transfer_within(kib, &serve);
        let mut process = command.stdin(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = soon("the server's first line", lines.next_line()).await.unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap().parse().unwrap();
        let stdin = process.stdin.take().unwrap();
        Self { address, uri: format!("http://{address}"), process, _stdin: stdin }
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) async fn of(process: Child) -> Self {
        let output = soon("the program's end", process.wait_with_output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// It ended well; what it said.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.stdout
    }

    /// It ended with this exit code and one sentence, which begins and ends like this.
    #[track_caller]
    pub(crate) fn badly(self, code: i32, sentence: &str) {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert_eq!(self.stderr, format!("transfer: {sentence}\n"));
        assert_eq!(self.stdout, "");
    }
}

/// Sends a signal.
pub(crate) async fn signal(process: &Child, name: &str) {
    let pid = process.id().expect("the process runs").to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
}

/// The most memory that a process had, in bytes, where the system tells.
pub(crate) fn memory_of(process: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// A network of one connection that passes so many bytes one way and then no more, both ways, without closing anything.
/// Dropping it closes everything.
pub(crate) struct Stalling {
    pub(crate) uri: String,
    stalled: watch::Receiver<bool>,
    goes_on: oneshot::Sender<()>,
}

impl Stalling {
    pub(crate) async fn new(address: SocketAddr, way: Way, after_bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let (stall, stalled) = watch::channel(false);
        let (goes_on, go_on) = oneshot::channel();
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(address).await.unwrap();
            // Dropping a half would close it, and these must stay open when nothing passes any more.
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let limit = |this| if this == way { after_bytes } else { u64::MAX };
            tokio::select! {
                () = pass(&mut from_client, &mut to_server, limit(Way::ToServer)) => {}
                () = pass(&mut from_server, &mut to_client, limit(Way::ToClient)) => {}
            }
            stall.send_replace(true);
            let Ok(()) = go_on.await else { return };
            drop((from_client, to_client, from_server, to_server));
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut server = TcpStream::connect(address).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
            }
        });
        Self { uri, stalled, goes_on }
    }

    pub(crate) async fn stalled(&mut self) {
        soon("so many bytes", self.stalled.wait_for(|stalled| *stalled)).await.unwrap();
    }

    /// Cuts the connection that stalls; new ones pass.
    pub(crate) fn goes_on(self) {
        self.goes_on.send(()).unwrap();
    }
}

async fn pass(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, limit: u64) {
    let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
    while passed < limit {
        let read = from.read(&mut buffer).await.unwrap();
        assert!(read > 0, "closed before so many bytes had passed");
        to.write_all(&buffer[..read]).await.unwrap();
        passed += read as u64;
    }
}

#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path) {
    assert!(
        fs::read(one).unwrap() == fs::read(other).unwrap(),
        "{} differs from {}",
        one.display(),
        other.display()
    );
}
