//! A proxy as a process of its own.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

/// A proxy listens within this time.
const START: Duration = Duration::from_secs(10);
/// Another program may take a free port before the proxy does.
const TRIES: u32 = 3;

/// The binary of a proxy. `None`: it is not installed, and that is said.
///
/// # Panics
///
/// It is not installed, and `SESSION_TEST_PROXIES` is 1.
pub(crate) fn binary(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps them, which is not in everybody's path.
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    let wanted = std::env::var("SESSION_TEST_PROXIES").is_ok_and(|value| value == "1");
    assert!(found.is_some() || !wanted, "{name} is not installed, and SESSION_TEST_PROXIES=1 wants it");
    if found.is_none() {
        println!("SKIPPED: {name} is not installed");
    }
    found
}

/// A running proxy. It is killed when this is dropped, and its directory is removed.
pub(crate) struct Running {
    process: Child,
    directory: PathBuf,
    address: SocketAddr,
}

impl Running {
    /// Starts `binary` with the configuration that `configure` writes for an address to listen on and a directory for its
    /// files. `arguments` come before the path of that configuration.
    ///
    /// # Panics
    ///
    /// It does not listen.
    pub(crate) async fn start(
        binary: &Path,
        arguments: &[&str],
        configure: impl Fn(SocketAddr, &Path) -> String,
    ) -> Self {
        let mut said = String::new();
        for _ in 0..TRIES {
            let directory = directory().unwrap();
            let address = free().unwrap();
            let configuration = directory.join("configuration");
            fs::write(&configuration, configure(address, &directory)).unwrap();
            let process = Command::new(binary)
                .args(arguments)
                .arg(&configuration)
                .stdin(Stdio::null())
                .stdout(fs::File::create(directory.join("output")).unwrap())
                .stderr(fs::File::create(directory.join("errors")).unwrap())
                .spawn()
                .unwrap();
            let mut running = Self { process, directory, address };
            if running.listens().await {
                return running;
            }
            let log = |name| fs::read_to_string(running.directory.join(name)).unwrap_or_default();
            said = ["output", "errors", "log"].map(log).concat();
        }
        panic!("{} does not start: {said}", binary.display());
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn listens(&mut self) -> bool {
        let end = Instant::now() + START;
        while Instant::now() < end && self.process.try_wait().unwrap().is_none() {
            if TcpStream::connect(self.address).await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A port that nobody uses now.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn directory() -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("session-proxy-{}-{number}", std::process::id()));
    fs::create_dir_all(&path)?;
    Ok(path)
}
