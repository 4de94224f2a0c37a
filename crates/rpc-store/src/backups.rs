//! Backups of a store that a server uses, made where its program says and called what an operator says.

use std::error::Error;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rpc_core::store::StoreError;
use rpc_core::store::operations::{BackupName, Copied, OperationError, Operations, Statistics};

use crate::backup::BackupError;
use crate::check::Report;
use crate::error::OpenError;
use crate::layout::sync_directory;
use crate::store::EmbeddedStore;

/// No name of a backup begins with a dot, so what does is ours.
const LOCK: &str = ".lock";
const UNFINISHED: &str = ".new";

/// A directory of backups, one subdirectory each: what a server is given so that operators count and copy its store.
///
/// ```
/// use std::sync::Arc;
///
/// use rpc_store::{BackupName, Backups, EmbeddedStore, Operations as _};
///
/// # let home = std::env::temp_dir().join(format!("rpc-store-backups-doc-{}", std::process::id()));
/// let store = Arc::new(EmbeddedStore::open(home.join("store"))?);
/// // The server gets both: `.store(Arc::clone(&store)).operations(Backups::new(store, …)?)`.
/// let backups = Backups::new(Arc::clone(&store), home.join("backups"))?;
/// let copied = backups.backup(&BackupName::new("monday")?, &|| true)?;
/// assert_ne!(copied.id, store.id());
/// assert!(rpc_store::check(home.join("backups/monday"))?.is_sound());
/// # drop((store, backups));
/// # std::fs::remove_dir_all(&home)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A backup is made beside its name and renamed when it is complete, verified and durable. What a crash leaves half made
/// has a name that begins with a dot, and is removed by the next backup. Backups are never removed: the disk they lie on
/// bounds them, and a full one fails the next backup, and the server's store if it lies there, too.
#[derive(Debug)]
pub struct Backups {
    store: Arc<EmbeddedStore>,
    directory: PathBuf,
}

impl Backups {
    /// Backups of `store` in `directory`, which is made if it is missing, for its owner alone: a backup holds what the store
    /// holds. It is not made again if it is gone later: another disk would be filled where a volume was not mounted.
    ///
    /// # Errors
    ///
    /// The directory is not to be had, or lies within the store's.
    pub fn new(store: Arc<EmbeddedStore>, directory: impl Into<PathBuf>) -> Result<Self, BackupError> {
        let asked = directory.into();
        let asked = std::path::absolute(&asked).map_err(OpenError::io("find", &asked))?;
        // First what is there of it: a directory made within the store's would be the mistake that is refused here.
        if let Some(there) = asked.ancestors().find(|path| path.exists()) {
            outside(&store, there)?;
        }
        create_private(&asked).map_err(OpenError::io("create", &asked))?;
        let directory = outside(&store, &asked)?;
        Ok(Self { store, directory })
    }

    /// Makes the backup whose unfinished directory is `beside`, and gives it its name.
    fn make(&self, beside: &Path, path: &Path, goes_on: &dyn Fn() -> bool) -> Result<Report, OperationError> {
        let report = self.store.backup_while(beside, goes_on).map_err(operation_error)?;
        if !goes_on() {
            return Err(OperationError::Stopped);
        }
        fs::rename(beside, path).map_err(|error| target(&OpenError::io("rename to", path)(error)))?;
        sync_directory(&self.directory).map_err(|error| {
            // Whether it is there after a power loss, nobody knows: then it is not there.
            let _ = fs::remove_dir_all(path);
            target(&error)
        })?;
        Ok(report)
    }

