//! The directory of a store: which files there are, who may use them, and how a new one comes into being.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::OpenError;

const LOCK: &str = "lock";
const STORE: &str = "store";
const UNFINISHED: &str = "store.new";
const RECORDS: &str = "records";
const ACKNOWLEDGED: &str = "acknowledged";

/// A directory that this process alone uses. The lock is the kernel's: it ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

/// The files of one store, finished or not.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    path: PathBuf,
}

impl Directory {
    /// Takes the directory, and makes it if it is missing.
    pub(crate) fn lock_or_create(path: &Path) -> Result<Self, OpenError> {
        if !path.try_exists().map_err(OpenError::io("look for", path))? {
            fs::create_dir_all(path).map_err(OpenError::io("create", path))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent)?;
            }
        }
        Self::refuse_strangers(path)?;
        Self::lock(path)
    }

    /// Takes a directory that is there.
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let file = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&file)
            .map_err(OpenError::io("open", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &file)(error)),
        }
    }

    /// Whether there is a store in the directory at `path`, without taking it.
    pub(crate) fn has_store(path: &Path) -> bool {
        path.join(STORE).is_dir()
    }

    /// A path with a slip of the pen must not become a store among somebody's files.
    fn refuse_strangers(path: &Path) -> Result<(), OpenError> {
        for entry in fs::read_dir(path).map_err(OpenError::io("list", path))? {
            let name = entry.map_err(OpenError::io("list", path))?.file_name();
            // A volume of its own has this one from the start.
            let known = [LOCK, STORE, UNFINISHED, "lost+found"];
            if !known.iter().any(|known| name == *known) {
                return Err(OpenError::NotAStore { path: path.to_owned() });
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The store, if it was ever finished.
    pub(crate) fn store(&self) -> Result<Option<Files>, OpenError> {
        let path = self.path.join(STORE);
        let exists = path.try_exists().map_err(OpenError::io("look for", &path))?;
        Ok(exists.then_some(Files { path }))
    }

    /// A place to make a store in. What an interrupted attempt left there is removed: nobody was told of it.
    pub(crate) fn begin(&self) -> Result<Files, OpenError> {
        let path = self.path.join(UNFINISHED);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::io("remove", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::create_dir(&path).map_err(OpenError::io("create", &path))?;
        Ok(Files { path })
    }

    /// Makes what was begun the store: at once and durably.
    pub(crate) fn finish(&self, files: &Files) -> Result<Files, OpenError> {
        sync_directory(&files.path)?;
        let path = self.path.join(STORE);
        fs::rename(&files.path, &path).map_err(OpenError::io("rename to", &path))?;
        sync_directory(&self.path)?;
        Ok(Files { path })
    }
}

impl Drop for Directory {
    /// Closing the file would do, but for a process that another thread is starting at this moment: until that runs its
    /// program it has a copy of every open file, and with it the lock.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, path = %self.path.display(), "the lock of the directory is not given back yet");
        }
    }
}

impl Files {
    /// The storage engine's directory.
    pub(crate) fn records(&self) -> PathBuf {
        self.path.join(RECORDS)
    }

    /// The [witness](crate::witness).
    pub(crate) fn acknowledged(&self) -> PathBuf {
        self.path.join(ACKNOWLEDGED)
    }

    /// What the files take on the medium. A file that goes away meanwhile is not counted.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        let mut bytes = 0;
        let mut open = vec![self.path.clone()];
        while let Some(path) = open.pop() {
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    open.push(entry.path());
                } else {
                    bytes += allocated(&metadata);
                }
            }
        }
        bytes
    }
}

/// Journals have a size before they have content, so the size says nothing.
#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

/// Makes the names in a directory durable; there is no such thing on Windows.
pub(crate) fn sync_directory(path: &Path) -> Result<(), OpenError> {
    if cfg!(windows) {
        return Ok(());
    }
    File::open(path).and_then(|file| file.sync_all()).map_err(OpenError::io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Scratch;

    #[test]
    fn a_directory_is_given_back_although_a_process_being_started_has_the_file() {
        let scratch = Scratch::new();
        let directory = Directory::lock_or_create(scratch.path()).unwrap();
        let inherited = directory.lock.try_clone().unwrap();
        assert!(matches!(Directory::lock(scratch.path()), Err(OpenError::InUse { .. })));
        drop(directory);
        Directory::lock(scratch.path()).unwrap();
        drop(inherited);
    }
}
