//! A session on disk: what the next process needs to go on with it.

mod file;
mod format;
mod lock;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use rpc_core::id::{Epoch, SessionId, Ticket};
use rpc_core::negotiate::{Agreement, ServiceRequest};

pub(crate) use lock::Lock;

/// An open session as it outlives its process: what [`Builder::resume`](crate::Builder::resume) goes on with.
///
/// It holds the ticket, so whoever has it and a token of the session's principal *is* the caller. `Debug` shows neither
/// ticket; [`save`](Self::save) writes a file that its owner alone can read, and [`load`](Self::load) refuses any other.
///
/// A session replaces its ticket when it renews its authority, and the first use of the new one voids what was saved
/// before. Programs that are to survive a crash have the file written anew each time:
/// [`Builder::save_to`](crate::Builder::save_to). One process at a time goes on with a session: two that use the same
/// ticket use the same slots, and each is told that its calls are the other's. The file that a session is kept in is
/// locked against that; bytes and copies of it are not.
///
/// # Examples
///
/// A program that goes on with its session where it has one:
///
/// ```no_run
/// # use rpc_client::{OpenError, SavedSession, Session};
/// # async fn run(token: String) -> Result<Session, Box<dyn std::error::Error>> {
/// let file = "/var/lib/teller/session";
/// let builder = || Session::builder("https://ledger.example:50051").credentials(token.clone()).save_to(file);
/// let session = match SavedSession::load(file)? {
///     Some(saved) => match builder().resume(saved).await {
///         // This process was away for longer than the session lingers. What became of calls whose answers did not
///         // come is for the program to find out.
///         Err(OpenError::Gone { .. }) => builder().open().await?,
///         resumed => resumed?,
///     },
///     None => builder().open().await?,
/// };
/// # Ok(session)
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SavedSession {
    pub(crate) target: String,
    pub(crate) number: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) tickets: Tickets,
    pub(crate) agreement: Agreement,
    /// The services that were compared with the server's, as they were.
    pub(crate) services: Vec<ServiceRequest>,
}

/// The ticket in use, and the one before it: the session's own where the new one was lost on its way to the server
/// (L-16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tickets {
    pub(crate) current: Ticket,
    pub(crate) previous: Option<Ticket>,
}

impl Tickets {
    /// A ticket with none before it.
    pub(crate) fn first(ticket: Ticket) -> Self {
        Self { current: ticket, previous: None }
    }

    /// A new one in place of the one in use.
    pub(crate) fn followed_by(&self, ticket: &Ticket) -> Self {
        Self { current: ticket.clone(), previous: Some(self.current.clone()) }
    }
}

/// Why a saved session cannot be used, or was not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// The file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file, or its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read or write the file, so the ticket in it is no secret. Nothing of it was used.
    #[error("{} is open to others: its mode is {mode:03o}, not 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another session is kept in the file, of this process or another one that runs.
    #[error("{} is in use by another session", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("not a saved session")]
    NotASession,
    /// It was written by another version of this library, which this one cannot read.
    #[error("format {found} of saved sessions is not known")]
    Version {
        /// Its format.
        found: u32,
    },
    /// It is not what was written: cut off, or changed.
    #[error("the saved session is damaged")]
    Damaged,
}

impl SavedError {
    /// The error and its cause in one line.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            Self::Exposed { .. }
            | Self::InUse { .. }
            | Self::NotASession
            | Self::Version { .. }
            | Self::Damaged => self.to_string(),
        }
    }
}

impl SavedSession {
    /// The session's number.
    pub fn number(&self) -> SessionId {
        self.number
    }

    /// Where the session is: scheme and authority, such as `https://ledger.example:50051`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What was negotiated when it was opened.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// The session as bytes, ticket included, for programs that keep their secrets elsewhere than in files.
    pub fn to_bytes(&self) -> Vec<u8> {
        format::encode(self)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    ///
    /// [`NotASession`](SavedError::NotASession), [`Version`](SavedError::Version), [`Damaged`](SavedError::Damaged).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SavedError> {
        format::decode(bytes)
    }

    /// Writes the file, in place of the one that is there: it has the mode 600 from its beginning, and is either the old or
    /// the new one whenever the machine stops. Beside it there may be a file of the same name with `.new` after it, which
    /// the next writing replaces.
    ///
    /// Blocks until the disk has it.
    ///
    /// # Errors
    ///
    /// [`Io`](SavedError::Io); the old file, if there was one, is as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SavedError> {
        file::write(path.as_ref(), &self.to_bytes())
    }

    /// Reads a file that [`save`](Self::save) wrote; `None` if there is none.
    ///
    /// # Errors
    ///
    /// All of [`SavedError`]. On Unix a file is refused that others than its owner may read or write.
    pub fn load(path: impl AsRef<Path>) -> Result<Option<Self>, SavedError> {
        file::read(path.as_ref())?.map(|bytes| Self::from_bytes(&bytes)).transpose()
    }
}

impl fmt::Debug for SavedSession {
    //= W-13
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSession")
            .field("number", &self.number)
            .field("epoch", &self.epoch)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// What a saved session says beside what the session itself knows, and where it is kept.
pub(crate) struct Saving {
    pub(crate) target: String,
    pub(crate) services: Vec<ServiceRequest>,
    pub(crate) path: Option<PathBuf>,
    /// Held until the session has ended or is dropped, and the last write of the file with it.
    pub(crate) lock: Arc<Mutex<Option<Lock>>>,
    /// The session has ended, and its file is not written any more. Held while the file is worked on: a write whose task was
    /// stopped goes on by itself, and must not come after the removal.
    pub(crate) over: Arc<Mutex<bool>>,
}

impl Saving {
    /// Has the file hold `saved`, if the session is kept in one.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the file may be written.
    pub(crate) async fn write(&self, saved: SavedSession) -> Result<(), SavedError> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let (over, lock) = (Arc::clone(&self.over), Arc::clone(&self.lock));
        blocking(path, move |path| {
            // Whoever takes the session over waits for what is written here, whatever became of the session meanwhile.
            let _held = lock;
            let over = over.lock().unwrap_or_else(PoisonError::into_inner);
            if *over { Ok(()) } else { saved.save(path) }
        })
        .await
    }

    /// Removes the file of a session that this side has ended, unless another session is kept there by now.
    pub(crate) async fn remove(&self, number: SessionId) {
        let Some(path) = self.path.clone() else { return };
        let (target, over) = (self.target.clone(), Arc::clone(&self.over));
        let removed = blocking(path, move |path| {
            let mut over = over.lock().unwrap_or_else(PoisonError::into_inner);
            *over = true;
            match SavedSession::load(path)? {
                Some(saved) if saved.number == number && saved.target == target => file::remove(path),
                Some(_) | None => Ok(()),
            }
        });
        if let Err(error) = removed.await {
            // The next process is told that the session is gone.
            tracing::warn!(error = %error.told(), "the file of an ended session stays");
        }
        self.unlock();
    }

    /// Lets another session be kept in the file.
    pub(crate) fn unlock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Syncs take milliseconds, and longer on a busy disk.
async fn blocking(
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<(), SavedError> + Send + 'static,
) -> Result<(), SavedError> {
    let named = path.clone();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.unwrap_or_else(|error| Err(SavedError::Io { path: named, source: io::Error::other(error) }))
}

/// Scheme and authority of a target, as they are compared: without what HTTP takes for the same.
pub(crate) fn target_name(target: &Uri) -> String {
    let scheme = target.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let host = target.host().unwrap_or_default().to_ascii_lowercase();
    let port = target.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    format!("{scheme}://{host}:{port}")
}

#[cfg(test)]
mod tests;
