//! The archive's server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rpc_server::Server;
use rpc_server::net::Report;
use rpc_store::{EmbeddedStore, OpenError};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::directory::Directory;
use super::failure::Failure;
use super::key::Key;
use super::mark::blocking;
use crate::archive::archive_server::ArchiveServer;
use crate::program::interrupted;

/// How long transfers may go on when the server is told to end. Their callers go on with the next server.
const GRACE: Duration = Duration::from_secs(5);

/// What to serve, where, and to whom.
pub struct Serving {
    /// Where the files are. Sessions and sync points are kept beside it, in the directory `NAME.store`.
    pub directory: PathBuf,
    /// Where to listen; port 0 for any.
    pub address: String,
    /// Who has it may do everything.
    pub key: Key,
    /// Ends with whoever holds the other end of standard input, as it would on a signal.
    pub until_stdin_closes: bool,
}

/// Serves until Ctrl-C or SIGTERM. Once the address is known, `listening` is told of it.
///
/// # Errors
///
/// In one sentence.
pub async fn serve(
    serving: Serving,
    listening: impl FnOnce(std::net::SocketAddr),
) -> Result<Report, Failure> {
    let Serving { directory, address, key, until_stdin_closes } = serving;
    log_trouble();
    let shown = directory.display().to_string();
    let archive = Directory::open(directory).await.map_err(|trouble| Failure::with_file(shown, &trouble))?;
    let store = open_store(archive.path()).await?;
    let failed = |error: rpc_server::StartError| Failure::new(format!("{address}: {error}"));
    let server = Server::builder()
        .authenticate(key.authenticator()?) // whom to trust
        .store(store) // where sessions and sync points are kept
        .service(ArchiveServer::new(archive))
        .bind(&*address)
        .await
        .map_err(failed)?;
    listening(server.local_addr());
    server.serve_with_shutdown(told_to_end(until_stdin_closes), GRACE).await.map_err(failed)
}

/// Opens the store of the archive in this directory. Whoever has it is the only one who writes to the archive.
async fn open_store(archive: &Path) -> Result<EmbeddedStore, Failure> {
    let path = store_of(archive)?;
    let opened = blocking(move || Ok(EmbeddedStore::open(path))).await;
    let opened = opened.map_err(|trouble| Failure::with_file(archive.display(), &trouble))?;
    opened.map_err(|error| match error {
        OpenError::InUse { .. } => {
            Failure::new(format!("{}: another server keeps this archive", archive.display()))
        }
        OpenError::NotAStore { path } => {
            let path = path.display();
            Failure::new(format!(
                "{path}: this is where the archive's store belongs, and it is something else"
            ))
        }
        other => Failure::of_store(&other),
    })
}

/// The place of an archive's store, which is the same by whatever path the archive was named.
fn store_of(archive: &Path) -> Result<PathBuf, Failure> {
    let say = |what: &dyn std::fmt::Display| Failure::new(format!("{}: {what}", archive.display()));
    let archive = archive.canonicalize().map_err(|error| say(&error))?;
    let mut name =
        archive.file_name().ok_or_else(|| say(&"it has no place beside it for the store"))?.to_owned();
    name.push(".store");
    Ok(archive.with_file_name(name))
}

/// Warnings and errors go to stderr: those of the disk, and the server's own. `RUST_LOG` asks for more.
fn log_trouble() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    // A second server in one program logs where the first does.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

async fn told_to_end(until_stdin_closes: bool) {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let closed = async {
        if !until_stdin_closes {
            std::future::pending::<()>().await;
        }
        let mut stdin = tokio::io::stdin();
        let mut ignored = [0; 64];
        while stdin.read(&mut ignored).await.is_ok_and(|bytes| bytes > 0) {}
    };
    tokio::select! {
        () = terminated => {}
        () = interrupted() => {}
        () = closed => {}
    }
}
