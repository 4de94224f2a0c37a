//! A part that one program alone works on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::trouble::Trouble;

/// The right to work on a part, against other programs. The part itself is the lock, and the kernel's: it ends with the
/// program, however that ends.
///
/// Dropping it gives it up, and removes the part if nothing was written to it.
#[derive(Debug)]
pub struct Lock {
    part: PathBuf,
    file: File,
}

impl Lock {
    /// Takes a part, which is made if it is not there. Blocks for as long as the disk does, and waits for nobody.
    ///
    /// # Errors
    ///
    /// [`Trouble::Busy`] if another program has it; the disk's.
    pub fn take(part: &Path) -> Result<Self, Trouble> {
        loop {
            let file = OpenOptions::new().create(true).append(true).open(part)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Trouble::Busy),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            // Whoever had it may have removed it after it was opened here.
            if is_at(&file, part)? {
                return Ok(Self { part: part.to_owned(), file });
            }
        }
    }

    /// Whether a program has this part. Blocks for as long as the disk does.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn is_taken(part: &Path) -> io::Result<bool> {
        let file = match OpenOptions::new().append(true).open(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A part that stays is found by the next program, which begins anew with it.
        let is_empty = self.file.metadata().is_ok_and(|found| found.len() == 0);
        if is_empty && is_at(&self.file, &self.part).unwrap_or(false) {
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let place = |found: &fs::Metadata| (found.dev(), found.ino());
    match fs::metadata(path) {
        Ok(found) => Ok(place(&found) == place(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn one_at_a_time_has_a_part() {
        let home = TempDir::new().unwrap();
        let part = home.path().join("x.part");
        assert!(!Lock::is_taken(&part).unwrap());
        let first = Lock::take(&part).unwrap();
        assert!(Lock::is_taken(&part).unwrap());
        assert!(matches!(Lock::take(&part), Err(Trouble::Busy)));
        drop(first);
        assert!(!Lock::is_taken(&part).unwrap());
        Lock::take(&part).unwrap();
    }

    #[test]
    fn a_part_stays_if_there_is_something_in_it() {
        let home = TempDir::new().unwrap();
        let part = home.path().join("x.part");
        drop(Lock::take(&part).unwrap());
        assert!(!part.exists());
        let lock = Lock::take(&part).unwrap();
        fs::write(&part, "something").unwrap();
        drop(lock);
        assert_eq!(fs::read(&part).unwrap(), b"something");
    }

    #[test]
    fn a_file_that_came_to_its_place_is_nobodys_part() {
        let home = TempDir::new().unwrap();
        let (part, target) = (home.path().join("x.part"), home.path().join("x"));
        let lock = Lock::take(&part).unwrap();
        fs::rename(&part, &target).unwrap();
        let next = Lock::take(&part).unwrap();
        drop(lock);
        assert!(target.exists() && part.exists());
        drop(next);
        assert!(target.exists() && !part.exists());
    }
}