    /// Removes what backups left that did not come to their end. Only under the lock: another one may be at work.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_left =
                name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(UNFINISHED));
            if is_left && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Operations for Backups {
    fn statistics(&self) -> Result<Statistics, StoreError> {
        self.store.statistics()
    }

    //= A-29
    //= A-30
    fn backup(&self, name: &BackupName, goes_on: &dyn Fn() -> bool) -> Result<Copied, OperationError> {
        let _alone = Alone::take(&self.directory.join(LOCK))?;
        let path = self.directory.join(name.as_str());
        match fs::symlink_metadata(&path) {
            Ok(_) => return Err(OperationError::NameTaken),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(target(&OpenError::io("look for", &path)(error))),
        }
        self.sweep().map_err(|error| target(&OpenError::io("clean", &self.directory)(error)))?;
        let beside = self.directory.join(format!(".{name}{UNFINISHED}"));
        let made = self.make(&beside, &path, goes_on);
        if made.is_err() {
            // What cannot be removed now is by the next backup.
            let _ = fs::remove_dir_all(&beside);
        }
        let copied = Copied::from(&made?);
        let (copy, live) = (copied.id, copied.contents.sessions_live);
        tracing::info!(%name, %copy, live, bytes = copied.bytes_on_disk, "a backup was made");
        Ok(copied)
    }
}

/// The right to make a backup, against all threads and processes. The lock is the kernel's: it ends with the process.
struct Alone(File);

impl Alone {
    fn take(path: &Path) -> Result<Self, OperationError> {
        let failed = |error| target(&OpenError::io("lock", path)(error));
        let opened = OpenOptions::new().create(true).write(true).truncate(false).open(path);
        let file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OperationError::Running),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for Alone {
    /// Not by closing the file alone: a process that is being started at this moment has a copy of it.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the backups is not given back yet");
        }
    }
}

/// The real path of a directory that does not lie within the store's.
fn outside(store: &EmbeddedStore, path: &Path) -> Result<PathBuf, BackupError> {
    let real = |path: &Path| path.canonicalize().map_err(OpenError::io("find", path));
    let found = real(path)?;
    if found.starts_with(real(store.path())?) {
        return Err(BackupError::WithinStore(path.display().to_string()));
    }
    Ok(found)
}

fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn operation_error(error: BackupError) -> OperationError {
    match error {
        BackupError::Stopped => OperationError::Stopped,
        BackupError::Source(text) => OperationError::Store(StoreError::Failed(text)),
        BackupError::Damaged(text) => OperationError::Store(StoreError::Damaged(text)),
        BackupError::Target(error) => target(&error),
        BackupError::NotEmpty(_) | BackupError::WithinStore(_) => OperationError::Target(error.to_string()),
    }
}

