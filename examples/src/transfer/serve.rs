//! The archive's server.

use std::path::PathBuf;
use std::time::Duration;

use rpc_server::net::Report;
use rpc_server::{MemoryStore, Server};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::directory::Directory;
use super::failure::Failure;
use super::key::Key;
use crate::archive::archive_server::ArchiveServer;

/// How long transfers may go on when the server is told to end. Their callers go on with the next server.
const GRACE: Duration = Duration::from_secs(5);

/// What to serve, where, and to whom.
pub struct Serving {
    /// Where the files are.
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
    let shown = directory.display().to_string();
    let archive = Directory::open(directory).await.map_err(|trouble| Failure::with_file(shown, &trouble))?;
    let failed = |error: rpc_server::StartError| Failure::new(format!("{address}: {error}"));
    let server = Server::builder()
        .authenticate(key.authenticator()?) // whom to trust
        .store(MemoryStore::new()) // where sessions are kept
        .service(ArchiveServer::new(archive))
        .bind(&*address)
        .await
        .map_err(failed)?;
    listening(server.local_addr());
    server.serve_with_shutdown(told_to_end(until_stdin_closes), GRACE).await.map_err(failed)
}

async fn told_to_end(until_stdin_closes: bool) {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
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
        () = interrupted => {}
        () = closed => {}
    }
}
