//! The server as a process of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest wait for a server that starts. It recovers its store first.
const START: Duration = Duration::from_secs(30);

/// A server that can be killed. It is, when this is dropped.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
    /// How long the last start took, recovery included.
    started_in: Duration,
}

impl Process {
    /// Starts the server on a port that is free now.
    ///
    /// # Errors
    ///
    /// It does not start; what it says goes to the standard error of this process.
    pub async fn start(program: &Path, directory: &Path) -> io::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (child, started_in) = spawn(program, directory, address).await?;
        let (program, directory) = (program.to_owned(), directory.to_owned());
        Ok(Self { program, directory, address, child, started_in })
    }

    /// Where it listens, in all its lives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// It had ended by itself, which it never does.
    pub async fn kill(&mut self) -> io::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(format!("the server had ended by itself: {status}")));
        }
        self.child.kill().await
    }

    /// Starts it again on the same store and address.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn restart(&mut self) -> io::Result<()> {
        (self.child, self.started_in) = spawn(&self.program, &self.directory, self.address).await?;
        Ok(())
    }

    /// How long the last start took, recovery of the store included.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }
}

async fn spawn(program: &Path, directory: &Path, address: SocketAddr) -> io::Result<(Child, Duration)> {
    let begun = Instant::now();
    let mut child = Command::new(program)
        .arg(directory)
        .arg(address.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().ok_or_else(|| io::Error::other("the server has no output"))?;
    let mut lines = BufReader::new(out).lines();
    let line = timeout(START, lines.next_line()).await;
    match line.map_err(|_| io::Error::other("the server does not start in time"))?? {
        Some(line) if line == "serving" => Ok((child, begun.elapsed())),
        other => Err(io::Error::other(format!("the server said {other:?} instead of that it serves"))),
    }
}