/// With its causes, in one line.
fn target(error: &OpenError) -> OperationError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    OperationError::Target(text)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rpc_core::id::{Epoch, SessionId};
    use rpc_core::record::{Change, Write};
    use rpc_core::store::{Store as _, suite};

    use super::*;
    use crate::check::check;
    use crate::support::Scratch;

    fn store(scratch: &Scratch, sessions: u64) -> Arc<EmbeddedStore> {
        let store = EmbeddedStore::open(scratch.path().join("store")).unwrap();
        let create = |number| Write {
            session: SessionId::new(number).unwrap(),
            epoch: Epoch::FIRST,
            change: Change::Create(suite::record(1)),
        };
        let batch: Vec<_> = (1..=sessions).map(create).collect();
        assert!(store.commit(&batch).unwrap().iter().all(Result::is_ok));
        Arc::new(store)
    }

    fn name(name: &str) -> BackupName {
        BackupName::new(name).unwrap()
    }

    fn entries(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != LOCK)
            .collect();
        names.sort();
        names
    }

    //= test A-30
    #[test]
    fn a_backup_has_its_name_and_takes_no_other_ones() {
        let scratch = Scratch::new();
        let store = store(&scratch, 3);
        let at = scratch.path().join("deep/backups");
        let backups = Backups::new(Arc::clone(&store), &at).unwrap();
        let copied = backups.backup(&name("one"), &|| true).unwrap();
        assert_eq!((copied.contents.sessions_live, entries(&at)), (3, vec!["one".to_owned()]));
        assert_eq!(check(at.join("one")).unwrap().id, copied.id);

        assert_eq!(backups.backup(&name("one"), &|| true), Err(OperationError::NameTaken));
        fs::write(at.join("file"), "").unwrap();
        assert_eq!(backups.backup(&name("file"), &|| true), Err(OperationError::NameTaken));
        assert_eq!(check(at.join("one")).unwrap().id, copied.id, "it was touched");
        assert_eq!(backups.statistics().unwrap(), store.statistics().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed_and_strangers_do_not_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::new();
        let at = scratch.path().join("backups");
        let backups = Backups::new(store(&scratch, 1), &at).unwrap();
        assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(scratch.path().join("elsewhere"), at.join("link")).unwrap();
        assert_eq!(backups.backup(&name("link"), &|| true), Err(OperationError::NameTaken));
        assert!(!scratch.path().join("elsewhere").exists());
    }

    #[test]
    fn one_is_made_at_a_time() {
        let scratch = Scratch::new();
        let at = scratch.path().join("backups");
        let backups = Backups::new(store(&scratch, 3), &at).unwrap();
        let second = Cell::new(None);
        // Asked in the middle of the first one.
        let goes_on = || {
            second.set(Some(backups.backup(&name("two"), &|| true)));
            true
        };
        backups.backup(&name("one"), &goes_on).unwrap();
        assert_eq!(second.take(), Some(Err(OperationError::Running)));
        assert_eq!(entries(&at), ["one"]);
        backups.backup(&name("two"), &|| true).unwrap();
    }

    //= test A-29
    #[test]
    fn one_that_is_given_up_leaves_nothing() {
        let scratch = Scratch::new();
        let at = scratch.path().join("backups");
        let backups = Backups::new(store(&scratch, 3), &at).unwrap();
        for asked_at_most in 0.. {
            let asked = Cell::new(0);
            let goes_on = || {
                asked.set(asked.get() + 1);
                asked.get() <= asked_at_most
            };
            match backups.backup(&name("one"), &goes_on) {
                Err(OperationError::Stopped) => assert!(entries(&at).is_empty(), "{:?}", entries(&at)),
                made => {
                    made.unwrap();
                    assert!(asked_at_most >= 2, "it was asked before and after the copy was verified");
                    break;
                }
            }
        }
    }

    #[test]
    fn one_that_fails_leaves_nothing() {
        let scratch = Scratch::new();
        let at = scratch.path().join("backups");
        let backups = Backups::new(store(&scratch, 3), &at).unwrap();
        // Something that is no backup is in the way, and is not removed.
        fs::write(at.join(".one.new"), "").unwrap();
        let failed = backups.backup(&name("one"), &|| true).unwrap_err();
        assert!(matches!(&failed, OperationError::Target(text) if text.contains(".one.new")), "{failed}");
        assert_eq!(entries(&at), [".one.new"]);

        fs::remove_dir_all(&at).unwrap();
        let failed = backups.backup(&name("one"), &|| true).unwrap_err();
        assert!(matches!(failed, OperationError::Target(_)), "{failed}");
        assert!(!at.exists(), "a volume that is not mounted is not made up");
    }

    #[test]
    fn what_a_crash_left_is_removed() {
        let scratch = Scratch::new();
        let at = scratch.path().join("backups");
        let backups = Backups::new(store(&scratch, 3), &at).unwrap();
        for left in [".one.new/store.new/records", ".two.new/store"] {
            fs::create_dir_all(at.join(left)).unwrap();
        }
        backups.backup(&name("one"), &|| true).unwrap();
        assert_eq!(entries(&at), ["one"]);
    }

    #[test]
    fn backups_within_the_store_would_make_it_no_store() {
        let scratch = Scratch::new();
        let store = store(&scratch, 1);
        for within in ["store", "store/backups", "store/../store/backups"] {
            let refused = Backups::new(Arc::clone(&store), scratch.path().join(within)).unwrap_err();
            assert!(matches!(refused, BackupError::WithinStore(_)), "{within}: {refused}");
        }
        drop(store);
        EmbeddedStore::open(scratch.path().join("store")).unwrap();
    }
}
