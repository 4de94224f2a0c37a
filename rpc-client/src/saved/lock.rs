//! One session at a time is kept in a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::SavedError;

/// How long a session that is ending is waited for: a program that drops one and goes on with it at once is no second one.
const HANDOVER: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// The right to keep a session in a file, against all other sessions. It is a lock of the kernel's on an empty file beside
/// it, of the same name with `.lock` after it: it ends with the process, however that ends.
///
/// The saved file itself cannot be the lock: it is replaced with each new ticket.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock that belongs to the saved file at `path`.
    ///
    /// # Errors
    ///
    /// [`SavedError::InUse`]; [`SavedError::Io`].
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, nothing is locked.
    pub(crate) async fn take(path: &Path) -> Result<Self, SavedError> {
        let until = Instant::now() + HANDOVER;
        let beside = beside(path);
        loop {
            let taken = Self::try_take(&beside);
            match taken.map_err(|source| SavedError::Io { path: beside.clone(), source })? {
                Some(lock) => return Ok(lock),
                None if Instant::now() < until => sleep(LOOK).await,
                None => return Err(SavedError::InUse { path: path.to_owned() }),
            }
        }
    }

    fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            if !system::try_lock(&file)? {
                return Ok(None);
            }
            // Whoever had it may have removed the file after it was opened here.
            if system::is_at(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked, so that nobody loses a lock by that. A file that stays is taken by the next one.
        if system::is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(unix)]
mod system {
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;

    pub(super) fn try_lock(file: &File) -> io::Result<bool> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
        let place = |found: &fs::Metadata| (found.dev(), found.ino());
        match fs::metadata(path) {
            Ok(found) => Ok(place(&found) == place(&file.metadata()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Elsewhere nothing is locked: that one process at a time has the file is for its owner to see to.
#[cfg(not(unix))]
mod system {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn try_lock(_file: &File) -> io::Result<bool> {
        Ok(true)
    }

    pub(super) fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_session_at_a_time_is_kept_in_a_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("session");
        let first = Lock::take(&file).await.unwrap();
        let second = Lock::take(&file).await.unwrap_err();
        assert!(matches!(&second, SavedError::InUse { path } if *path == file), "{second}");
        drop(first);
        let third = Lock::take(&file).await.unwrap();
        drop(third);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing stays");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_ending_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("session");
        let first = Lock::take(&file).await.unwrap();
        let second = tokio::spawn(async move { Lock::take(&file).await });
        sleep(HANDOVER / 2).await;
        drop(first);
        second.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_killed_process_left_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("session");
        fs::write(beside(&file), "").unwrap();
        Lock::take(&file).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_can_be_written_that_is_said() {
        let home = tempfile::tempdir().unwrap();
        let error = Lock::take(&home.path().join("nowhere/session")).await.unwrap_err();
        assert!(matches!(error, SavedError::Io { .. }), "{error}");
    }
}
